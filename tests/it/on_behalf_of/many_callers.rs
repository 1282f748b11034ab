//! Many callers on an empty cache, through the whole gateway: one exchange for each, and everybody is answered as themselves.
//!
//! Over TLS and HTTP/2, because both ends of every connection are in this process. Ten thousand callers are tried where the tokens are
//! kept (`credential::on_behalf_of`): to sign and verify so many takes too long here.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use simulator::directory::{API_APP, DEMO_TENANT};
use simulator::{
    ClientSecret, Fault, FaultPoint, Gate, Options, Simulator, Times, TokenSpec, User,
};

use crate::house::House;
use testkit::Authority;

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080", max_in_flight: 20000 }
outbound: { token_timeout: 60s, ca: "${CA}" }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers: { staff: { entra: { audience: ["${API}", "api://${API}"] } } }
credentials:
  lent:
    on_behalf_of: { client_id: "${API}", secret: { env: API_SECRET }, scope: ["https://graph.microsoft.com/User.Read"] }
flows:
  me: { url: "${GRAPH}/me", methods: [GET], who_can_trigger: [staff], credential: lent }
"#;

/// Callers at the same time, each with a token of their own.
const CALLERS: usize = 1_000;

/// Calls of each.
const EACH: usize = 3;

/// So many calls share a connection to the gateway.
const TOGETHER: usize = 100;

/// Exchanges under way at a time.
const AT_ONCE: usize = 256;

fn id(caller: usize) -> String {
    format!("44440000-0000-0000-0000-{caller:012x}")
}

async fn house(authority: &Authority) -> House {
    let options = Options {
        tls: Some(authority.tls(&["h2"])),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.secrets = vec![ClientSecret::new("api-secret")];
    });
    let (graph, ca) = (simulator.graph_url(), authority.path());
    let more = [
        ("GRAPH", graph.as_str()),
        ("API_SECRET", "api-secret"),
        ("CA", ca.as_str()),
    ];
    House::around(simulator, YAML, &more).await
}

#[tokio::test]
async fn a_thousand_callers_at_once_have_one_exchange_each_and_are_answered_as_themselves() {
    let authority = Authority::fresh();
    let house = house(&authority).await;
    let mut wanted = Vec::new();
    for caller in 0..CALLERS {
        let user = User::new(&id(caller), &format!("{caller}@flowgate.example"));
        house.simulator.add_user(DEMO_TENANT, user);
        let token = house
            .simulator
            .issue(&TokenSpec::user().object(&id(caller)));
        wanted.extend(std::iter::repeat_n((id(caller), token), EACH));
    }
    let gate = Gate::closed();
    let waits = Fault::Held(gate.clone());
    house
        .simulator
        .fault(FaultPoint::Token, waits, Times::Always);
    let mut calls = tokio::task::JoinSet::new();
    for together in wanted.chunks(TOGETHER) {
        let mut client = Client::builder(TokioExecutor::new());
        let client: Client<_, Empty<bytes::Bytes>> = client.http2_only(true).build_http();
        for (user, token) in together {
            let request = Request::get(format!("http://{}/me", house.address))
                .header("authorization", format!("Bearer {token}"))
                .body(Empty::new());
            let (answer, user) = (client.request(request.unwrap()), user.clone());
            calls.spawn(async move {
                let (head, body) = answer.await.unwrap().into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                assert_eq!(head.status, StatusCode::OK, "{body:?}");
                let told: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(told["id"], user, "answered as somebody else");
            });
        }
    }
    tokio::time::timeout(Duration::from_secs(50), async {
        while house.app.in_flight() < wanted.len()
            || house.simulator.token_requests().len() < AT_ONCE
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} are waiting", house.app.in_flight()));
    assert_eq!(house.simulator.token_requests().len(), AT_ONCE);
    gate.open();
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let mut times = BTreeMap::<String, usize>::new();
    for asked in house.simulator.token_requests() {
        let assertion = asked.field("assertion").unwrap().to_owned();
        *times.entry(assertion).or_default() += 1;
    }
    assert_eq!(times.len(), CALLERS);
    assert!(times.values().all(|times| *times == 1));
}
