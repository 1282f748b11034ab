//! Tokens as issuers other than Entra ID write them, through a whole gateway: times, claims, clients, names of issuers, ID tokens.
//!
//! In: an issuer of the test's own, which signs whatever claims it is given. What a configuration can never match, `check` refuses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use flowgate::clock::Clock;
use flowgate::config;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use settings::Environment;
use tracing::Level;

use crate::diagnostics::Diagnostics;
use crate::house::House;
use crate::signing::{Key, OTHER_RSA, RSA};
use testkit::stub::{Peer, Stub};

/// An issuer on loopback: discovery at `/.well-known/openid-configuration`, keys at `/jwks`.
pub struct Issuer {
    stub: Stub,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Every path that was asked for.
    asked: Mutex<Vec<String>>,
    /// Answers 503 to everything.
    down: AtomicBool,
    /// A line of the head of every answer besides the usual ones.
    head: Mutex<String>,
    /// Seconds its clock is ahead.
    ahead: AtomicU64,
}

impl Issuer {
    pub async fn start() -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let stub = Stub::serving(move |peer, _| serve(peer, Arc::clone(&shared))).await;
        Self { stub, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.stub.address)
    }

    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.url())
    }

    pub fn asked(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }

    pub fn down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// Sets its clock so many seconds ahead of the machine's.
    pub fn ahead(&self, seconds: u64) {
        self.state.ahead.store(seconds, Ordering::SeqCst);
    }

    /// Adds a line to the head of every answer.
    pub fn head(&self, line: &str) {
        line.clone_into(&mut self.state.head.lock().unwrap());
    }

    /// A token with these claims; `iss` is this issuer unless they say otherwise.
    pub fn token(&self, claims: &Value) -> String {
        let mut all = json!({ "iss": self.url(), "sub": "somebody" });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let mut text = all.to_string();
        if all.get("exp").is_none() {
            text = text.replacen('{', &format!("{{\"exp\":{},", now() + 600), 1);
        }
        signed(&RSA, &text)
    }
}

