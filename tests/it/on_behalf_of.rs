//! Callers' own tokens exchanged, and claims challenges: what the upstream gets, what callers get, and whom it does not concern.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};
use simulator::directory::{API_APP, DEMO_TENANT, DEMO_USER};
use simulator::{ClientSecret, Fault, FaultPoint, Simulator, Times, TokenSpec, User, UserState};

use crate::house::{Answer, House, KEY};
use testkit::stub::{Asked, Stub};

mod many_callers;
mod proofs;

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
  flow: { methods: [GET, POST] }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
  staff: { entra: { audience: ["${API}", "api://${API}"], apps: true } }
credentials:
  lent:
    on_behalf_of: { client_id: "${API}", secret: { env: API_SECRET }, scope: "https://graph.microsoft.com/.default" }
  mistaken:
    on_behalf_of: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET }, scope: "https://graph.microsoft.com/.default" }
  own:
    client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET }, scope: "https://graph.microsoft.com/.default", cae: true }
flows:
  lent: { url: "${GRAPH}", kind: other, who_can_trigger: [staff], credential: lent }
  mistaken: { url: "${GRAPH}", kind: other, who_can_trigger: [staff], credential: mistaken }
  own: { url: "${GRAPH}", kind: other, who_can_trigger: [erp], credential: own }
"#;

const DEMAND: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// What an upstream wants of a token.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Nothing,
    /// The claims of [`DEMAND`], which a challenge names.
    Claims,
    /// What no token has.
    More,
    /// The same claims, for which the provider wants the user in person, and says how.
    Person,
    /// The same, and does not say how.
    Silence,
}

/// A gateway between callers and an upstream that knows claims challenges.
struct Scene {
    house: House,
    asked: Arc<Mutex<Vec<Asked>>>,
    _upstream: Stub,
}

async fn scene(wants: Wants) -> Scene {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let simulator = House::simulator().await;
    let provider = simulator.clone();
    let upstream = Stub::serving(move |mut peer, _| {
        let (seen, provider) = (Arc::clone(&seen), provider.clone());
        async move {
            while let Some(request) = peer.request().await {
                let claims = claims(request.header("authorization").unwrap_or_default());
                seen.lock().unwrap().push(request);
                let enough = match wants {
                    Wants::Nothing => true,
                    Wants::Claims => claims["acrs"] == json!(["c1"]),
                    Wants::More | Wants::Person | Wants::Silence => false,
                };
                match wants {
                    Wants::Person => state(&provider, UserState::MfaRequired),
                    Wants::Silence => provider.fault(FaultPoint::Token, unclaimed(), Times::Once),
                    Wants::Nothing | Wants::Claims | Wants::More => {}
                }
                let answer = if enough {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned()
                } else {
                    let demand = STANDARD.encode(DEMAND);
                    format!(
                        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nWWW-Authenticate: Bearer realm=\"\", \
                         authorization_uri=\"https://elsewhere.example/\", error=\"insufficient_claims\", claims=\"{demand}\"\r\n\r\n{{}}"
                    )
                };
                peer.write(answer).await;
            }
        }
    })
    .await;
    simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.secrets = vec![ClientSecret::new("api-secret")];
    });
    let graph = format!("http://{}/v1.0/me", upstream.address);
    let more = [("GRAPH", graph.as_str()), ("API_SECRET", "api-secret")];
    Scene {
        house: House::around(simulator, YAML, &more).await,
        asked,
        _upstream: upstream,
    }
}

impl Scene {
    async fn call(&self, flow: &str, token: &str) -> Answer {
        self.send(flow, token, "{}".to_owned()).await
    }

    async fn send(&self, flow: &str, token: &str, body: String) -> Answer {
        let request =
            Request::post(format!("/{flow}")).header("authorization", format!("Bearer {token}"));
        self.house.send(request.body(body).unwrap()).await
    }

    fn user(&self, change: impl FnOnce(TokenSpec) -> TokenSpec) -> String {
        self.house.simulator.issue(&change(TokenSpec::user()))
    }

