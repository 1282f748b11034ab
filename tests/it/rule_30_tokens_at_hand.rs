//! Rule 30 for tokens: a reload takes no valid token away because its credential proves itself in another way.
//!
//! Each kind of proof is changed to a wrong one under load: no call is lost while the token lasts, the refusal is reported, and calls fail
//! with the right code once the token has ended. Changed back, it heals. A credential that differs in anything else gets nothing of it
//! (rule 22).

use std::sync::Arc;
use std::time::Duration;

use flowgate::clock::Clock;
use http::{Request, StatusCode};
use simulator::directory::{
    API_APP, CALLER_APP, DEMO_TENANT, GATEWAY_APP, PARTNER_TENANT, SERVICE_USER,
};
use simulator::{
    ClientSecret, Fault, FaultPoint, Gate, Options, OutsideToken, Person, Simulator, Times,
    TokenSpec,
};

use crate::certificates::{RSA, Workshop};
use crate::credentials::{PASSWORD, SECRET, provision};
use crate::house::{Answer, House, KEY, eventually};
use crate::sign_in::{self, SignInFixture, task};

fn yaml(credential: &str) -> String {
    let text = r#"
server: { listen: "127.0.0.1:8080" }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers: { erp: { api_key: { plain: { env: ERP_KEY } } } }
credentials: { c: { CREDENTIAL } }
flows:
  f: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: c }
"#;
    text.replace("CREDENTIAL", credential)
}

async fn call(house: &House) -> Answer {
    let request = Request::post("/f").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

/// Eight callers, one call after the other; the answers that are not 200.
async fn load(house: &House, each: usize) -> Vec<String> {
    let caller = async || {
        let mut lost = Vec::new();
        for _ in 0..each {
            let answer = call(house).await;
            if answer.status != StatusCode::OK {
                lost.push(format!("{} {}", answer.status, answer.code()));
            }
        }
        lost
    };
    let all = futures_util::future::join_all((0..8).map(|_| caller())).await;
    all.concat()
}

struct Scene {
    house: House,
    clock: Clock,
    _shop: Workshop,
}

/// A gateway with this credential, and variables for right and wrong proofs of every kind.
async fn scene(credential: &str) -> Scene {
    let shop = Workshop::open();
    let clock = Clock::manual(Clock::system().unix());
    let time = clock.clone();
    let options = Options {
        clock: Arc::new(move || time.unix()),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    provision(&simulator, &shop);
    shop.certificate("stranger", RSA);
    let stranger = OutsideToken::new("system:serviceaccount:flows:somebody-else");
    std::fs::write(shop.path("stranger"), simulator.outside_token(&stranger)).unwrap();
    let mut known = OutsideToken::new(crate::credentials::SUBJECT);
    known.lifetime = 100_000;
    std::fs::write(shop.path("token"), simulator.outside_token(&known)).unwrap();
    let read = |name| std::fs::read_to_string(shop.path(name)).unwrap();
    let path = |name| shop.path(name).display().to_string();
    let more = [
        ("SECRET", SECRET.to_owned()),
        ("WRONG", "mistyped".to_owned()),
        ("PASSWORD", PASSWORD.to_owned()),
        ("PEM", read("app.key") + &read("app.crt")),
        ("STRANGER_PEM", read("stranger.key") + &read("stranger.crt")),
        ("TOKEN_FILE", path("token")),
        ("STRANGER_FILE", path("stranger")),
    ];
    let more: Vec<(&str, &str)> = more.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let house = House::at(simulator, &yaml(credential), &more, clock.clone()).await;
    Scene {
        house,
        clock,
        _shop: shop,
    }
}

/// A kind of proof: right, wrong, and what callers get once the token has ended.
const PROOFS: [(&str, &str, &str, &str); 7] = [
    (
        "secret",
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: SECRET } }"#,
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: WRONG } }"#,
        "502 credential_rejected",
    ),
    (
        "secret of the v1 endpoint, sent otherwise as well",
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, endpoint: v1 }"#,
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: WRONG }, endpoint: v1, client_auth: basic }"#,
        "502 credential_rejected",
    ),
    (
        "certificate",
        r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { env: PEM } }"#,
        r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { env: STRANGER_PEM } }"#,
        "502 credential_rejected",
    ),
    (
        "a secret in place of a certificate",
        r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { env: PEM } }"#,
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: WRONG } }"#,
        "502 credential_rejected",
    ),
    (
        "federated token",
        r#"workload_identity: { client_id: "${GATEWAY_APP}", token_file: "${TOKEN_FILE}" }"#,
        r#"workload_identity: { client_id: "${GATEWAY_APP}", token_file: "${STRANGER_FILE}" }"#,
        "502 credential_rejected",
    ),
    (
        "password",
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, username: user@flowgate.example, password: { env: PASSWORD } }"#,
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, username: user@flowgate.example, password: { env: WRONG } }"#,
        "502 credential_rejected",
    ),
    (
        "the application's secret beside a password",
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, username: user@flowgate.example, password: { env: PASSWORD } }"#,
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: WRONG }, username: user@flowgate.example, password: { env: PASSWORD } }"#,
        "502 credential_rejected",
    ),
];

