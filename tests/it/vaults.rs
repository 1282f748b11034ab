//! Key Vault through the whole gateway: the simulator's vault read over our transport, by credentials of the configuration.

use std::sync::Arc;

use flowgate::clock::Clock;
use http::{Request, StatusCode};
use simulator::directory::{
    CALLER_APP, DEMO_TENANT, DEMO_USER, GATEWAY_APP, GATEWAY_OBJECT, PARTNER_TENANT, PUBLIC_APP,
};
use simulator::flow::FLOW_AUDIENCE;
use simulator::vault::{Access, SecretVersion};
use simulator::{
    Certificate, ClientSecret, Fault, FaultPoint, ManagedIdentity, Options, Service, Simulator,
    Times, TokenSpec,
};
use tracing::Level;

use crate::canaries::Canaries;
use crate::certificates::{RSA, Workshop};
use crate::diagnostics::Diagnostics;
use crate::house::{Answer, House, KEY};

/// Everything a vault may hold, read by `reader`.
const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
secrets: { key_vault: { credential: reader, refresh: 12h } }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
  plain: { api_key: { plain: { key_vault: "${VAULT}/secrets/api-key" } } }
  hashed: { api_key: { sha256: { key_vault: "${VAULT}/secrets/api-digest" } } }
credentials:
  reader: { READER }
  secret: { client_secret: { client_id: "${GATEWAY_APP}", secret: { key_vault: "${VAULT}/secrets/app-secret" } } }
  password:
    password: { client_id: "${PUBLIC_APP}", username: user@flowgate.example, password: { key_vault: "${VAULT}/secrets/password" } }
  pkcs12: { client_certificate: { client_id: "${GATEWAY_APP}", certificate: { key_vault: "${VAULT}/secrets/pkcs12" } } }
  pem: { client_certificate: { client_id: "${GATEWAY_APP}", certificate: { key_vault: "${VAULT}/secrets/pem" }, send_chain: true } }
  fixed: { bearer: { token: { key_vault: "${VAULT}/secrets/token" } } }
flows:
  secret: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp, plain, hashed], credential: secret }
  password: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: password }
  pkcs12: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: pkcs12 }
  pem: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: pem }
  fixed: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: fixed }
  free: { url: { env: LEGACY_URL }, who_can_trigger: [erp, plain, hashed], credential: none }
"#;

const VAULTED: [&str; 5] = ["secret", "password", "pkcs12", "pem", "fixed"];

const MACHINE: &str = "managed_identity: {}";
const APPLICATION: &str =
    r#"client_secret: { client_id: "${CALLER_APP}", secret: { env: READER_SECRET } }"#;

const PLAIN_KEY: &str = "vault-api-key-of-16-bytes+";
const HASHED_KEY: &str = "another-api-key-of-16-bytes";

/// What the vault holds at first; odd characters have to arrive.
const SECRET: &str = "first~app+secret/&%=ü";
const PASSWORD: &str = "first pass+word/&%=ö";

/// The simulator with a full vault, and where certificates are made.
struct Bank {
    shop: Workshop,
    simulator: Simulator,
    clock: Clock,
}

impl Bank {
    async fn open() -> Self {
        Self::at(Clock::system()).await
    }

