//! Secrets cannot be printed (security rule 20): every refusal there is, every kind of caller and credential, a panic and hostile provider
//! bodies, at `trace` with the real subscriber; then no canary is in diagnostics, access log, metrics, admin pages or problems.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use flowgate::clock::{Clock, Random};
use flowgate::credential::refresh_token::record::Record;
use flowgate::credential::refresh_token::seal::{Key, Owner, Seal};
use flowgate::credential::refresh_token::store::Store;
use flowgate::refusal::Code;
use flowgate::secret::Secret;
use flowgate::telemetry;
use http::Request;
use simulator::directory::{API_APP, DEMO_TENANT, DEMO_USER};
use simulator::vault::SecretVersion;
use simulator::{
    ClientSecret, Fault, FaultPoint, Flow, Gate, Mode, Received, Service, Signer, Simulator, Times,
    TokenSpec, UserState,
};
use tracing::Level;

use crate::canaries::Canaries;
use crate::certificates::{RSA, Workshop};
use crate::diagnostics::Diagnostics;
use crate::house::{Answer, House};
use crate::wire::{Line, raw};
use testkit::stub::Stub;

const KEY: &str = "canary-api-key-canary";
const BEARER_KEY: &str = "canary-bearer-key-canary-canary";
const SECRET: &str = "canary~client+secret/&%=";
const LENT_SECRET: &str = "canary~lending+secret/&%=";
const PROVIDER: &str = "canary-provider-text";
const BODY: &str = "canary-request-body";
const QUERY: &str = "canary-query-value";
const PATH: &str = "canary-path-segment";
const HEADER: &str = "canary-header-value";
const ANSWER: &str = "canary-answer-body";
const PANIC: &str = "canary-panic-message";
const REFRESH: &str = "canary-refresh-token-canary";
const STORE_KEY: &str = "ca4a2700000000000000000000000000000000000000000000000000ca4a2742";
const PROXY: &str = "canary-proxy-password";
const NEXT_SECRET: &str = "canary~next+secret/&%=";
const ACCOUNT: &str = "canary~account pass+word/&%=";
const PASSPHRASE: &str = "canary-passphrase";
const FEDERATED: &str = "canary-federated.token.canary";
const FIXED: &str = "canary-fixed-token-canary";
const VAULT_SECRET: &str = "canary~vault+secret/&%=";
const VAULT_KEY: &str = "canary-api-key-of-a-vault";
const IDENTITY: &str = "canary-identity-header";

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080", body_idle_timeout: 100ms, max_in_flight: 1 }
outbound: { proxy: { env: PROXY } }
log: { level: trace }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
  flow: { credential: flows, body_limit: 1KiB }
callers:
  erp: { api_key: { plain: { env: KEY } } }
  vaulted: { api_key: { plain: { key_vault: "${AUTHORITY}/secrets/key", credential: flows } } }
  shared: { api_key: { scheme: Bearer, plain: { env: BEARER_KEY } } }
  billing: { entra: { audience: ["${API}", "api://${API}"], client_ids: ["${CALLER_APP}"] } }
  partner: { jwt: { issuer: "${AUTHORITY}/${PARTNER_TENANT}/v2.0", audience: "${API}" } }
  users: { entra: { audience: ["${API}", "api://${API}"], apps: true } }
  strange: { jwt: { issuer: "${STUB}/html", audience: "${API}" } }