#[tokio::test]
async fn a_proof_changed_to_a_wrong_one_loses_no_call_until_the_token_ends_and_changed_back_heals()
{
    for (what, right, wrong, ended) in PROOFS {
        let Scene { house, clock, .. } = &scene(right).await;
        assert_eq!(call(house).await.status, StatusCode::OK, "{what}");
        let expiry = |house: &House| {
            house.metric(
                "flowgate_token_expiry_timestamp_seconds",
                &[("credential", "c")],
            )
        };
        let first_expiry = expiry(house);
        assert!(first_expiry > 0.0, "{what}");
        let rejected = || {
            let labels = [("credential", "c"), ("result", "rejected")];
            house.metric("flowgate_token_requests_total", &labels) >= 1.0
        };
        let change = async {
            house.reload(&yaml(wrong));
            eventually(rejected).await;
        };
        let (lost, ()) = tokio::join!(load(house, 25), change);
        assert_eq!(lost, Vec::<String>::new(), "{what}: during the reload");
        let lost = load(house, 10).await;
        assert_eq!(lost, Vec::<String>::new(), "{what}: after it");
        assert_eq!(expiry(house), first_expiry, "{what}");
        let page = house.page("/readyz").await;
        let ready = String::from_utf8(page.body.to_vec()).unwrap();
        assert_eq!(page.status, StatusCode::OK, "{what}");
        assert!(
            ready.contains("credential c: no new token (rejected)"),
            "{what}: {ready}"
        );
        let status = house.page("/status").await;
        let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
        let credential = &status["credentials"][0];
        assert_eq!(credential["token_valid"], true, "{what}");
        assert_eq!(credential["trouble"]["reason"], "rejected", "{what}");

        clock.advance(Duration::from_mins(90));
        let answer = call(house).await;
        let got = format!("{} {}", answer.status.as_u16(), answer.code());
        assert_eq!(got, ended, "{what}");

        house.reload(&yaml(right));
        eventually_ok(house, what).await;
        assert!(expiry(house) > first_expiry, "{what}");
        let page = house.page("/readyz").await;
        let ready = String::from_utf8(page.body.to_vec()).unwrap();
        assert!(!ready.contains("credential c"), "{what}: {ready}");
    }
}

async fn eventually_ok(house: &House, what: &str) {
    for _ in 0..200 {
        if call(house).await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: it does not heal");
}

#[tokio::test]
async fn a_good_new_secret_is_used_at_once_though_the_old_token_is_valid() {
    let credential = PROOFS[0].1;
    let Scene { house, .. } = &scene(credential).await;
    assert_eq!(call(house).await.status, StatusCode::OK);
    house.simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.secrets = vec![ClientSecret::new("mistyped")];
    });
    house.reload(&yaml(PROOFS[0].2));
    let used = || {
        let requests = house.simulator.token_requests();
        requests.len() == 2 && requests[1].field("client_secret") == Some("mistyped")
    };
    eventually(used).await;
    assert_eq!(load(house, 5).await, Vec::<String>::new());
    assert_eq!(house.simulator.token_requests().len(), 2);
}