    fn seen(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Exchanges that were asked for.
    fn exchanges(&self) -> Vec<simulator::TokenRequest> {
        let mut all = self.house.simulator.token_requests();
        all.retain(|asked| asked.field("assertion").is_some());
        all
    }
}

fn claims(authorization: &str) -> Value {
    let payload = authorization.split('.').nth(1).unwrap_or_default();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&payload).unwrap_or_default()
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

/// The claims that a caller has to bring.
fn told(answer: &Answer) -> Value {
    let challenge = challenge(answer);
    let (head, claims) = challenge.split_once(", claims=\"").unwrap();
    assert_eq!(
        head,
        r#"Bearer realm="flowgate", error="insufficient_claims""#
    );
    let claims = STANDARD.decode(claims.trim_end_matches('"')).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// A provider that wants the user in person and does not say for what.
fn unclaimed() -> Fault {
    let body =
        json!({ "error": "interaction_required", "claims": "not json", "error_description": "x" });
    Fault::Status {
        status: 400,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into(),
    }
}

fn state(simulator: &Simulator, state: UserState) {
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| user.state = state);
}

#[tokio::test]
async fn the_upstream_gets_the_users_token_for_itself_and_never_the_callers() {
    let scene = scene(Wants::Nothing).await;
    let token = scene.user(|spec| spec);
    for _ in 0..3 {
        assert_eq!(scene.call("lent", &token).await.status, 200);
    }
    assert_eq!(scene.exchanges().len(), 1);
    for asked in scene.seen() {
        assert!(!asked.head.contains(&token), "the caller's token travelled");
        let sent = claims(asked.header("authorization").unwrap());
        assert_eq!(sent["aud"], "https://graph.microsoft.com");
        assert_eq!(sent["oid"], DEMO_USER);
        assert_eq!(asked.header("flowgate-subject"), Some(DEMO_USER));
    }
    let status = String::from_utf8(scene.house.page("/status").await.body.to_vec()).unwrap();
    assert!(!status.contains(DEMO_USER));
    assert_eq!(
        scene.house.metric(
            "flowgate_token_cache_total",
            &[("credential", "lent"), ("result", "hit")]
        ),
        2.0
    );
}

#[tokio::test]
async fn an_applications_token_is_refused_without_asking_anybody() {
    let scene = scene(Wants::Nothing).await;
    let answer = scene.call("lent", &scene.house.token(|spec| spec)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (403, "user_token_required")
    );
    assert!(scene.exchanges().is_empty() && scene.seen().is_empty());
}

#[tokio::test]
async fn a_user_who_has_to_sign_in_gets_the_claims_and_no_other_caller_is_disturbed() {
    let scene = scene(Wants::Nothing).await;
    scene.house.simulator.add_user(
        DEMO_TENANT,
        User::new("44440000-0000-0000-0000-00000000000b", "b@flowgate.example"),
    );
    state(&scene.house.simulator, UserState::MfaRequired);
    let (weak, other) = (
        scene.user(|spec| spec),
        scene.user(|spec| spec.object("44440000-0000-0000-0000-00000000000b")),
    );
    for _ in 0..2 {
        let answer = scene.call("lent", &weak).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (401, "insufficient_claims")
        );
        assert_eq!(answer.problem("run"), "not_started");
        assert_eq!(told(&answer)["access_token"]["capolids"]["essential"], true);
        assert_eq!(scene.call("lent", &other).await.status, 200);
    }
    assert_eq!(
        scene.exchanges().len(),
        2,
        "the failure is remembered for the one"
    );
    let strong = scene.user(|spec| spec.claim("amr", json!(["pwd", "mfa"])));
    assert_eq!(scene.call("lent", &strong).await.status, 200);
}

#[tokio::test]
async fn missing_consent_and_assertions_of_the_wrong_kind_have_codes_of_their_own() {
    let scene = scene(Wants::Nothing).await;
    state(&scene.house.simulator, UserState::ConsentRequired);
    let answer = scene.call("lent", &scene.user(|spec| spec)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (403, "consent_required")
    );
    state(&scene.house.simulator, UserState::Active);
    // Within the leeway for clocks the token counts here, and can be exchanged no more: like any token that has expired.
    let before = scene.exchanges().len();
    let answer = scene
        .call("lent", &scene.user(|spec| spec.lifetime(-20)))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (401, "unauthenticated")
    );
    assert_eq!(
        challenge(&answer),
        r#"Bearer realm="flowgate", ApiKey realm="flowgate", header="x-api-key""#
    );
    assert_eq!(scene.exchanges().len(), before);
    // The configuration exchanges tokens of one application as another: no caller can fix that.
    let answer = scene.call("mistaken", &scene.user(|spec| spec)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (502, "credential_rejected")
    );
    // The provider names no claims: then a new token is all that can be asked for.
    scene
        .house
        .simulator
        .fault(FaultPoint::Token, unclaimed(), Times::Once);
    let answer = scene
        .call("lent", &scene.user(|spec| spec.claim("jti", 7)))
        .await;
    assert_eq!(answer.code(), "insufficient_claims");
    assert_eq!(
        challenge(&answer),
        r#"Bearer realm="flowgate", error="invalid_token""#
    );
}