    async fn at(clock: Clock) -> Self {
        let time = clock.clone();
        let options = Options {
            clock: Arc::new(move || time.unix()),
            ..Options::default()
        };
        let bank = Self {
            shop: Workshop::open(),
            simulator: Simulator::start(options).await.unwrap(),
            clock,
        };
        let simulator = &bank.simulator;
        bank.put("api-key", PLAIN_KEY);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, HASHED_KEY.as_bytes());
        let digest: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        bank.put("api-digest", &digest);
        bank.change_secret(SECRET);
        bank.change_password(PASSWORD);
        simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| app.certificates.clear());
        let pkcs12 = bank.certificate("one");
        simulator.put_secret("pkcs12", SecretVersion::pkcs12(&pkcs12));
        bank.certificate("two");
        bank.put_pem("two");
        bank.put("token", &bank.fixed_token(3000));
        bank
    }

    fn put(&self, name: &str, value: &str) {
        self.simulator.put_secret(name, SecretVersion::new(value));
    }

    /// At Entra ID and in the vault; the old one is good no longer.
    fn change_secret(&self, secret: &str) {
        self.put("app-secret", secret);
        self.simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
            app.secrets = vec![ClientSecret::new(secret)];
        });
    }

    fn change_password(&self, password: &str) {
        self.put("password", password);
        let change = |user: &mut simulator::User| user.password = password.into();
        self.simulator.set_user(DEMO_TENANT, DEMO_USER, change);
    }

    /// A new certificate, registered beside the others; its PKCS#12 file has no password, as a vault's has none.
    fn certificate(&self, name: &str) -> Vec<u8> {
        self.shop.certificate(name, RSA);
        let export = "pkcs12 -export -passout pass:";
        self.shop.run(&format!(
            "{export} -inkey {name}.key -in {name}.crt -out {name}.p12"
        ));
        let registered: Certificate = self.shop.registered(name);
        self.simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
            app.certificates.push(registered);
        });
        std::fs::read(self.shop.path(&format!("{name}.p12"))).unwrap()
    }

    fn put_pem(&self, name: &str) {
        let part = |end: &str| std::fs::read_to_string(self.shop.path(&format!("{name}.{end}")));
        let text = part("key").unwrap() + &part("crt").unwrap();
        self.simulator.put_secret("pem", SecretVersion::pem(&text));
    }

    /// A token the flow takes, made elsewhere.
    fn fixed_token(&self, life: i64) -> String {
        let spec = TokenSpec::app()
            .v1()
            .client(GATEWAY_APP)
            .object(GATEWAY_OBJECT);
        self.simulator
            .issue(&spec.audience(FLOW_AUDIENCE).lifetime(life))
    }

    async fn house(&self, reader: &str) -> House {
        let simulator = self.simulator.clone();
        let (origin, vault) = (simulator.origin(), simulator.vault_url());
        let secret = simulator.client_secret(CALLER_APP);
        let more = [
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", origin.as_str()),
            ("VAULT", &vault),
            ("READER_SECRET", &secret),
            ("PUBLIC_APP", PUBLIC_APP),
        ];
        let yaml = YAML.replace("READER }", &format!("{reader} }}"));
        House::at(simulator, &yaml, &more, self.clock.clone()).await
    }
}

async fn call(house: &House, flow: &str, key: &str) -> Answer {
    let request = Request::post(format!("/{flow}")).header("x-api-key", key);
    house.send(request.body("{}").unwrap()).await
}