#[tokio::test]
async fn a_secret_that_is_mistyped_twice_and_then_right_loses_no_call() {
    let credential = |secret: &str| {
        format!(r#"client_secret: {{ client_id: "${{GATEWAY_APP}}", secret: "{secret}" }}"#)
    };
    let Scene { house, clock, .. } = &scene(PROOFS[0].1).await;
    assert_eq!(call(house).await.status, StatusCode::OK);
    for attempt in 0..3 {
        house.reload(&yaml(&credential(&format!("mistyped-{attempt}"))));
        eventually(|| house.simulator.token_requests().len() == attempt + 2).await;
        assert_eq!(load(house, 3).await, Vec::<String>::new());
    }
    house.reload(&yaml(PROOFS[0].1));
    eventually(|| house.simulator.token_requests().len() == 5).await;
    assert_eq!(load(house, 3).await, Vec::<String>::new());
    clock.advance(Duration::from_mins(90));
    eventually_ok(house, "after the first token").await;
}

#[tokio::test]
async fn while_the_provider_hangs_a_changed_secret_and_a_changed_way_out_lose_no_call() {
    let outbound = |text: String| text + "outbound: { token_timeout: 7s }\n";
    for (what, changed) in [
        ("secret", yaml(PROOFS[0].2)),
        ("way out", outbound(yaml(PROOFS[0].1))),
    ] {
        let Scene { house, .. } = &scene(PROOFS[0].1).await;
        assert_eq!(call(house).await.status, StatusCode::OK, "{what}");
        house
            .simulator
            .fault(FaultPoint::Token, Fault::Hang, Times::Always);
        house.reload(&changed);
        assert_eq!(load(house, 20).await, Vec::<String>::new(), "{what}");
        let page = house.page("/readyz").await;
        assert_eq!(page.status, StatusCode::OK, "{what}");
    }
}

/// Everything that makes another identity, or another token of it.
#[tokio::test]
async fn rule_22_a_credential_that_differs_in_anything_but_its_proof_gets_no_token_of_the_one_before()
 {
    let account = r#"password: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, username: user@flowgate.example, password: { env: PASSWORD } }"#;
    let secret = PROOFS[0].1;
    let changed = |base: &str, from: &str, to: &str| {
        assert!(base.contains(from));
        (base.to_owned(), base.replace(from, to))
    };
    let more = |base: &str, keys: &str| {
        let end = base.rfind(" }").unwrap();
        (base.to_owned(), format!("{}, {keys} }}", &base[..end]))
    };
    for (before, after) in [
        changed(secret, "${GATEWAY_APP}", CALLER_APP),
        more(secret, &format!("tenant: {PARTNER_TENANT}")),
        more(secret, "endpoint: v1"),
        more(secret, "cae: true"),
        changed(account, "user@flowgate.example", "other@flowgate.example"),
        changed(secret, secret, account),
        changed(account, account, secret),
    ] {
        let Scene { house, .. } = &scene(&before).await;
        assert_eq!(call(house).await.status, StatusCode::OK, "{before}");
        let runs = house.simulator.runs("order-created");
        let down = Fault::Unavailable;
        house
            .simulator
            .fault(FaultPoint::Token, down, Times::Always);
        let text = yaml(&after);
        house.reload(&text);
        let answer = call(house).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (503, "token_unavailable"),
            "{before} -> {after}"
        );
        assert_eq!(house.simulator.runs("order-created"), runs, "{after}");
        // The token that nobody sends any more is no metric either.
        let shown = house.metric(
            "flowgate_token_expiry_timestamp_seconds",
            &[("credential", "c")],
        );
        assert_eq!(shown, 0.0, "{before} -> {after}");
    }
}