credentials:
  flows: { client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } } }
  lent: { on_behalf_of: { client_id: "${API}", secret: { env: LENT_SECRET }, scope: "https://graph.microsoft.com/.default", cae: true } }
  denied: { client_secret: { token_url: "${STUB}/denied", client_auth: basic, client_id: x, secret: { env: SECRET }, scope: s } }
  html: { client_secret: { token_url: "${STUB}/html", client_id: x, secret: { env: SECRET }, scope: s } }
  text: { client_secret: { token_url: "${STUB}/text", client_id: x, secret: { env: SECRET }, scope: s } }
  odd: { client_secret: { token_url: "${STUB}/odd", client_id: x, secret: { env: SECRET }, scope: s } }
  vaulted: { client_secret: { token_url: "${STUB}/html", client_id: x, secret: { key_vault: "${STUB}/secrets/x", credential: flows }, scope: s } }
  redirect: { client_secret: { token_url: "${STUB}/redirect", client_id: x, secret: { env: SECRET }, scope: s } }
  worn: { refresh_token: { token_url: "${STUB}/worn", client_id: x, scope: s, store: { file: "${FOLDER}/worn" }, store_key: { env: STORE_KEY } } }
  never: { refresh_token: { token_url: "${STUB}/worn", client_id: x, scope: s, store: { file: "${FOLDER}/never" }, store_key: { env: STORE_KEY } } }
  homeless: { refresh_token: { token_url: "${STUB}/worn", client_id: x, scope: s, store: { file: "${FOLDER}/no/folder" }, store_key: { env: STORE_KEY } } }
  rolled: { client_secret: { token_url: "${STUB}/denied", client_id: x, secret: { env: SECRET }, next_secret: { env: NEXT_SECRET }, scope: s } }
  account: { password: { token_url: "${STUB}/denied", client_id: x, secret: { env: SECRET }, username: u, password: { env: ACCOUNT }, scope: s } }
  certified: { client_certificate: { token_url: "${STUB}/denied", client_id: x, certificate: { file: "${FOLDER}/app.pfx" }, passphrase: { env: PASSPHRASE }, scope: s } }
  federated: { workload_identity: { client_id: "${GATEWAY_APP}", token_file: "${FOLDER}/federated" } }
  machine: { managed_identity: {} }
  fixed: { bearer: { token: { env: FIXED } } }
  kept: { client_secret: { token_url: "${STUB}/denied", client_id: x, secret: { key_vault: "${AUTHORITY}/secrets/secret", credential: flows }, scope: s } }
  sealed: { client_certificate: { token_url: "${STUB}/denied", client_id: x, certificate: { key_vault: "${AUTHORITY}/secrets/certificate", credential: flows }, scope: s } }
flows:
  rolled: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: rolled }
  account: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: account }
  certified: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: certified }
  federated: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: federated }
  machine: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: machine }
  fixed: { url: { env: REPORT_URL }, who_can_trigger: [erp], kind: other, credential: fixed }
  kept: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: kept }
  sealed: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: sealed }
  order-created: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp, shared, billing, partner, strange, vaulted] }
  typed: { url: { env: REPORT_URL }, who_can_trigger: [erp], content_types: [application/json] }
  others: { url: { env: REPORT_URL }, who_can_trigger: [partner] }
  slow: { url: { env: REPORT_URL }, who_can_trigger: [erp], timeout: 100ms }
  legacy: { url: { env: LEGACY_URL }, who_can_trigger: [erp], credential: none }
  open: { url: { env: LEGACY_URL }, who_can_trigger: anyone, credential: none }
  below: { url: { env: BELOW_URL }, who_can_trigger: [erp], credential: none, subpaths: true, query: [top] }
  other: { url: { env: ORDER_CREATED_URL }, kind: other, who_can_trigger: [erp] }
  gone: { url: "http://127.0.0.1:1/workflows/x/triggers/manual/paths/invoke?api-version=1", who_can_trigger: [erp] }
  far: { url: "https://flow.invalid/workflows/x/triggers/manual/paths/invoke?api-version=1", allow_host: true, who_can_trigger: [erp] }
  lent: { url: { env: ORDER_CREATED_URL }, kind: other, who_can_trigger: [users], credential: lent, body_limit: 128KiB }
  denied: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: denied }
  html: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: html }
  text: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: text }
  odd: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: odd }
  redirect: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: redirect }
  vaulted: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: vaulted }
  worn: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: worn }
  never: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: never }
  homeless: { url: { env: REPORT_URL }, who_can_trigger: [erp], credential: homeless }
"#;