async fn all_work(house: &House, what: &str) {
    for flow in VAULTED {
        let answer = call(house, flow, KEY).await;
        assert_eq!(answer.status, StatusCode::OK, "{what} {flow}: {answer:?}");
    }
    for key in [PLAIN_KEY, HASHED_KEY] {
        let answer = call(house, "free", key).await;
        assert_eq!(answer.status, StatusCode::OK, "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn whatever_a_vault_holds_works_whoever_reads_it() {
    for reader in [MACHINE, APPLICATION] {
        let bank = Bank::open().await;
        let house = bank.house(reader).await;
        all_work(&house, reader).await;
        let simulator = &house.simulator;
        let read: Vec<_> = simulator.requests_to(Service::KeyVault);
        // Each of the seven once without a token, to learn the audience, and once with the reader's.
        assert_eq!(read.len(), 14, "{reader}");
        let with = |seen: &&simulator::Received| seen.header("authorization").is_some();
        assert_eq!(read.iter().filter(with).count(), 7, "{reader}");
        let machine = simulator.requests_to(Service::Imds).len();
        assert_eq!(machine, usize::from(reader == MACHINE));
        let requests = simulator.token_requests();
        let of = |field: &str, value: &str| {
            let same = requests
                .iter()
                .filter(|one| one.field(field) == Some(value));
            same.count()
        };
        assert_eq!(of("client_id", CALLER_APP), usize::from(reader != MACHINE));
        assert_eq!(of("client_secret", SECRET), 1, "{reader}: it came intact");
        assert_eq!(of("password", PASSWORD), 1, "{reader}: it came intact");
        let asserted = requests
            .iter()
            .filter_map(|one| one.field("client_assertion"));
        assert_eq!(asserted.count(), 2, "{reader}");
    }
}

#[tokio::test]
async fn a_vault_that_is_down_at_the_start_costs_its_own_flows_alone_until_it_is_back() {
    let bank = Bank::at(now()).await;
    let vault = || FaultPoint::At(Service::KeyVault);
    bank.simulator
        .fault(vault(), Fault::Unavailable, Times::Always);
    let house = bank.house(MACHINE).await;
    for flow in VAULTED {
        let answer = call(&house, flow, KEY).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{flow}");
        assert_eq!(answer.code(), "credential_unavailable", "{flow}");
    }
    let stranger = call(&house, "free", PLAIN_KEY).await;
    assert_eq!(stranger.code(), "credential_unavailable");
    assert_eq!(call(&house, "free", KEY).await.status, StatusCode::OK);
    assert_eq!(house.page("/readyz").await.status, StatusCode::OK);
    house.simulator.clear_faults();
    for _ in 0..60 {
        // No call, no reload, nothing but time.
        bank.clock.advance(std::time::Duration::from_secs(2));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    all_work(&house, "after the outage").await;
}

#[tokio::test]
async fn what_was_rolled_over_at_the_provider_and_in_the_vault_is_read_again_the_moment_it_is_refused()
 {
    let bank = Bank::at(now()).await;
    let house = bank.house(MACHINE).await;
    all_work(&house, "at first").await;
    house.simulator.clear_records();
    bank.change_secret("second~app+secret/&%=");
    bank.change_password("second pass+word");
    house
        .simulator
        .set_app(DEMO_TENANT, GATEWAY_APP, |app| app.certificates.clear());
    let pkcs12 = bank.certificate("three");
    house
        .simulator
        .put_secret("pkcs12", SecretVersion::pkcs12(&pkcs12));
    bank.certificate("four");
    bank.put_pem("four");
    // The vault is read on schedule every twelve hours: what comes now is for the refusals alone.
    bank.clock.advance(std::time::Duration::from_hours(1));
    bank.put("token", &bank.fixed_token(3000));
    all_work(&house, "after the roll-over").await;
    let requests = house.simulator.token_requests();
    let of = |field: &str, value: &str| {
        let same = requests
            .iter()
            .filter(|one| one.field(field) == Some(value));
        same.count()
    };
    for (field, old, new) in [
        ("client_secret", SECRET, "second~app+secret/&%="),
        ("password", PASSWORD, "second pass+word"),
    ] {
        assert_eq!((of(field, old), of(field, new)), (1, 1), "{field}");
    }
    let asserted = requests
        .iter()
        .filter_map(|one| one.field("client_assertion"));
    assert_eq!(asserted.count(), 4, "each certificate once old, once new");
}

/// The word, and what brings it about.
type Case<'c> = (&'c str, &'c dyn Fn(&Simulator));

#[tokio::test]
async fn each_way_a_vault_refuses_is_reported_by_its_word_with_a_fix() {
    let documented = include_str!("../../docs/metrics.md");
    let fault = |simulator: &Simulator, fault| {
        simulator.fault(FaultPoint::At(Service::KeyVault), fault, Times::Always);
    };
    let disabled = |simulator: &Simulator| {
        simulator.set_secret("app-secret", |secret| secret.versions[0].enabled = false);
    };
    let deleted = |simulator: &Simulator| {
        simulator.set_secret("app-secret", |secret| secret.deleted = true);
    };
    let foreign = |simulator: &Simulator| {
        let mut identity = ManagedIdentity::system("77770000-0000-4000-8000-000000000009");
        identity.tenant = PARTNER_TENANT.into();
        simulator.set_identities(vec![identity]);
    };
    let redirect = Fault::Redirect("http://127.0.0.1:1/".into());
    let cases: [Case<'_>; 12] = [
        ("forbidden", &|s| s.vault_access(Access::Rbac(Vec::new()))),
        ("forbidden", &|s| s.vault_access(Access::Policy(Vec::new()))),
        ("firewall", &|s| s.vault_access(Access::Firewall)),
        ("disabled", &disabled),
        ("not_found", &deleted),
        ("unauthorized", &foreign),
        ("throttled", &|s| fault(s, Fault::vault_throttled())),
        ("vault_error", &|s| fault(s, Fault::Unavailable)),
        ("answer_invalid", &|s| {
            s.put_secret("app-secret", SecretVersion::new(" "));
        }),
        ("redirected", &|s| fault(s, redirect.clone())),
        ("too_large", &|s| fault(s, Fault::Padded(2 << 20))),
        ("token_unavailable", &|s| {
            s.fault(
                FaultPoint::At(Service::Imds),
                Fault::Unavailable,
                Times::Always,
            );
        }),
    ];
    for (word, prepare) in cases {
        let diagnostics = Diagnostics::capture(Level::INFO);
        let bank = Bank::open().await;
        prepare(&bank.simulator);
        let house = bank.house(MACHINE).await;
        let told = |line: &serde_json::Value| {
            line["reason"] == word
                && line["secret"].as_str().unwrap().ends_with("/app-secret")
                && line["credential"] == "reader"
        };
        let said = || diagnostics.lines("a secret cannot be read from the vault");
        let line = said().into_iter().find(told);
        let line = line.unwrap_or_else(|| panic!("{word}: {}", diagnostics.text()));
        assert!(line["cure"].is_string(), "{word}: {line}");
        assert!(documented.contains(&format!("`{word}`")), "{word}");
        let answer = call(&house, "secret", KEY).await;
        assert_eq!(answer.code(), "credential_unavailable", "{word}");
        let mut canaries = Canaries::default();
        canaries.watch("a secret", SECRET);
        canaries.watch("a password", PASSWORD);
        canaries.absent_from("diagnostics", &diagnostics.text());
    }
}

#[tokio::test]
async fn the_gauge_shows_when_a_secret_expires_by_the_vault() {
    let bank = Bank::open().await;
    let mut version = SecretVersion::new(SECRET);
    version.expires = Some(4_000_000_000);
    bank.simulator.put_secret("app-secret", version);
    let house = bank.house(MACHINE).await;
    all_work(&house, "with a date").await;
    let name = "flowgate_secret_expiry_timestamp_seconds";
    let shown = |credential| house.metric(name, &[("credential", credential)]);
    assert_eq!(shown("secret"), 4_000_000_000.0);
    assert_eq!(shown("password"), 0.0, "nobody knows");
    // The simulator's certificates have no `exp` in the vault: it is the certificates themselves that say it.
    let year = 366.0 * 86_400.0;
    let now = Clock::system().since_epoch().as_secs_f64();
    for certificate in ["pkcs12", "pem"] {
        let ends = shown(certificate);
        assert!((now..now + year).contains(&ends), "{certificate}: {ends}");
    }
    // A reload that changes nothing forgets nothing; one that leaves the credential out leaves no series behind.
    let yaml = YAML.replace("READER }", &format!("{MACHINE} }}"));
    house.reload(&yaml);
    assert_eq!(shown("secret"), 4_000_000_000.0);
    assert!(shown("pem") > now);
    let without = yaml.replace("credential: pem }", "credential: pkcs12 }");
    let lines = without
        .lines()
        .filter(|line| !line.starts_with("  pem: { client"));
    house.reload(&lines.collect::<Vec<_>>().join("\n"));
    // Whoever keeps its token ends a moment later.
    let gone = async {
        while shown("pem") != 0.0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let patience = std::time::Duration::from_secs(5);
    tokio::time::timeout(patience, gone).await.unwrap();
    assert!(shown("pkcs12") > now);
}

#[tokio::test]
async fn a_reload_that_renames_the_reader_and_one_that_needs_no_vault_interrupt_nobody() {
    let bank = Bank::open().await;
    let house = bank.house(MACHINE).await;
    all_work(&house, "at first").await;
    let yaml = YAML.replace("READER }", &format!("{MACHINE} }}"));
    let renamed = yaml
        .replace("credential: reader,", "credential: other,")
        .replace("  reader:", "  other:");
    house.reload(&renamed);
    house.app.tried().await;
    all_work(&house, "with another reader").await;
    let without = r#"
server: { listen: "127.0.0.1:8080" }
callers: { erp: { api_key: { plain: { env: ERP_KEY } } } }
flows: { free: { url: { env: LEGACY_URL }, who_can_trigger: [erp], credential: none } }
"#;
    house.reload(without);
    assert_eq!(call(&house, "free", KEY).await.status, StatusCode::OK);
    let before = house.simulator.requests_to(Service::KeyVault).len();
    let ready = String::from_utf8(house.page("/readyz").await.body.to_vec()).unwrap();
    assert!(!ready.contains("secret"), "{ready}");
    assert_eq!(
        house.simulator.requests_to(Service::KeyVault).len(),
        before,
        "nobody reads it any more"
    );
}

/// A clock that stays at this moment.
fn now() -> Clock {
    Clock::manual(Clock::system().unix())
}