#[tokio::test]
async fn callers_whose_tokens_are_exchanged_keep_them_while_a_new_secret_is_refused() {
    let text = |secret: &str| {
        format!(
            r#"
server: {{ listen: "127.0.0.1:8080" }}
defaults: {{ entra: {{ tenant: "${{TENANT}}", authority: "${{AUTHORITY}}" }} }}
callers: {{ staff: {{ entra: {{ audience: ["${{API}}", "api://${{API}}"] }} }} }}
credentials:
  lent: {{ on_behalf_of: {{ client_id: "${{API}}", secret: "{secret}", scope: ["https://graph.microsoft.com/Tasks.ReadWrite"] }} }}
flows:
  f: {{ url: "${{GRAPH}}/planner", subpaths: true, methods: [GET], who_can_trigger: [staff], credential: lent }}
"#
        )
    };
    let simulator = House::simulator().await;
    simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.secrets = vec![ClientSecret::new("api-secret")];
    });
    let graph = simulator.graph_url();
    let house = House::around(simulator, &text("api-secret"), &[("GRAPH", &graph)]).await;
    let token = |number: usize| house.token(|_| TokenSpec::user().claim("jti", number.to_string()));
    let callers: Vec<String> = (0..20).map(token).collect();
    let call = async |token: &str| {
        let request = Request::get("/f/tasks").header("authorization", format!("Bearer {token}"));
        let answer = house.send(request.body("").unwrap()).await;
        format!("{} {}", answer.status.as_u16(), answer.code())
    };
    let mut before = Vec::new();
    for caller in &callers {
        before.push(call(caller).await);
    }
    let asked = || {
        let count = house.simulator.token_requests().len();
        house.simulator.clear_records();
        count
    };
    assert_eq!(asked(), callers.len());
    for (number, wrong) in ["mistyped", "mistyped again"].into_iter().enumerate() {
        house.reload(&text(wrong));
        for (caller, before) in callers.iter().zip(&before) {
            assert_eq!(&call(caller).await, before);
        }
        assert_eq!(asked(), 0, "nobody has to ask");
        assert_eq!(call(&token(100 + number)).await, "502 credential_rejected");
        assert_eq!(asked(), 1);
    }
    house.reload(&text("api-secret"));
    // Who was refused meanwhile is not made to wait for it.
    assert_eq!(call(&token(100)).await, before[0]);
    assert_eq!(call(&callers[0]).await, before[0]);
    assert_eq!(asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_whose_store_key_is_changed_to_a_wrong_one_serves_its_token_and_says_so() {
    let mut desk = SignInFixture::with(sign_in::YAML).await;
    desk.add("WRONG_KEY", &"0f".repeat(32));
    let person = Person::User(SERVICE_USER.into());
    let (exit, said) = desk.through_the_browser(person, &[]).await;
    assert_eq!(exit, 0, "{said}");
    let house = desk.gateway(sign_in::YAML).await;
    assert_eq!(task(&house).await.status, StatusCode::CREATED);
    let tried = |result: &str| {
        let labels = [("credential", "planner"), ("result", result)];
        house.metric("flowgate_token_requests_total", &labels)
    };
    house.reload(&sign_in::YAML.replace("env: STORE_KEY", "env: WRONG_KEY"));
    eventually(|| tried("store_key_wrong") >= 1.0).await;
    for _ in 0..10 {
        assert_eq!(task(&house).await.status, StatusCode::CREATED);
    }
    let page = house.page("/readyz").await;
    let ready = String::from_utf8(page.body.to_vec()).unwrap();
    assert_eq!(page.status, StatusCode::OK);
    assert!(ready.contains("store_key_wrong"), "{ready}");
    let before = tried("ok");
    house.reload(sign_in::YAML);
    eventually(|| tried("ok") > before).await;
    assert_eq!(task(&house).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_secret_that_is_corrected_while_the_wrong_one_is_being_tried_is_tried_right_after() {
    let Scene { house, .. } = &scene(PROOFS[0].1).await;
    assert_eq!(call(house).await.status, StatusCode::OK);
    let gate = Gate::closed();
    let held = Fault::Held(gate.clone());
    house.simulator.fault(FaultPoint::Token, held, Times::Once);
    house.reload(&yaml(PROOFS[0].2));
    eventually(|| house.simulator.token_requests().len() == 2).await;
    house.reload(&yaml(PROOFS[0].1));
    assert_eq!(load(house, 2).await, Vec::<String>::new());
    gate.open();
    // The refusal of the secret that is gone holds nothing back.
    eventually(|| house.simulator.token_requests().len() == 3).await;
    let requests = house.simulator.token_requests();
    assert_eq!(requests[2].field("client_secret"), Some(SECRET));
    let accepted = || async {
        let page = house.page("/readyz").await;
        !String::from_utf8(page.body.to_vec())
            .unwrap()
            .contains("credential c")
    };
    for _ in 0..200 {
        if accepted().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still said to be refused");
}