#[tokio::test]
async fn a_claims_challenge_is_answered_once_with_a_token_that_has_the_claims() {
    let scene = scene(Wants::Claims).await;
    let token = scene.user(|spec| spec);
    let answer = scene.send("lent", &token, "the body".into()).await;
    assert_eq!(answer.status, 200);
    let seen = scene.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|asked| &*asked.body == b"the body"));
    let exchanges = scene.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_eq!(
        (exchanges[0].field("claims"), exchanges[1].field("claims")),
        (None, Some(DEMAND))
    );
    assert_eq!(scene.house.access_lines(1).await[0]["replayed"], true);
    // The new token is the one that is kept.
    assert_eq!(scene.call("lent", &token).await.status, 200);
    assert_eq!(scene.exchanges().len(), 2);
    // The gateway's own credential answers in the same way; with `cae` both demands travel together.
    let request = Request::post("/own").header("x-api-key", KEY);
    let answer = scene.house.send(request.body("{}").unwrap()).await;
    assert_eq!(answer.status, 200);
    let own = scene.house.simulator.token_requests();
    let own: Vec<Value> = own
        .iter()
        .filter(|asked| asked.field("grant_type") == Some("client_credentials"))
        .map(|asked| serde_json::from_str(asked.field("claims").unwrap()).unwrap())
        .collect();
    let capable = json!({ "values": ["cp1"] });
    assert_eq!(own[0], json!({ "access_token": { "xms_cc": capable } }));
    let both = json!({ "access_token": { "acrs": { "essential": true, "value": "c1" }, "xms_cc": capable } });
    assert_eq!((own.len(), &own[1]), (2, &both));
}

#[tokio::test]
async fn a_challenge_that_no_token_answers_reaches_the_user_it_concerns_and_is_not_repeated() {
    let scene = scene(Wants::More).await;
    let token = scene.user(|spec| spec);
    for round in 1..=3 {
        let answer = scene.call("lent", &token).await;
        assert_eq!(answer.code(), "insufficient_claims");
        assert_eq!(
            told(&answer),
            serde_json::from_str::<Value>(DEMAND).unwrap()
        );
        assert!(
            !challenge(&answer).contains("elsewhere"),
            "a challenge names no authority"
        );
        // The first is sent again with the one new token that 30 s allow.
        assert_eq!(
            (scene.seen().len(), scene.exchanges().len()),
            (round + 1, 2)
        );
    }
    // Of the gateway's own token no caller can bring more.
    let request = Request::post("/own").header("x-api-key", KEY);
    let answer = scene.house.send(request.body("{}").unwrap()).await;
    assert_eq!(answer.code(), "upstream_rejected_credential");
    assert!(!answer.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn a_challenge_to_a_call_whose_body_was_not_kept_renews_the_token_for_the_next_one() {
    let large = || "x".repeat(70_000);
    for wants in [Wants::Claims, Wants::More, Wants::Person] {
        let scene = scene(wants).await;
        let token = scene.user(|spec| spec);
        let answer = scene.send("lent", &token, large()).await;
        assert_eq!((scene.seen().len(), scene.exchanges().len()), (1, 2));
        assert_eq!(scene.exchanges()[1].field("claims"), Some(DEMAND));
        if wants == Wants::Person {
            // No other token is to be had without the user.
            assert_eq!(answer.code(), "insufficient_claims");
            continue;
        }
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (503, "token_renewed")
        );
        assert_eq!(answer.problem("run"), "not_started");
        assert_eq!(answer.headers["retry-after"], "1");
        assert!(!answer.headers.contains_key("www-authenticate"));
        let answer = scene.send("lent", &token, large()).await;
        if wants == Wants::Claims {
            assert_eq!(answer.status, 200);
        } else {
            assert_eq!(answer.code(), "insufficient_claims");
        }
        assert_eq!((scene.seen().len(), scene.exchanges().len()), (2, 2));
    }
}

#[tokio::test]
async fn a_challenge_that_only_the_user_can_answer_reaches_the_user() {
    let provider_says = scene(Wants::Person).await;
    let token = provider_says.user(|spec| spec);
    let answer = provider_says.call("lent", &token).await;
    assert_eq!(answer.code(), "insufficient_claims");
    assert_eq!(told(&answer)["access_token"]["capolids"]["essential"], true);
    // Where the provider does not say what it wants, what the upstream wants is passed on.
    let upstream_says = scene(Wants::Silence).await;
    let token = upstream_says.user(|spec| spec);
    let answer = upstream_says.call("lent", &token).await;
    assert_eq!(
        told(&answer),
        serde_json::from_str::<Value>(DEMAND).unwrap()
    );
    for scene in [provider_says, upstream_says] {
        assert_eq!((scene.seen().len(), scene.exchanges().len()), (1, 2));
    }
}

#[tokio::test]
async fn distinct_callers_have_a_request_each_and_share_nothing() {
    let scene = Arc::new(scene(Wants::Nothing).await);
    let mut calls = Vec::new();
    for caller in 0..40 {
        let token = scene.user(|spec| spec.claim("jti", caller));
        for _ in 0..5 {
            let (scene, token) = (Arc::clone(&scene), token.clone());
            calls.push(tokio::spawn(async move {
                scene.call("lent", &token).await.status
            }));
        }
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(scene.exchanges().len(), 40);
    let sent: std::collections::BTreeSet<String> = scene
        .seen()
        .iter()
        .map(|asked| asked.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent.len(), 40);
}