/// A provider that answers everything with canaries.
async fn provider() -> Stub {
    Stub::serving(|mut peer, _| async move {
        while let Some(asked) = peer.request().await {
            let path = asked.head.split(' ').nth(1).unwrap();
            let (status, kind, body) = match path.split('/').nth(1).unwrap() {
                "denied" => (
                    "401 Unauthorized",
                    "application/json",
                    format!(r#"{{"error":"{PROVIDER} {PROVIDER}","error_description":"{PROVIDER}","error_codes":["{PROVIDER}"],"trace_id":"{PROVIDER} x","error_uri":"{PROVIDER}"}}"#),
                ),
                "worn" => (
                    "400 Bad Request",
                    "application/json",
                    format!(r#"{{"error":"invalid_grant","error_description":"{PROVIDER} {REFRESH}","error_codes":[700082],"trace_id":"{REFRESH} x"}}"#),
                ),
                "html" => ("503 Service Unavailable", "text/html", format!("<html>{PROVIDER}</html>")),
                "text" => ("200 OK", "text/plain", PROVIDER.to_owned()),
                "odd" => (
                    "200 OK",
                    "application/json",
                    format!(r#"{{"token_type":"{PROVIDER}","access_token":"{PROVIDER}","expires_in":"{PROVIDER}"}}"#),
                ),
                _ => ("302 Found", "text/plain", PROVIDER.to_owned()),
            };
            let length = body.len();
            peer.write(format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Odd: {PROVIDER}\r\nWWW-Authenticate: Bearer {PROVIDER}\r\n\
                 Location: http://127.0.0.1:1/{PROVIDER}\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        }
    })
    .await
}

/// A house full of canaries, and every answer its callers got.
struct Scene {
    house: House,
    canaries: Canaries,
    answers: Vec<Answer>,
    codes: BTreeSet<String>,
    /// While it is set, the dice panic.
    dice_panic: Arc<AtomicBool>,
    provider: Stub,
    /// Where refresh tokens and certificates are kept.
    _shop: Workshop,
}

impl Scene {
    async fn set() -> Self {
        let provider = provider().await;
        let simulator = House::simulator().await;
        let mut below = Flow::new("below", Mode::Anyone);
        below.relative_path = true;
        simulator.add_flow(below);
        simulator.set_app(DEMO_TENANT, API_APP, |app| {
            app.secrets = vec![ClientSecret::new(LENT_SECRET)];
        });
        let dice_panic = Arc::new(AtomicBool::new(false));
        let random = dice(&dice_panic);
        let stub = format!("http://{}", provider.address);
        let proxy = format!("http://somebody:{PROXY}@127.0.0.1:1");
        let shop = Workshop::open();
        let folder = shop.path("");
        worn_out(&folder, &format!("{stub}/worn"));
        shop.certificate("app", RSA);
        shop.run(&format!(
            "pkcs12 -export -inkey app.key -in app.crt -passout pass:{PASSPHRASE} -out app.pfx"
        ));
        std::fs::write(shop.path("federated"), FEDERATED).unwrap();
        let read = |name| std::fs::read_to_string(shop.path(name)).unwrap();
        let key = read("app.key");
        simulator.put_secret("secret", SecretVersion::new(VAULT_SECRET));
        simulator.put_secret("key", SecretVersion::new(VAULT_KEY));
        let text = key.clone() + &read("app.crt");
        simulator.put_secret("certificate", SecretVersion::pem(&text));
        let machine = format!("{stub}/odd");
        let more = [
            ("FOLDER", folder.to_str().unwrap()),
            ("NEXT_SECRET", NEXT_SECRET),
            ("ACCOUNT", ACCOUNT),
            ("PASSPHRASE", PASSPHRASE),
            ("FIXED", FIXED),
            ("IDENTITY_ENDPOINT", &machine),
            ("IDENTITY_HEADER", IDENTITY),
            ("STORE_KEY", STORE_KEY),
            ("KEY", KEY),
            ("BEARER_KEY", BEARER_KEY),
            ("SECRET", SECRET),
            ("LENT_SECRET", LENT_SECRET),
            ("STUB", &stub),
            ("PROXY", &proxy),
        ];
        let mut canaries = canaries(&simulator);
        for line in key.lines().filter(|line| !line.starts_with('-')) {
            canaries.watch("a private key", line);
        }
        let house = House::with(simulator, YAML, &more, Clock::system(), random).await;
        Self {
            house,
            canaries,
            answers: Vec::new(),
            codes: BTreeSet::new(),
            dice_panic,
            provider,
            _shop: shop,
        }
    }

    /// A call with canaries in every place a caller can put one; the answer has this code (empty: it is the flow's own).
    async fn call(&mut self, code: &str, line: &str, more: &str) {
        let body = format!(r#"{{"text":"{BODY}"}}"#);
        let request = format!(
            "{line} HTTP/1.1\r\nHost: gateway\r\nX-Odd: {HEADER}\r\nCookie: {HEADER}\r\nUser-Agent: {HEADER}\r\nReferer: http://{HEADER}/\r\n\
             X-Request-Id: {HEADER} {HEADER}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(code, request).await;
    }

    async fn raw(&mut self, code: &str, request: impl AsRef<[u8]>) {
        let answer = raw(self.house.address, request).await;
        assert_eq!(answer.code(), code, "{answer:?}");
        self.note(answer);
    }

    /// The same by a caller that is known.
    async fn known(&mut self, code: &str, line: &str) {
        self.call(code, line, &format!("X-Api-Key: {KEY}\r\n"))
            .await;
    }

    /// A call after which the flow answers like this, once.
    async fn answered(&mut self, code: &str, flow: &str, fault: Fault) {
        self.house
            .simulator
            .fault(FaultPoint::Flow(flow.into()), fault, Times::Always);
        let line = if flow == "order-created" {
            "POST /order-created"
        } else {
            "POST /slow"
        };
        self.known(code, line).await;
        self.house.simulator.clear_faults();
    }

    fn note(&mut self, answer: Answer) {
        self.codes.insert(answer.code());
        self.answers.push(answer);
    }

    /// Everything that can be read of the gateway from outside, by place.
    async fn said(&self, diagnostics: &Diagnostics) -> Vec<(String, String)> {
        let mut said = vec![("diagnostics".to_owned(), diagnostics.text())];
        let lines = self.house.access_lines(self.answers.len()).await;
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        said.push(("the access log".to_owned(), lines));
        for path in ["/metrics", "/status", "/readyz", "/livez", "/", "/nowhere"] {
            let page = self.house.page(path).await;
            let text = format!(
                "{:?}\n{}",
                page.headers,
                String::from_utf8_lossy(&page.body)
            );
            said.push((path.to_owned(), text));
        }
        for answer in self
            .answers
            .iter()
            .filter(|answer| !answer.code().is_empty())
        {
            let text = format!(
                "{:?}\n{}",
                answer.headers,
                String::from_utf8_lossy(&answer.body)
            );
            said.push((format!("the problem {}", answer.code()), text));
        }
        said
    }
}

/// A store with a token that the provider does not take any more.
fn worn_out(folder: &std::path::Path, token_url: &str) {
    let key = Key::parse(&Secret::new(STORE_KEY.to_owned())).unwrap();
    let owner = Owner {
        credential: "worn",
        token_url,
        client_id: "x",
        scope: "s",
    };
    let seal = Seal::new(&key, &owner).unwrap();
    let record = Record {
        sequence: 1,
        newest: Secret::new(REFRESH.to_owned()),
        before: Some(Secret::new(REFRESH.to_owned())),
        account: None,
        signed_in: 1,
        last_used: 1,
    };
    let locked = Store::new(&folder.join("worn")).lock().unwrap().unwrap();
    locked.pending().unwrap().write(&record, &seal).unwrap();
}

fn dice(panic: &Arc<AtomicBool>) -> Random {
    let (panic, system) = (Arc::clone(panic), Random::system());
    Random::from_fn(move |bytes| {
        assert!(!panic.load(Ordering::Relaxed), "{PANIC}");
        for byte in bytes {
            *byte = system.bytes::<1>()[0];
        }
    })
}

fn canaries(simulator: &Simulator) -> Canaries {
    let mut canaries = Canaries::default();
    let secret = simulator.client_secret(simulator::directory::GATEWAY_APP);
    for (what, text) in [
        ("an API key", KEY),
        ("a bearer key", BEARER_KEY),
        ("a client secret", SECRET),
        ("the client secret", &secret),
        ("the secret of whoever exchanges", LENT_SECRET),
        ("a provider's text", PROVIDER),
        ("a request's body", BODY),
        ("a query", QUERY),
        ("a path", PATH),
        ("a header", HEADER),
        ("an answer's body", ANSWER),
        ("a panic's message", PANIC),
        ("the proxy's password", PROXY),
        ("a refresh token", REFRESH),
        ("a store's key", STORE_KEY),
    ] {
        canaries.watch(what, text);
    }
    for flow in simulator.flows() {
        canaries.watch("a workflow's id", &flow.id);
        canaries.watch("a signature", &flow.sig);
    }
    canaries
}

/// Sets the gateway's panic hook for this thread only: a test beside it that fails should still say why.
fn panics_as_the_gateway_does() {
    let before = std::panic::take_hook();
    let mine = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let quoted = panic
            .payload_as_str()
            .is_some_and(|text| text.contains(PANIC));
        if quoted && std::thread::current().id() == mine {
            telemetry::panicked(panic);
        } else {
            before(panic);
        }
    }));
}

#[tokio::test]
async fn no_refusal_no_caller_no_credential_and_no_panic_prints_a_canary() {
    let diagnostics = Diagnostics::capture(Level::TRACE);
    panics_as_the_gateway_does();
    let mut scene = Scene::set().await;
    strangers(&mut scene).await;
    callers(&mut scene).await;
    requests(&mut scene).await;
    flows(&mut scene).await;
    providers(&mut scene).await;
    lent(&mut scene).await;
    limits(&mut scene).await;

    let codes: BTreeSet<String> = Code::ALL
        .iter()
        .map(|code| code.as_str().to_owned())
        .collect();
    let missed: Vec<_> = codes.difference(&scene.codes).collect();
    assert!(
        missed.is_empty(),
        "refusals that were not tried: {missed:?}"
    );
    // What the gateway sent and was sent counts too.
    for seen in scene.house.simulator.received() {
        if let Some(token) = seen
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
        {
            scene.canaries.watch("a token", token);
            scene
                .canaries
                .watch("a token's signature", token.rsplit('.').next().unwrap());
        }
    }
    let said = scene.said(&diagnostics).await;
    assert!(said[0].1.contains("\"level\":\"TRACE\"") || said[0].1.contains("\"level\":\"DEBUG\""));
    assert!(said[0].1.contains("a task panicked"));
    for (place, text) in said {
        scene.canaries.absent_from(&place, &text);
    }
}

/// Credentials that prove nobody.
async fn strangers(scene: &mut Scene) {
    let house = &scene.house;
    let token = house.token(|spec| spec);
    let hostile = [
        house.token(|spec| spec.lifetime(-900)),
        // Claims are shown at `debug` only of what the issuer has signed.
        house.token(|spec| spec.audience("somebody-else")),
        house.token(|spec| spec.audience(HEADER).signed_by(Signer::Foreign)),
        house.token(|spec| spec.without("exp")),
        house.token(|spec| spec.claim("iss", format!("https://{PROVIDER}/"))),
        house.token(|spec| spec.header("kid", format!("{PROVIDER}-kid"))),
        house.token(|spec| spec.header("crit", PROVIDER)),
        house.token(|spec| spec.header("alg", PROVIDER)),
        house.token(|spec| spec.signed_by(Signer::Foreign)),
        house.token(|spec| spec.signed_by(Signer::Nobody)),
        house.token(|spec| spec.raw_payload(format!("{{{PROVIDER}"))),
        format!("{token}x"),
        token.replacen('.', "..", 1),
        format!("{PROVIDER}.{PROVIDER}.{PROVIDER}"),
        "y".repeat(17 * 1024),
    ];
    for token in hostile {
        scene.canaries.watch("a refused token", &token);
        let signature = token.rsplit('.').next().unwrap();
        if signature.len() > 20 {
            scene
                .canaries
                .watch("a refused token's signature", signature);
        }
        scene
            .call(
                "unauthenticated",
                "POST /order-created",
                &format!("Authorization: Bearer {token}\r\n"),
            )
            .await;
    }
    for line in [
        format!("X-Api-Key: {HEADER}\r\n"),
        format!("X-Api-Key: {KEY}{HEADER}\r\n"),
        format!("Authorization: Bearer {BEARER_KEY}x\r\n"),
        format!("Authorization: Basic {HEADER}\r\n"),
        String::new(),
    ] {
        scene
            .call("unauthenticated", "POST /order-created", &line)
            .await;
    }
    let pair = format!("X-Api-Key: {KEY}\r\nAuthorization: Bearer {BEARER_KEY}\r\n");
    scene
        .call("ambiguous_credentials", "POST /order-created", &pair)
        .await;
    let strange = scene
        .house
        .token(|spec| spec.claim("iss", format!("http://{}/html", scene.provider.address)));
    scene
        .canaries
        .watch("a token of an issuer without keys", &strange);
    scene
        .call(
            "key_set_unavailable",
            "POST /order-created",
            &format!("Authorization: Bearer {strange}\r\n"),
        )
        .await;
}

/// Every kind of caller, served.
async fn callers(scene: &mut Scene) {
    let partner = scene.house.token(|spec| {
        spec.tenant(simulator::directory::PARTNER_TENANT)
            .client(simulator::directory::PARTNER_APP)
    });
    let billing = scene.house.token(|spec| spec);
    for token in [&partner, &billing] {
        scene.canaries.watch("a caller's token", token);
    }
    for proof in [
        format!("X-Api-Key: {KEY}\r\n"),
        format!("Authorization: Bearer {BEARER_KEY}\r\n"),
        format!("Authorization: Bearer {partner}\r\n"),
        format!("Authorization: Bearer {billing}\r\n"),
        format!("Authorization: Bearer {billing}\r\n"),
    ] {
        scene.call("", "POST /order-created", &proof).await;
    }
    scene.known("", "POST /legacy").await;
    scene.call("", "POST /open", "").await;
    scene
        .known("", &format!("POST /below/{PATH}?top={QUERY}"))
        .await;
}

/// A user's own token, exchanged or not.
async fn lent(scene: &mut Scene) {
    for (number, (state, code)) in [
        (UserState::Active, ""),
        (UserState::MfaRequired, "insufficient_claims"),
        (UserState::ConsentRequired, "consent_required"),
    ]
    .into_iter()
    .enumerate()
    {
        let simulator = &scene.house.simulator;
        simulator.set_user(DEMO_TENANT, DEMO_USER, |user| user.state = state);
        let token = simulator.issue(&TokenSpec::user().claim("jti", number));
        let signature = token.rsplit('.').next().unwrap();
        scene.canaries.watch("an assertion", &token);
        scene.canaries.watch("an assertion's signature", signature);
        let line = format!("Authorization: Bearer {token}\r\n");
        scene.call(code, "POST /lent", &line).await;
    }
    let application = scene.house.token(|spec| spec.claim("jti", 9));
    let line = format!("Authorization: Bearer {application}\r\n");
    scene.call("user_token_required", "POST /lent", &line).await;
    let simulator = &scene.house.simulator;
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.state = UserState::Active;
    });
    // Refused with a body that was not kept.
    let token = simulator.issue(&TokenSpec::user().claim("jti", 10));
    simulator.fault(
        FaultPoint::Flow("order-created".into()),
        challenge(),
        Times::Once,
    );
    scene.canaries.watch("an assertion", &token);
    let body = BODY.repeat(64 * 1024 / BODY.len() + 1);
    let request = format!(
        "POST /lent HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    scene.raw("token_renewed", request).await;
}

/// A standard no to a token.
fn challenge() -> Fault {
    Fault::Status {
        status: 401,
        headers: vec![(
            "www-authenticate".into(),
            format!("Bearer error=\"invalid_token\", error_description=\"{ANSWER}\""),
        )],
        body: Bytes::from_static(ANSWER.as_bytes()),
    }
}

/// What is wrong with a request.
async fn requests(scene: &mut Scene) {
    let key = format!("X-Api-Key: {KEY}\r\n");
    scene
        .raw(
            "malformed_request",
            format!("POST /{PATH} HTTP/1.1\r\n{key}Content-Length: 0\r\n\r\n"),
        )
        .await;
    scene
        .known("forbidden_path", &format!("POST /below/{PATH}/.."))
        .await;
    scene
        .known(
            "forbidden_query",
            &format!("POST /order-created?{QUERY}={QUERY}"),
        )
        .await;
    scene
        .known("forbidden_query", &format!("POST /below?sig={QUERY}"))
        .await;
    scene
        .call(
            "upgrade_not_supported",
            "GET /order-created",
            &format!("{key}Upgrade: {HEADER}\r\nConnection: upgrade\r\n"),
        )
        .await;
    scene.known("not_allowed", "POST /others").await;
    scene
        .call(
            "cross_site_browser",
            "POST /open",
            &format!("Origin: https://{HEADER}\r\n"),
        )
        .await;
    scene
        .known("no_such_flow", &format!("POST /{PATH}?{QUERY}"))
        .await;
    scene
        .known("method_not_allowed", "CANARYMETHOD /order-created")
        .await;
    scene
        .call(
            "content_type_not_accepted",
            "POST /typed",
            &format!("{key}Content-Type: {HEADER}/x\r\n"),
        )
        .await;
    scene
        .known("target_too_long", &format!("POST /{}", PATH.repeat(900)))
        .await;
    scene
        .raw(
            "body_too_large",
            format!(
                "POST /order-created HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 2000\r\n\r\n{}",
                BODY.repeat(100)
            ),
        )
        .await;
    scene.raw("body_too_large", format!("POST /order-created HTTP/1.1\r\nHost: a\r\n{key}Transfer-Encoding: chunked\r\n\r\n7d0\r\n{}", "x".repeat(2000))).await;
    scene
        .raw(
            "request_too_slow",
            format!(
                "POST /order-created HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 100\r\n\r\n{BODY}"
            ),
        )
        .await;
}

/// What a flow may answer.
async fn flows(scene: &mut Scene) {
    let error = |status, code: &str| Fault::Error {
        status,
        code: code.into(),
        message: format!("{ANSWER} {ANSWER}"),
        run: false,
    };
    let raw = |text: String| Fault::Raw(Bytes::from(text));
    for (code, fault) in [
        ("flow_body_invalid", error(400, "InvalidRequestContent")),
        (
            "flow_schema_mismatch",
            error(400, "TriggerInputSchemaMismatch"),
        ),
        ("flow_throttled", error(429, "RequestsThrottled")),
        (
            "flow_rejected_gateway",
            error(403, "MisMatchingOAuthClaims"),
        ),
        (
            "flow_rejected_gateway",
            error(401, "DirectApiInvalidAuthorizationScheme"),
        ),
        ("flow_not_found", error(404, "WorkflowNotFound")),
        ("flow_disabled", error(400, "WorkflowTriggerIsNotEnabled")),
        ("flow_no_response", error(502, "NoResponse")),
        (
            "flow_redirected",
            Fault::Redirect(format!("http://127.0.0.1:1/{ANSWER}")),
        ),
        ("flow_answer_invalid", raw(format!("{ANSWER}\r\n\r\n"))),
        (
            "flow_answer_invalid",
            raw(format!("HTTP/1.1 200 OK\r\n{ANSWER}\r\n\r\n")),
        ),
        (
            "flow_answer_invalid",
            raw(format!(
                "HTTP/1.1 500 {ANSWER}\r\nContent-Length: 100\r\n\r\n{ANSWER}"
            )),
        ),
        (
            "",
            Fault::Leak {
                status: 404,
                code: None,
                run: false,
            },
        ),
    ] {
        scene.answered(code, "order-created", fault).await;
    }
    scene.answered("flow_timeout", "report", Fault::Hang).await;
    scene.known("flow_unreachable", "POST /gone").await;
    scene.known("flow_unreachable", "POST /far").await;
    scene.house.simulator.fault(
        FaultPoint::Flow("order-created".into()),
        challenge(),
        Times::Always,
    );
    scene
        .known("upstream_rejected_credential", "POST /other")
        .await;
    scene.house.simulator.clear_faults();
    scene.dice_panic.store(true, Ordering::Relaxed);
    let key = format!("X-Api-Key: {KEY}\r\nX-Request-Id: chosen-by-the-caller\r\n");
    scene
        .raw(
            "internal_error",
            format!("POST /order-created HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 0\r\n\r\n"),
        )
        .await;
    scene.dice_panic.store(false, Ordering::Relaxed);
}

/// What a token endpoint may answer.
async fn providers(scene: &mut Scene) {
    for flow in [
        "denied",
        "rolled",
        "account",
        "certified",
        "federated",
        "kept",
        "sealed",
    ] {
        scene
            .known("credential_rejected", &format!("POST /{flow}"))
            .await;
    }
    scene.known("token_unavailable", "POST /machine").await;
    scene
        .known("upstream_rejected_credential", "POST /fixed")
        .await;
    // All of that with the vault's own reader, whose reads succeeded.
    let read = scene.house.simulator.requests_to(Service::KeyVault);
    let with = |seen: &&Received| seen.header("authorization").is_some();
    assert_eq!(read.iter().filter(with).count(), 3);
    let key = format!("X-Api-Key: {VAULT_KEY}\r\n");
    scene.call("", "POST /order-created", &key).await;
    scene.known("sign_in_required", "POST /worn").await;
    scene.known("sign_in_required", "POST /never").await;
    scene
        .known("credential_unavailable", "POST /homeless")
        .await;
    for flow in ["html", "text", "odd", "redirect"] {
        scene
            .known("token_unavailable", &format!("POST /{flow}"))
            .await;
    }
    scene.known("credential_unavailable", "POST /vaulted").await;
}

/// No place left, and the end.
async fn limits(scene: &mut Scene) {
    let gate = Gate::closed();
    scene.house.simulator.fault(
        FaultPoint::Flow("order-created".into()),
        Fault::Held(gate.clone()),
        Times::Once,
    );
    let mut held = Line::open(scene.house.address).await;
    let before = scene.house.simulator.received().len();
    held.write(format!(
        "POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    scene
        .house
        .simulator
        .until(|simulator| simulator.received().len() > before)
        .await;
    scene.known("overloaded", "POST /order-created").await;
    // While it is held the drain lasts, and newcomers are refused.
    scene.house.begin_drain();
    scene.known("draining", "POST /order-created").await;
    gate.open();
    let answer = held.answer().await.unwrap();
    scene.note(answer);
}

#[tokio::test]
async fn printing_a_value_that_holds_a_secret_prints_none() {
    let house = House::standard().await;
    let mut canaries = canaries(&house.simulator);
    let token = house.token(|spec| spec);
    canaries.watch("a token", &token);
    let authorization = http::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let printed = [
        format!("{:?}", flowgate::secret::Secret::new(SECRET)),
        format!(
            "{:?}",
            flowgate::credential::Token {
                authorization,
                generation: 1,
                expires: Some(2),
                claims: None
            }
        ),
        format!("{:?}", call(&token)),
        format!("{:?}", flowgate::call::RequestLog::default()),
        format!("{:?}", house.simulator.received()),
        format!("{:?}", house.simulator.token_requests()),
        format!("{:?}", house.ambient),
    ];
    for text in printed {
        canaries.absent_from("Debug", &text);
    }
}

fn call(token: &str) -> Box<flowgate::call::Call> {
    let request = Request::post(format!("/{PATH}?{QUERY}"))
        .header("authorization", format!("Bearer {token}"))
        .header("x-api-key", KEY)
        .body(flowgate::body::Body::full(BODY))
        .unwrap();
    let id = flowgate::call::RequestId::fresh(&Random::system());
    flowgate::call::Call::new(request, id, flowgate::call::RequestLog::default())
}
