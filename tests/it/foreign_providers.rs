//! Token servers that are not Entra ID, through the whole gateway: what they answer in their own way, how they refuse, and what is said of it.
//!
//! The server is a stub on a real socket, so that every byte of an answer is the test's. Its answers are those that are documented of, or
//! were seen at, Keycloak, glewlwyd, Apigee, Auth0, Okta, GitHub, Spring, Slack and others.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use flowgate::clock::{Clock, Random};
use flowgate::config;
use flowgate::credential::refresh_token::sign_in::SignIn;
use flowgate::credential::source::Context;
use flowgate::credential::{Ask, Kind};
use flowgate::metrics::Metrics;
use flowgate::vault::Secrets;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tracing::Level;
use url::form_urlencoded;

use crate::diagnostics::Diagnostics;
use crate::house::{self, Answer, House, KEY, eventually};
use crate::process::{Process, text, written};
use testkit::stub::{Asked, Stub};

/// What a server must never have said of it anywhere.
const CANARY: &str = "hunter2-of-the-body";

/// A status, header lines, a body.
type Reply = (u16, &'static str, Vec<u8>);

/// One token request.
#[derive(Clone)]
struct Seen {
    path: String,
    /// What `Authorization: Basic` holds, decoded from base64 alone.
    basic: Option<String>,
    form: Vec<(String, String)>,
}

impl Seen {
    fn of(asked: &Asked) -> Self {
        let basic = asked.header("authorization").map(|value| {
            let value = value.strip_prefix("Basic ").unwrap();
            String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap()
        });
        Self {
            path: asked.head.split(' ').nth(1).unwrap().to_owned(),
            basic,
            form: form_urlencoded::parse(&asked.body).into_owned().collect(),
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.form.iter();
        fields
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    fn count(&self, name: &str) -> usize {
        self.form.iter().filter(|(own, _)| own == name).count()
    }
}

struct TokenServer {
    stub: Stub,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TokenServer {
    async fn answering(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        let stub = Stub::serving(move |mut peer, _| {
            let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            async move {
                while let Some(asked) = peer.request().await {
                    let one = Seen::of(&asked);
                    let (status, headers, body) = answer(&one);
                    kept.lock().unwrap().push(one);
                    let mut head =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                    if !headers.is_empty() {
                        let _ = write!(head, "{headers}\r\n");
                    }
                    peer.write([format!("{head}\r\n").as_bytes(), &body].concat())
                        .await;
                }
            }
        })
        .await;
        Self { stub, seen }
    }

    /// One answer to everything.
    async fn fixed(reply: Reply) -> Self {
        Self::answering(move |_| reply.clone()).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn origin(&self) -> String {
        format!("http://{}", self.stub.address)
    }
}

fn json_reply(status: u16, body: &Value) -> Reply {
    let headers = "content-type: application/json";
    (status, headers, body.to_string().into_bytes())
}

fn token() -> Reply {
    json_reply(
        200,
        &json!({ "access_token": "a-token", "token_type": "Bearer", "expires_in": 3600 }),
    )
}

fn html(status: u16) -> Reply {
    let page = format!("<html>{CANARY}</html>");
    (status, "content-type: text/html", page.into_bytes())
}

/// `keys`: the credential.
fn yaml(keys: &str) -> String {
    let text = r#"
server: { listen: "127.0.0.1:8080" }
callers: { erp: { api_key: { plain: { env: ERP_KEY } } } }
credentials: { c: { KEYS } }
flows:
  f: { url: "${AUTHORITY}/elsewhere", who_can_trigger: [erp], credential: c }
"#;
    text.replace("KEYS", keys)
}

const BY_SECRET: &str =
    r#"client_secret: { token_url: "${TOKENS}/token", client_id: app, secret: old }"#;
const WITH_NEXT: &str = r#"client_secret: { token_url: "${TOKENS}/token", client_id: app, secret: old, next_secret: new }"#;

async fn house_of(server: &TokenServer, yaml: &str) -> House {
    let origin = server.origin();
    House::around(House::simulator().await, yaml, &[("TOKENS", &origin)]).await
}

async fn call(house: &House) -> Answer {
    let request = Request::post("/f").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

/// What the upstream got: the simulator knows no such path and says so.
async fn arrived(house: &House, what: &str) -> String {
    let answer = call(house).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{what}: {answer:?}");
    let received = house.simulator.received();
    let seen = received.last().unwrap().header("authorization");
    seen.unwrap().to_owned()
}

async fn status(house: &House) -> Value {
    let page = house.page("/status").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!text.contains(CANARY), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// With whom it went wrong, and how, as a page or a log line has it.
fn cause(told: &Value) -> &str {
    told["cause"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_token_is_used_however_its_server_words_the_rest_of_the_answer() {
    let with = |change: &[(&str, Value)]| {
        let mut answer =
            json!({ "access_token": "a-token", "token_type": "Bearer", "expires_in": 3600 });
        for (name, value) in change {
            answer[*name] = value.clone();
        }
        json_reply(200, &answer)
    };
    let plain = |headers, body: &str| (200, headers, body.as_bytes().to_vec());
    let whole = r#"{"access_token":"a-token","token_type":"bearer","expires_in":3600}"#;
    let mut rows: Vec<(String, Reply)> = Vec::new();
    for kind in [
        json!("bearer"),
        json!("BEARER"),
        json!(" Bearer "),
        json!("BearerToken"),
        json!("Bearer Token"),
        json!("bearer_token"),
        json!("JWT"),
        json!("access_token"),
        json!(""),
        json!(null),
    ] {
        rows.push((format!("token_type {kind}"), with(&[("token_type", kind)])));
    }
    for life in [
        json!("3600"),
        json!("3600.0"),
        json!(3599.7),
        json!(" 3600 "),
        json!(-1),
        json!("-1"),
        json!(1e30),
        json!(0),
        json!(null),
        json!([3600]),
        json!("one hour"),
    ] {
        rows.push((format!("expires_in {life}"), with(&[("expires_in", life)])));
    }
    let more = [
        ("expires_on", json!("11/30/2031 11:59:59 PM +00:00")),
        ("ext_expires_in", json!({})),
        ("not_before", json!("1700000000")),
        ("scope", json!(null)),
        ("error", json!(null)),
        ("refresh_token", json!(7)),
    ];
    rows.push(("odd members".into(), with(&more)));
    rows.extend([
        (
            "nothing but the token".into(),
            json_reply(200, &json!({ "access_token": "a-token" })),
        ),
        (
            "text/plain".into(),
            plain("content-type: text/plain", whole),
        ),
        ("no content type".into(), plain("", whole)),
        (
            "a byte order mark".into(),
            plain(
                "content-type: application/json; charset=utf-8",
                &format!("\u{feff}{whole}"),
            ),
        ),
        (
            "white space around".into(),
            plain(
                "content-type: application/json",
                &format!("\r\n {whole}\n\n"),
            ),
        ),
        (
            "201".into(),
            (201, "content-type: application/json", whole.into()),
        ),
        (
            "203".into(),
            (203, "content-type: application/json", whole.into()),
        ),
    ]);
    for (what, reply) in rows {
        let server = TokenServer::fixed(reply).await;
        let house = house_of(&server, &yaml(BY_SECRET)).await;
        assert_eq!(arrived(&house, &what).await, "Bearer a-token", "{what}");
        assert_eq!(server.seen().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_as_bearer_goes_nowhere_and_it_is_said_what_came() {
    for (kind, reason) in [
        (json!("DPoP"), "token_type_dpop"),
        (json!("PoP"), "token_type_pop"),
        (json!("mac"), "token_type_mac"),
        (json!("N_A"), "token_type_none"),
        (json!(CANARY), "token_type_unknown"),
        (json!("Bearer, DPoP"), "token_type_unknown"),
        (json!(["Bearer"]), "token_type_unknown"),
    ] {
        let reply = json_reply(200, &json!({ "access_token": CANARY, "token_type": kind }));
        let server = TokenServer::fixed(reply).await;
        let house = house_of(&server, &yaml(BY_SECRET)).await;
        let answer = call(&house).await;
        let got = (answer.status.as_u16(), answer.code());
        assert_eq!(got, (503, "token_unavailable".to_owned()), "{kind}");
        assert!(house.simulator.received().is_empty(), "{kind}");
        let trouble = &status(&house).await["credentials"][0]["trouble"];
        assert_eq!(trouble["reason"], reason, "{kind}");
        let labels = [("result", reason)];
        assert!(house.metric("flowgate_token_requests_total", &labels) >= 1.0);
        assert!(!house.metrics.text().unwrap().contains(CANARY));
    }
    for (body, reason) in [
        (json!({ "token_type": "Bearer" }), "token_missing"),
        (json!({ "access_token": "" }), "token_missing"),
        (json!({ "access_token": { "a": 1 } }), "token_missing"),
        (json!({ "access_token": "a b" }), "token_unsendable"),
        (json!({ "access_token": "a\nb" }), "token_unsendable"),
        (
            json!({ "access_token": "x".repeat(50_000) }),
            "token_unsendable",
        ),
        (json!([CANARY]), "answer_invalid"),
    ] {
        let server = TokenServer::fixed(json_reply(200, &body)).await;
        let house = house_of(&server, &yaml(BY_SECRET)).await;
        assert_eq!(call(&house).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(house.simulator.received().is_empty(), "{reason}");
        let trouble = &status(&house).await["credentials"][0]["trouble"];
        assert_eq!(trouble["reason"], reason);
        assert_eq!(cause(trouble), "it answered 200", "{reason}");
    }
}

/// How servers refuse a client whose secret is wrong.
fn refusals() -> Vec<(&'static str, Reply)> {
    vec![
        (
            "RFC 6749",
            json_reply(401, &json!({ "error": "invalid_client" })),
        ),
        (
            "RFC 6749, by form",
            json_reply(400, &json!({ "error": "invalid_client" })),
        ),
        (
            "Keycloak",
            json_reply(
                401,
                &json!({ "error": "unauthorized_client", "error_description": CANARY }),
            ),
        ),
        (
            "unauthorized_client with 400",
            json_reply(400, &json!({ "error": "unauthorized_client" })),
        ),
        ("glewlwyd", (403, "", Vec::new())),
        (
            "an empty 401",
            (401, "www-authenticate: Basic realm=\"x\"", Vec::new()),
        ),
        ("a page with 401", html(401)),
        ("a page with 403", html(403)),
        (
            "Auth0",
            json_reply(
                401,
                &json!({ "error": "access_denied", "error_description": CANARY }),
            ),
        ),
        (
            "Okta, Apigee: no `error`",
            json_reply(
                401,
                &json!({ "errorCode": "invalid_client", "ErrorCode": CANARY }),
            ),
        ),
        (
            "an object for `error`",
            json_reply(401, &json!({ "error": { "code": 401, "message": CANARY } })),
        ),
        (
            "a sentence for `error`",
            json_reply(
                401,
                &json!({ "error": format!("No such client: {CANARY}") }),
            ),
        ),
        (
            "GitHub",
            json_reply(
                200,
                &json!({ "error": "incorrect_client_credentials", "error_description": CANARY }),
            ),
        ),
        (
            "Salesforce",
            json_reply(400, &json!({ "error": "invalid_client_id" })),
        ),
        (
            "invalid_request with 401",
            json_reply(401, &json!({ "error": "invalid_request" })),
        ),
    ]
}

#[tokio::test]
async fn any_refusal_of_the_client_tries_the_next_secret_once_and_remembers_it() {
    for (what, refusal) in refusals() {
        let server = TokenServer::answering(move |seen| match seen.field("client_secret") {
            Some("new") => token(),
            _ => refusal.clone(),
        })
        .await;
        let clock = Clock::manual(Clock::system().unix());
        let origin = server.origin();
        let simulator = House::simulator().await;
        let house = House::at(
            simulator,
            &yaml(WITH_NEXT),
            &[("TOKENS", &origin)],
            clock.clone(),
        )
        .await;
        assert_eq!(arrived(&house, what).await, "Bearer a-token", "{what}");
        let secrets = |server: &TokenServer| -> Vec<String> {
            let seen = server.seen();
            let field = |one: &Seen| one.field("client_secret").unwrap().to_owned();
            seen.iter().map(field).collect()
        };
        assert_eq!(secrets(&server), ["old", "new"], "{what}");
        clock.advance(std::time::Duration::from_hours(1));
        arrived(&house, what).await;
        assert_eq!(secrets(&server), ["old", "new", "new"], "{what}");
    }
}

#[tokio::test]
async fn any_refusal_of_the_client_is_a_rejected_credential_and_its_status_is_reported() {
    for (what, refusal) in refusals() {
        let code = refusal.0;
        let log = Diagnostics::capture(Level::WARN);
        let server = TokenServer::fixed(refusal).await;
        let house = house_of(&server, &yaml(BY_SECRET)).await;
        let answer = call(&house).await;
        let got = (answer.status.as_u16(), answer.code());
        assert_eq!(got, (502, "credential_rejected".to_owned()), "{what}");
        let trouble = &status(&house).await["credentials"][0]["trouble"];
        assert_eq!(trouble["reason"], "rejected", "{what}");
        let answered = format!("it answered {code}");
        assert!(cause(trouble).starts_with(&answered), "{what}: {trouble}");
        let lines = log.lines("no new token");
        assert!(cause(&lines[0]).starts_with(&answered), "{what}");
        assert!(!log.text().contains(CANARY), "{what}");
        assert!(house.simulator.received().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn an_account_a_scope_or_an_outage_that_is_refused_does_not_try_another_secret() {
    const ACCOUNT: &str = r#"password: { token_url: "${TOKENS}/token", client_id: app, secret: old, next_secret: new, username: u, password: p }"#;
    let error = |status, error: &str| json_reply(status, &json!({ "error": error }));
    for (what, keys, reply) in [
        ("a wrong password", ACCOUNT, error(400, "invalid_grant")),
        (
            "a wrong password at Keycloak",
            ACCOUNT,
            error(401, "invalid_grant"),
        ),
        (
            "who knows what: the password goes out once",
            ACCOUNT,
            (403, "", Vec::new()),
        ),
        (
            "a second factor",
            ACCOUNT,
            error(400, "interaction_required"),
        ),
        ("a scope", WITH_NEXT, error(400, "invalid_scope")),
        ("a resource", WITH_NEXT, error(400, "invalid_target")),
        ("a grant", WITH_NEXT, error(400, "unsupported_grant_type")),
        ("a request", WITH_NEXT, error(400, "invalid_request")),
        ("throttled", WITH_NEXT, error(429, "invalid_client")),
        ("an outage", WITH_NEXT, error(503, "invalid_client")),
        ("a wrong address", WITH_NEXT, html(404)),
        ("a page", WITH_NEXT, html(200)),
    ] {
        let server = TokenServer::fixed(reply).await;
        let house = house_of(&server, &yaml(keys)).await;
        assert_ne!(call(&house).await.status, StatusCode::NOT_FOUND, "{what}");
        assert_eq!(server.seen().len(), 1, "{what}");
        assert!(house.simulator.received().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_refused_client_beside_a_password_tries_the_next_secret_and_the_account_is_not_blamed() {
    let server = TokenServer::answering(|seen| match seen.field("client_secret") {
        Some("new") => token(),
        _ => json_reply(401, &json!({ "error": "unauthorized_client" })),
    })
    .await;
    let keys = r#"password: { token_url: "${TOKENS}/token", client_id: app, secret: old, next_secret: new, username: u, password: p }"#;
    let house = house_of(&server, &yaml(keys)).await;
    assert_eq!(arrived(&house, "").await, "Bearer a-token");
    assert_eq!(server.seen().len(), 2);
}

/// What the server says, its status, the reason and the `error` that are reported of it.
#[tokio::test]
async fn what_a_server_said_is_reported_in_log_status_token_and_doctor_and_never_its_text() {
    let spring =
        json!({ "timestamp": CANARY, "status": 404, "error": "Not Found", "path": CANARY });
    for (what, reply, reason, error) in [
        ("a wrong path", html(404), "no_token_endpoint", None),
        (
            "a wrong path at Spring",
            json_reply(404, &spring),
            "no_token_endpoint",
            None,
        ),
        (
            "a page that takes no POST",
            html(405),
            "no_token_endpoint",
            None,
        ),
        ("a page", html(200), "web_page", None),
        ("an odd refusal", html(400), "web_page", None),
        (
            "a text",
            (400, "content-type: text/plain", CANARY.into()),
            "answer_invalid",
            None,
        ),
        ("throttled", html(429), "throttled", None),
        ("an outage", html(503), "provider_error", None),
        (
            "a wrong secret",
            json_reply(
                401,
                &json!({ "error": "invalid_client", "error_description": CANARY, "error_uri": CANARY }),
            ),
            "rejected",
            Some("invalid_client"),
        ),
        (
            "a wrong scope",
            json_reply(
                400,
                &json!({ "error": "invalid_scope", "error_description": CANARY }),
            ),
            "rejected",
            Some("invalid_scope"),
        ),
        (
            "an outage in words",
            json_reply(
                400,
                &json!({ "error": "temporarily_unavailable", "error_description": CANARY }),
            ),
            "provider_error",
            Some("temporarily_unavailable"),
        ),
    ] {
        let error = error.map_or_else(String::new, |error| format!(", error {error}"));
        let seen = format!("it answered {}{error}", reply.0);
        let server = TokenServer::fixed(reply).await;
        let yaml = yaml(BY_SECRET);
        let simulator = House::simulator().await;
        let origin = server.origin();
        let more = [("TOKENS", origin.as_str())];
        let variables: Vec<(String, String)> = [
            ("TOKENS", origin.clone()),
            ("AUTHORITY", simulator.origin()),
            ("ERP_KEY", KEY.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        {
            let log = Diagnostics::capture(Level::WARN);
            let house = House::around(simulator, &yaml, &more).await;
            let trouble = &status(&house).await["credentials"][0]["trouble"];
            assert_eq!(trouble["reason"], reason, "{what}");
            assert_eq!(cause(trouble), seen, "{what}");
            let lines = log.lines("no new token");
            assert_eq!(lines[0]["reason"], reason, "{what}");
            assert_eq!(cause(&lines[0]), seen, "{what}");
            assert_eq!(lines[0]["host"], origin["http://".len()..], "{what}");
            assert!(!log.text().contains(CANARY), "{what}");
        }
        let (_folder, file) = written(&yaml);
        for arguments in [
            vec!["token", "--config", text(&file), "c"],
            vec!["doctor", "--config", text(&file)],
        ] {
            let variables = variables.clone();
            let said = {
                let mut process = Process::start(&arguments, &variables);
                let waiting = tokio::task::spawn_blocking(move || {
                    process.ended();
                    process.said()
                });
                waiting.await.unwrap()
            };
            let of = format!("{what}, {}: {said}", arguments[0]);
            assert!(said.contains(&seen), "{of}");
            assert!(!said.contains(CANARY), "{of}");
        }
    }
}

#[tokio::test]
async fn scope_and_resource_are_asked_for_together_where_the_server_is_not_entra_id() {
    let both = r#"client_secret: { token_url: "${TOKENS}/token", client_id: app, secret: s, scope: [read, "write"], resource: "https://api.example/v1" }"#;
    let on_the_flow = yaml(BY_SECRET).replace(
        "credential: c }",
        r#"credential: c, scope: "read write", resource: "https://api.example/v1" }"#,
    );
    for text in [yaml(both), on_the_flow] {
        let server = TokenServer::fixed(token()).await;
        let house = house_of(&server, &text).await;
        arrived(&house, &text).await;
        let seen = server.seen();
        assert_eq!(seen[0].field("scope"), Some("read write"));
        assert_eq!(seen[0].field("resource"), Some("https://api.example/v1"));
        assert_eq!((seen[0].count("scope"), seen[0].count("resource")), (1, 1));
    }
}

#[tokio::test]
async fn scope_and_resource_together_are_still_an_error_at_entra_id() {
    let simulator = House::simulator().await;
    let environment = house::environment(&simulator, &[]);
    let text = yaml(
        r#"client_secret: { tenant: "${TENANT}", client_id: "${GATEWAY_APP}", secret: s, scope: "api://a/.default", resource: "api://a" }"#,
    );
    let problems = config::parse(&text, &environment, &Clock::system())
        .err()
        .unwrap();
    let said = problems.to_string();
    assert!(
        said.contains("`scope` and `resource` exclude each other"),
        "{said}"
    );
}

/// `client_secret_basic` as RFC 6749 section 2.3.1 has it, and as many servers read it: without decoding.
#[tokio::test]
async fn basic_reaches_servers_that_decode_id_and_secret_and_those_that_do_not() {
    let (id, secret) = ("app/one", "s~cret+/=&%41 ü");
    let keys = format!(
        r#"client_secret: {{ token_url: "${{TOKENS}}/token", client_id: "{id}", client_auth: basic, secret: "{secret}" }}"#
    );
    let decoded = |text: &str| {
        let form = format!("x={text}");
        let (_, value) = form_urlencoded::parse(form.as_bytes()).next().unwrap();
        value.into_owned()
    };
    for decodes in [true, false] {
        let server = TokenServer::answering(move |seen| {
            let (user, password) = seen.basic.as_deref().unwrap().split_once(':').unwrap();
            let got = if decodes {
                (decoded(user), decoded(password))
            } else {
                (user.to_owned(), password.to_owned())
            };
            if got == (id.to_owned(), secret.to_owned()) {
                token()
            } else {
                json_reply(401, &json!({ "error": "invalid_client" }))
            }
        })
        .await;
        let clock = Clock::manual(Clock::system().unix());
        let origin = server.origin();
        let simulator = House::simulator().await;
        let house = House::at(
            simulator,
            &yaml(&keys),
            &[("TOKENS", &origin)],
            clock.clone(),
        )
        .await;
        assert_eq!(arrived(&house, "").await, "Bearer a-token", "{decodes}");
        let first = server.seen().len();
        assert_eq!(first, if decodes { 1 } else { 2 });
        clock.advance(std::time::Duration::from_hours(1));
        arrived(&house, "").await;
        assert_eq!(server.seen().len(), first + 1, "what works comes first");
    }
}

#[tokio::test]
async fn a_basic_secret_that_is_the_same_either_way_is_sent_once_and_a_wrong_one_twice_at_most() {
    for (secret, next, requests) in [
        ("plain-secret", "", 1),
        ("odd~secret", "", 2),
        ("odd~secret", ", next_secret: \"other~one\"", 4),
        ("plain", ", next_secret: other", 2),
    ] {
        let server =
            TokenServer::fixed(json_reply(401, &json!({ "error": "invalid_client" }))).await;
        let keys = format!(
            r#"client_secret: {{ token_url: "${{TOKENS}}/token", client_id: app, client_auth: basic, secret: "{secret}"{next} }}"#
        );
        let house = house_of(&server, &yaml(&keys)).await;
        assert_eq!(call(&house).await.code(), "credential_rejected");
        assert_eq!(server.seen().len(), requests, "{secret} {next}");
        // Every request offered another pair.
        let mut offered: Vec<_> = server.seen().into_iter().map(|one| one.basic).collect();
        offered.dedup();
        assert_eq!(offered.len(), requests, "{secret} {next}");
    }
}

/// The sign-in of a credential at a server of our own.
fn sign_in(server: &TokenServer, keys: &str) -> SignIn {
    let text = yaml(&format!(
        r#"refresh_token: {{ token_url: "${{TOKENS}}/token", authorize_url: "${{TOKENS}}/authorize", device_url: "${{TOKENS}}/device", client_id: app, store: {{ file: /nowhere/at/all }}, store_key: "{}", {keys} }}"#,
        "6f".repeat(32)
    ));
    let text = text.replace("${AUTHORITY}", "https://api.example");
    let environment =
        settings::Environment::fixed([("TOKENS", server.origin()), ("ERP_KEY", KEY.to_owned())]);
    let config = config::parse(&text, &environment, &Clock::system());
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let settings = &config.credentials[0];
    let Kind::RefreshToken(own) = &settings.kind else {
        panic!("another kind");
    };
    let context = Context {
        credential: settings.name.clone(),
        outbound: flowgate::client::Outbound::new(&config.outbound).unwrap(),
        clock: Clock::system(),
        random: Random::system(),
        secrets: Secrets::default(),
        secret_expiry: Metrics::new().unwrap().secret_expiry.clone(),
        clock_skew: Metrics::new().unwrap().clock_skew(&Clock::system()),
    };
    let nothing = Ask::Scope(String::new());
    SignIn::new(own, settings.ask.as_ref().unwrap_or(&nothing), &context)
}

#[tokio::test]
async fn a_sign_in_asks_for_each_scope_once_whatever_the_configuration_lists() {
    let server = TokenServer::fixed(token()).await;
    for (keys, scope) in [
        (
            "scope: [openid, read]",
            "openid profile offline_access read",
        ),
        (
            r#"scope: "read  offline_access profile read""#,
            "openid profile offline_access read",
        ),
        (
            r#"scope: [openid], resource: "https://api.example/v1""#,
            "openid profile offline_access",
        ),
    ] {
        let sign_in = sign_in(&server, keys);
        let browser = sign_in.browser("http://localhost:8400").unwrap();
        let query: Vec<(String, String)> = browser.url.query_pairs().into_owned().collect();
        let of = |name: &str| -> Vec<&str> {
            let own = query.iter().filter(|(own, _)| own == name);
            own.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(of("scope"), [scope], "{keys}");
        let resource = if keys.contains("resource") {
            vec!["https://api.example/v1"]
        } else {
            vec![]
        };
        assert_eq!(of("resource"), resource, "{keys}");
    }
}

#[tokio::test]
async fn a_parameter_of_the_configuration_replaces_the_sign_ins_own_and_occurs_once() {
    let server = TokenServer::fixed(token()).await;
    let sign_in = sign_in(&server, "parameters: { prompt: login, audience: api }");
    let browser = sign_in.browser("http://localhost:8400").unwrap();
    let query: Vec<(String, String)> = browser.url.query_pairs().into_owned().collect();
    let mut names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    assert!(query.contains(&("prompt".into(), "login".into())));
    assert!(query.contains(&("audience".into(), "api".into())));
}

#[tokio::test]
async fn a_device_code_is_bound_to_the_device_that_asked_for_it() {
    let challenge = Arc::new(Mutex::new(None::<String>));
    let kept = Arc::clone(&challenge);
    let server = TokenServer::answering(move |seen| {
        if seen.path == "/device" {
            // As Keycloak with PKCE demanded of the client.
            let method = seen.field("code_challenge_method");
            let (Some("S256"), Some(challenge)) = (method, seen.field("code_challenge")) else {
                return json_reply(400, &json!({ "error": "invalid_request" }));
            };
            *kept.lock().unwrap() = Some(challenge.to_owned());
            return json_reply(
                200,
                &json!({
                    "device_code": "d", "user_code": "U", "expires_in": 600, "interval": 1,
                    "verification_uri": "https://idp.example/device",
                }),
            );
        }
        let verifier = seen.field("code_verifier").unwrap_or_default();
        let digest = openssl_sha256(verifier);
        if (43..=128).contains(&verifier.len()) && kept.lock().unwrap().as_deref() == Some(&digest)
        {
            json_reply(
                200,
                &json!({ "access_token": "t", "token_type": "Bearer", "refresh_token": "r" }),
            )
        } else {
            json_reply(400, &json!({ "error": "invalid_grant" }))
        }
    })
    .await;
    let sign_in = sign_in(&server, "scope: read");
    let device = sign_in.device().await.unwrap();
    let signed = sign_in.wait(&device).await;
    assert!(signed.is_ok(), "{:?}", signed.err());
    eventually(|| server.seen().len() == 2).await;
}

/// SHA-256 in base64url, by a library that the program does not use.
fn openssl_sha256(text: &str) -> String {
    use std::io::Write as _;
    let mut child = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-binary"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("openssl runs");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    BASE64_URL_SAFE_NO_PAD.encode(child.wait_with_output().unwrap().stdout)
}