pub fn signed(key: &Key, claims: &str) -> String {
    key.token("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, claims)
}

pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

async fn serve(mut peer: Peer, state: Arc<State>) {
    while let Some(asked) = peer.request().await {
        let path = asked.head.split(' ').nth(1).unwrap().to_owned();
        let host = asked.header("host").unwrap().to_owned();
        state.asked.lock().unwrap().push(path.clone());
        let (status, body) = match path.as_str() {
            _ if state.down.load(Ordering::SeqCst) => ("503 Service Unavailable", json!({})),
            "/jwks" => ("200 OK", json!({ "keys": [RSA.jwk("rsa")] })),
            _ => {
                let issuer = format!("http://{host}");
                let keys = format!("{issuer}/jwks");
                ("200 OK", json!({ "issuer": issuer, "jwks_uri": keys }))
            }
        };
        let date = now() + state.ahead.load(Ordering::SeqCst);
        let date = jiff::Timestamp::from_second(i64::try_from(date).unwrap()).unwrap();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let more = state.head.lock().unwrap().clone();
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nDate: {date}\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        peer.write(head + &body).await;
    }
}

/// A configuration with one `jwt` caller, whose keys are `settings`, and a flow for it.
pub fn partner(settings: &str) -> String {
    format!(
        r#"
server: {{ listen: "127.0.0.1:8080" }}
callers:
  partner: {{ jwt: {{ {settings} }} }}
flows:
  legacy: {{ url: {{ env: LEGACY_URL }}, who_can_trigger: [partner], credential: none }}
"#
    )
}

async fn house(issuer: &Issuer, settings: &str) -> House {
    let (url, keys) = (issuer.url(), issuer.jwks_url());
    let more = [("ISSUER", url.as_str()), ("JWKS", keys.as_str())];
    House::around(House::simulator().await, &partner(settings), &more).await
}

async fn status(house: &House, token: &str) -> StatusCode {
    let request = Request::post("/legacy").header("authorization", format!("Bearer {token}"));
    house.send(request.body("{}").unwrap()).await.status
}

/// What `check` says of a caller's settings, and how bad it is: errors, warnings.
fn checked(settings: &str) -> (String, usize, usize) {
    checked_whole(&partner(settings))
}

fn checked_whole(yaml: &str) -> (String, usize, usize) {
    let environment = Environment::fixed([(
        "LEGACY_URL",
        "https://a.example/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=aVerySecretSignatureOfFortyThreeCharacters0",
    )]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flowgate.yaml");
    std::fs::write(&file, yaml).unwrap();
    let outcome = config::examine(
        &[file],
        &environment,
        &Clock::system(),
        config::Secrets::Optional,
    );
    let problems = outcome.problems;
    let count = |severity| problems.count(severity);
    (
        problems.to_string(),
        count(config::Severity::Error),
        count(config::Severity::Warning),
    )
}

const PLAIN: &str = r#"issuer: "${ISSUER}", audience: flowgate"#;

#[tokio::test]
async fn times_with_a_fraction_or_an_exponent_admit_as_rfc_7519_writes_them() {
    let issuer = Issuer::start().await;
    let house = house(&issuer, PLAIN).await;
    let now = now();
    let claims = |exp: String, more: &str| {
        let url = issuer.url();
        signed(
            &RSA,
            &format!(r#"{{"iss":"{url}","aud":"flowgate","exp":{exp}{more}}}"#),
        )
    };
    let later = format!("{}", now + 600);
    for (exp, more, admitted) in [
        (format!("{later}.25"), "", true),
        (format!("{later}.0"), "", true),
        (format!("{later}e0"), "", true),
        (
            format!(
                "{}.{}E9",
                (now + 600) / 1_000_000_000,
                (now + 600) % 1_000_000_000
            ),
            "",
            true,
        ),
        (
            later.clone(),
            &*format!(r#","nbf":{}.5,"iat":{}.999"#, now - 5, now - 5),
            true,
        ),
        (format!("{}.9", now - 62), "", false),
        (later.clone(), &*format!(r#","nbf":{}.5"#, now + 120), false),
        (format!("\"{later}\""), "", false),
        (format!("\"{later}.5\""), "", false),
        (later.clone(), r#","nbf":"1.5""#, false),
        ("1e400".into(), "", false),
        ("1e300".into(), "", false),
        ("null".into(), "", false),
    ] {
        let status = status(&house, &claims(exp.clone(), more)).await;
        assert_eq!(status == StatusCode::OK, admitted, "exp {exp}{more}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table, read from top to bottom")]
async fn claims_of_every_type_admit_whom_the_filter_names() {
    let issuer = Issuer::start().await;
    let realm = json!({ "realm_access": { "roles": ["ops", "dev"] } });
    let client =
        json!({ "resource_access": { "acme.app": { "roles": ["run"], "level": { "n": 3 } } } });
    let url = json!({ "https://acme.example/roles": ["run"], "https://acme": "x" });
    let both = json!({ "realm_access.roles": ["flat"], "realm_access": { "roles": ["nested"] } });
    for (filter, cases) in [
        (
            "scope: [orders.write]",
            vec![
                (json!({ "scope": "openid orders.write email" }), true),
                (json!({ "scope": "orders.write" }), true),
                (json!({ "scope": ["orders.write"] }), true),
                (json!({ "scope": "openid orders.write.all" }), false),
                (json!({ "scope": "orders.Write" }), false),
                (json!({ "scope": "" }), false),
                (json!({ "scope": { "orders.write": true } }), false),
            ],
        ),
        (
            "scp: [run]",
            vec![
                (json!({ "scp": "read run" }), true),
                (json!({ "scp": ["run"] }), true),
            ],
        ),
        (
            "email_verified: true",
            vec![
                (json!({ "email_verified": true }), true),
                (json!({ "email_verified": "true" }), true),
                (json!({ "email_verified": false }), false),
                (json!({ "email_verified": 1 }), false),
                (json!({ "email_verified": null }), false),
                (json!({}), false),
            ],
        ),
        (
            "level: [3, 4.5]",
            vec![
                (json!({ "level": 3 }), true),
                (json!({ "level": 3.0 }), true),
                (json!({ "level": "3" }), true),
                (json!({ "level": [1, 4.5] }), true),
                (json!({ "level": 30 }), false),
                (json!({ "level": -3 }), false),
                (json!({ "level": true }), false),
            ],
        ),
        (
            "id: [9007199254740993]",
            vec![
                (json!({ "id": 9_007_199_254_740_993_u64 }), true),
                (json!({ "id": 9_007_199_254_740_992_u64 }), false),
                (json!({ "id": 9_007_199_254_740_992.0 }), false),
            ],
        ),
        (
            "realm_access.roles: [ops]",
            vec![
                (realm.clone(), true),
                (json!({ "realm_access": { "roles": "ops" } }), true),
                (json!({ "realm_access": { "roles": ["other"] } }), false),
                (json!({ "realm_access": "ops" }), false),
                (json!({ "roles": ["ops"] }), false),
                (json!({ "realm_access.roles": ["ops"] }), true),
            ],
        ),
        // The exact name decides alone where the token has it.
        ("realm_access.roles: [nested]", vec![(both.clone(), false)]),
        ("realm_access.roles: [flat]", vec![(both, true)]),
        (
            "resource_access.acme.app.roles: [run]",
            vec![(client.clone(), true), (realm, false)],
        ),
        (
            "resource_access.acme.app.level.n: [3]",
            vec![(client.clone(), true)],
        ),
        ("resource_access.acme.app: [run]", vec![(client, false)]),
        (
            "\"https://acme.example/roles\": [run]",
            vec![
                (url, true),
                (json!({ "https://acme": { "example/roles": "run" } }), true),
                (json!({ "roles": ["run"] }), false),
            ],
        ),
        (
            "department: [finance hr]",
            vec![
                (json!({ "department": "finance hr" }), true),
                (json!({ "department": "finance" }), false),
            ],
        ),
    ] {
        let settings = format!("{PLAIN}, claims: {{ {filter} }}");
        let house = house(&issuer, &settings).await;
        for (claims, admitted) in cases {
            let mut claims = claims;
            claims["aud"] = "flowgate".into();
            let token = issuer.token(&claims);
            // Twice: the second time from memory.
            for _ in 0..2 {
                let status = status(&house, &token).await;
                assert_eq!(status == StatusCode::OK, admitted, "{filter} {claims}");
            }
        }
    }
}

#[test]
fn filters_that_can_never_match_are_errors_of_check() {
    let plain = r#"issuer: "https://idp.example", audience: flowgate"#;
    let (said, errors, warnings) = checked(plain);
    assert_eq!((errors, warnings), (0, 0), "{said}");
    for filter in [
        "{ scope: [a, b], email_verified: true, level: [3], realm_access.roles: [x] }",
        "{ \"https://acme.example/roles\": run, sub: [somebody] }",
    ] {
        let (said, errors, warnings) = checked(&format!("{plain}, claims: {filter}"));
        assert_eq!((errors, warnings), (0, 0), "{filter}\n{said}");
    }
    for filter in [
        "{}",
        "{ roles: [] }",
        "{ roles: [a, a] }",
        "{ roles: { a: b } }",
        "{ roles: [[a]] }",
        "{ roles: null }",
        "{ \"\": a }",
        "{ iss: a }",
        "{ aud: a }",
        "{ exp: 7 }",
        "{ nbf: 7 }",
        "{ iat: 7 }",
        "{ jti: a }",
        "{ cnf: a }",
        "{ scope: [\" \"] }",
    ] {
        let (said, errors, _) = checked(&format!("{plain}, claims: {filter}"));
        assert!(errors > 0, "{filter}\n{said}");
    }
    let tenant = "8f3b0000-0000-0000-0000-000000000001";
    let id = "33330000-0000-0000-0000-000000000001";
    let entra = |more: &str| {
        let yaml = partner("XX").replace(
            "jwt: { XX }",
            &format!("entra: {{ tenant: \"{tenant}\", audience: \"{id}\", {more} }}"),
        );
        checked_whole(&yaml)
    };
    for (more, wanted) in [
        ("scopes: [access_as_user]", 0),
        ("roles: [Flow.Run]", 0),
        ("scopes: [\"api://1111/access_as_user\"]", 1),
        ("scopes: [\"a b\"]", 1),
        ("scopes: [.default]", 1),
        ("roles: [\"a b\"]", 1),
        ("roles: [a, a]", 1),
        (
            "object_ids: [\"33330000-0000-0000-0000-00000000000A\", \"33330000-0000-0000-0000-00000000000a\"]",
            1,
        ),
    ] {
        let (said, errors, _) = entra(more);
        assert_eq!(errors, wanted, "{more}\n{said}");
    }
}

#[tokio::test]
async fn an_issuer_without_audiences_is_accepted_by_the_client() {
    let issuer = Issuer::start().await;
    let cognito = json!({ "client_id": "web", "token_use": "access" });
    let with = |name: &str, value: Value| {
        let mut claims = cognito.clone();
        claims[name] = value;
        claims
    };
    let house = house(&issuer, r#"issuer: "${ISSUER}", client_ids: [web, mobile]"#).await;
    for (claims, admitted) in [
        (cognito.clone(), true),
        (with("client_id", "mobile".into()), true),
        (json!({ "azp": "web" }), true),
        (with("client_id", "stranger".into()), false),
        (with("client_id", "WEB".into()), false),
        (with("client_id", json!(["web"])), false),
        (json!({}), false),
        // Two clients: whom one of them names is not who the other is.
        (with("azp", "stranger".into()), false),
        (with("azp", "web".into()), true),
        // For somebody else (RFC 7519 section 4.1.3): whoever is addressed is named, and it is not us.
        (with("aud", "elsewhere".into()), false),
        (with("aud", json!([])), false),
        // An ID token of the same user and client.
        (with("token_use", "id".into()), false),
        (with("at_hash", "x".into()), false),
    ] {
        let token = issuer.token(&claims);
        for _ in 0..2 {
            let status = status(&house, &token).await;
            assert_eq!(status == StatusCode::OK, admitted, "{claims}");
        }
    }
    let house = self::house(
        &issuer,
        r#"issuer: "${ISSUER}", client_ids: web, audience: flowgate"#,
    )
    .await;
    for (claims, admitted) in [
        (json!({ "client_id": "web", "aud": "flowgate" }), true),
        (json!({ "client_id": "web" }), false),
        (json!({ "client_id": "other", "aud": "flowgate" }), false),
        (json!({ "aud": "flowgate" }), false),
    ] {
        let status = status(&house, &issuer.token(&claims)).await;
        assert_eq!(status == StatusCode::OK, admitted, "both: {claims}");
    }
    let (said, errors, _) = checked(r#"issuer: "https://idp.example""#);
    assert!(errors > 0, "neither audience nor client_ids\n{said}");
    assert!(said.contains("client_ids"), "{said}");
}

#[tokio::test]
async fn an_issuer_that_is_no_url_is_compared_as_text_where_the_keys_address_is_given() {
    let issuer = Issuer::start().await;
    for name in [
        "http://adfs.corp.example/adfs/services/trust",
        "corporate-sso",
        "urn:acme:sso",
    ] {
        let settings = format!(r#"issuer: "{name}", jwks_url: "${{JWKS}}", audience: flowgate"#);
        let house = house(&issuer, &settings).await;
        let good = json!({ "iss": name, "aud": "flowgate" });
        assert_eq!(
            status(&house, &issuer.token(&good)).await,
            StatusCode::OK,
            "{name}"
        );
        for other in [format!("{name}/"), name.to_uppercase(), issuer.url()] {
            let token = issuer.token(&json!({ "iss": other, "aud": "flowgate" }));
            let status = status(&house, &token).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}: {other}");
        }
        let foreign = format!(
            r#"{{"iss":"{name}","aud":"flowgate","exp":{}}}"#,
            now() + 60
        );
        let token = signed(&OTHER_RSA, &foreign);
        assert_eq!(status(&house, &token).await, StatusCode::UNAUTHORIZED);
        let (said, errors, _) = checked(&format!(r#"issuer: "{name}", audience: flowgate"#));
        assert_eq!(errors, 1, "{name}\n{said}");
        assert!(said.contains("jwks_url"), "{said}");
        assert!(!said.contains("insecure_hosts"), "{said}");
        // The fix, applied.
        let keys = r#"jwks_url: "https://sso.example/keys""#;
        let (said, errors, _) = checked(&format!(r#"issuer: "{name}", {keys}, audience: x"#));
        assert_eq!(errors, 0, "{name}\n{said}");
    }
}

#[tokio::test]
async fn an_id_token_is_accepted_only_where_the_configuration_says_so() {
    let issuer = Issuer::start().await;
    let marks = [
        json!({ "at_hash": "x" }),
        json!({ "c_hash": "x" }),
        json!({ "token_use": "id" }),
        json!({ "typ": "ID" }),
    ];
    for (settings, admitted) in [
        (PLAIN.to_owned(), false),
        (format!("{PLAIN}, accept_id_tokens: false"), false),
        (format!("{PLAIN}, accept_id_tokens: true"), true),
    ] {
        let house = house(&issuer, &settings).await;
        for mark in &marks {
            let mut claims = mark.clone();
            claims["aud"] = "flowgate".into();
            let status = status(&house, &issuer.token(&claims)).await;
            assert_eq!(status == StatusCode::OK, admitted, "{settings} {claims}");
            // Not for us, or bound to a key: never.
            for (name, value) in [("aud", json!("other")), ("cnf", json!({ "jkt": "x" }))] {
                let mut claims = claims.clone();
                claims[name] = value;
                let status = self::status(&house, &issuer.token(&claims)).await;
                assert_eq!(
                    status,
                    StatusCode::UNAUTHORIZED,
                    "{settings} {name} {claims}"
                );
            }
        }
    }
    let (said, errors, _) =
        checked(r#"issuer: "https://idp.example", client_ids: x, accept_id_tokens: true"#);
    assert!(
        errors > 0,
        "an ID token is for whom its audience names\n{said}"
    );
}

#[test]
fn no_caller_is_recognised_by_a_token_for_one_of_microsofts_services() {
    let services = [
        // Microsoft Graph, Azure AD Graph, Exchange Online, SharePoint Online.
        "00000003-0000-0000-c000-000000000000",
        "00000002-0000-0000-c000-000000000000",
        "00000002-0000-0ff1-ce00-000000000000",
        "00000003-0000-0ff1-ce00-000000000000",
        // Dataverse, Dynamics 365 finance and operations, Power BI.
        "00000007-0000-0000-c000-000000000000",
        "00000015-0000-0000-c000-000000000000",
        "00000009-0000-0000-c000-000000000000",
        // Azure Resource Manager, Key Vault, Storage, SQL, Service Bus, Event Hubs, DevOps.
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
        "e406a681-f3d4-42a8-90b6-c2b029497af1",
        "022907d3-0f1b-48f7-badc-1ba6abab6d66",
        "80a10ef9-8168-493d-abf9-3297c4ef6e3c",
        "80369ed6-5f11-4dd9-bef3-692475845e77",
        "499b84ac-1321-427f-aa17-267ca6975798",
        // The flow service, PowerApps, the Power Platform's API, Office 365 management.
        "7df0a125-d3be-4c96-aa54-591f83ff541c",
        "475226c6-020e-4fb2-8a90-7a972cbfc1d4",
        "8578e004-a5c6-46e7-913e-12f58912df43",
        "c5393580-f805-4401-95e8-94b7a6ef2fc2",
    ];
    let addresses = [
        "https://graph.microsoft.com",
        "https://management.azure.com/",
        "https://management.core.windows.net/",
        "https://vault.azure.net",
        "https://storage.azure.com/",
        "https://database.windows.net/",
        "https://graph.windows.net",
        "https://outlook.office365.com",
        "https://acme.sharepoint.com",
        "https://acme.crm4.dynamics.com/",
        "https://analysis.windows.net/powerbi/api",
        "https://service.flow.microsoft.com/",
        "https://servicebus.azure.net",
        "spn:00000003-0000-0000-c000-000000000000",
        "00000003-0000-0ff1-ce00-000000000000/acme.sharepoint.com@8f3b0000-0000-0000-0000-000000000001",
    ];
    let upper = services[0].to_uppercase();
    for audience in services.iter().chain(&addresses).chain([&&*upper]) {
        for kind in ["entra", "jwt"] {
            let issuer = if kind == "jwt" {
                "issuer: \"https://idp.example\""
            } else {
                "tenant: 8f3b0000-0000-0000-0000-000000000001, roles: [x]"
            };
            let yaml = partner("XX").replace(
                "jwt: { XX }",
                &format!("{kind}: {{ {issuer}, audience: \"{audience}\" }}"),
            );
            let (said, errors, _) = checked_whole(&yaml);
            assert!(errors > 0, "{kind} {audience}\n{said}");
        }
    }
}

#[tokio::test]
async fn strangers_fill_neither_log_nor_alarms_while_keys_are_missing() {
    const STRANGERS: usize = 2000;
    let log = Diagnostics::capture(Level::INFO);
    let issuer = Issuer::start().await;
    issuer.down(true);
    let house = house(&issuer, PLAIN).await;
    let unsigned = {
        let good = issuer.token(&json!({ "aud": "flowgate" }));
        let (signed, _) = good.rsplit_once('.').unwrap();
        format!("{signed}.AAAA")
    };
    let before = issuer.asked();
    for _ in 0..STRANGERS {
        assert_eq!(
            status(&house, &unsigned).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    let text = log.text();
    let lines = text.lines().count();
    assert!(lines <= 12, "{lines} lines:\n{text}");
    let blamed = |fault: &str| house.metric("flowgate_requests_total", &[("fault", fault)]);
    for fault in ["gateway", "identity_provider", "flow"] {
        assert!(
            blamed(fault).abs() < 0.5,
            "{fault} is blamed for strangers: {}",
            blamed(fault)
        );
    }
    assert!(
        house.metric(
            "flowgate_identity_failures_total",
            &[("reason", "key_set_unavailable")]
        ) > 1999.0
    );
    let asked = issuer.asked() - before;
    assert!(asked <= 20, "{asked} requests for keys");
}
