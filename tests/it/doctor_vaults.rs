//! `flowgate doctor` for what is kept in Key Vault, secrets of credentials and API keys of callers, and for what the gateway itself needs.
//!
//! One thing is wrong at a time; the report names it, whose it is, and what to change, and shows nothing of what was read.

use flowgate::clock::Clock;
use simulator::directory::{DEMO_TENANT, GATEWAY_APP, PARTNER_TENANT};
use simulator::vault::{Access, SecretVersion};
use simulator::{ClientSecret, Fault, FaultPoint, ManagedIdentity, Service, Simulator, Times};

use crate::canaries::Canaries;
use crate::certificates::{RSA, Workshop};
use crate::doctor::Said;
use crate::house::{self, House, KEY};
use crate::process::text;

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
secrets: { key_vault: { credential: reader } }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
  plain: { api_key: { keys: [{ plain: { key_vault: "${VAULT}/secrets/api-key" } }] } }
  hashed: { api_key: { sha256: { key_vault: "${VAULT}/secrets/api-digest" } } }
credentials:
  c: { client_secret: { client_id: "${GATEWAY_APP}", secret: { key_vault: "${VAULT}/secrets/app-secret" } } }
  reader: { managed_identity: {} }
flows:
  f: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp, plain], credential: c }
  free: { url: { env: LEGACY_URL }, who_can_trigger: [hashed], credential: none }
"#;

const SECRET: &str = "first~app+secret/&%=ü";
const PLAIN_KEY: &str = "vault-api-key-of-16-bytes+";

/// A simulator with a full vault, and what the configuration reads.
struct Bank {
    simulator: Simulator,
    variables: Vec<(String, String)>,
}

impl Bank {
    async fn open() -> Self {
        let simulator = House::simulator().await;
        let vault = simulator.vault_url();
        let origin = simulator.origin();
        let more = [
            ("VAULT", vault.as_str()),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &origin),
        ];
        let environment = house::environment(&simulator, &more);
        let names = [
            "TENANT",
            "AUTHORITY",
            "GATEWAY_APP",
            "ERP_KEY",
            "ORDER_CREATED_URL",
            "LEGACY_URL",
            "VAULT",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        ];
        let variables = names.map(|name| (name.to_owned(), environment.value(name).unwrap()));
        let bank = Self {
            simulator,
            variables: variables.into(),
        };
        bank.put("api-key", PLAIN_KEY);
        bank.put("api-digest", &"5f".repeat(32));
        bank.put("app-secret", SECRET);
        bank.simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
            app.secrets = vec![ClientSecret::new(SECRET)];
        });
        bank
    }

    fn put(&self, name: &str, value: &str) {
        self.simulator.put_secret(name, SecretVersion::new(value));
    }

    fn expiring(&self, name: &str, value: &str, days: i64) {
        let mut version = SecretVersion::new(value);
        let now = Clock::system().unix();
        version.expires = Some(now.saturating_add_signed(days * 86_400));
        self.simulator.put_secret(name, version);
    }

    fn down(&self, service: Service, fault: Fault) {
        self.simulator
            .fault(FaultPoint::At(service), fault, Times::Always);
    }

    #[track_caller]
    fn examined(&self, arguments: &[&str]) -> Said {
        self.of(YAML, arguments)
    }

    #[track_caller]
    fn of(&self, yaml: &str, arguments: &[&str]) -> Said {
        let mut canaries = Canaries::default();
        canaries.watch("the application's secret", SECRET);
        canaries.watch("an API key of the vault", PLAIN_KEY);
        canaries.watch("an API key", KEY);
        canaries.watch("a digest", &"5f".repeat(32));
        let url = self.simulator.flow_url("legacy");
        canaries.watch("a signature", url.split_once("sig=").unwrap().1);
        let said = Said::by(yaml, arguments, &self.variables, &canaries);
        let mut sent = Canaries::default();
        for service in [Service::KeyVault, Service::Imds] {
            for request in self.simulator.requests_to(service) {
                if let Some(token) = request.header("authorization") {
                    sent.watch("a token", token.trim_start_matches("Bearer "));
                }
            }
        }
        sent.absent_from("the report", &said.text);
        for flow in self.simulator.flows() {
            assert_eq!(self.simulator.runs(&flow.name), 0, "{}", said.text);
        }
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_holds_is_read_for_credentials_and_callers() {
    let bank = Bank::open().await;
    let said = bank.examined(&[]);
    assert_eq!(said.code, 0, "{}", said.text);
    let read = [
        "the secret 127.0.0.1/app-secret is read from Key Vault",
        "verdict: ok",
    ];
    said.has("credential c", &read);
    let reader = [
        "(for Key Vault)",
        "aud   https://vault.azure.net",
        "verdict: ok",
    ];
    said.has("credential reader", &reader);
    let key = [
        "(for f)",
        "the API key 127.0.0.1/api-key is read from Key Vault",
        "verdict: ok",
    ];
    said.has("caller plain", &key);
    said.has(
        "caller hashed",
        &["(for free)", "api-digest is read", "verdict: ok"],
    );
    // Nothing to say of it.
    assert!(!said.text.contains("caller erp"), "{}", said.text);

    // Of one flow, what it needs and no more; the reader for the key alone.
    let said = bank.examined(&["free"]);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has("caller hashed", &["verdict: ok"]);
    said.has("credential reader", &["verdict: ok"]);
    assert!(!said.text.contains("caller plain") && !said.text.contains("credential c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_by_the_vaults_date_is_a_warning() {
    let bank = Bank::open().await;
    bank.expiring("app-secret", SECRET, 10);
    bank.expiring("api-key", PLAIN_KEY, -1);
    bank.expiring("api-digest", &"5f".repeat(32), 100);
    let said = bank.examined(&[]);
    assert_eq!(said.code, 0, "{}", said.text);
    let soon = [
        "warning  the secret 127.0.0.1/app-secret",
        "it expires on 20",
        "make a new version",
    ];
    said.has("credential c", &soon);
    let ended = [
        "warning  the API key 127.0.0.1/api-key",
        "it has expired on 20",
    ];
    said.has("caller plain", &ended);
    assert!(
        !said.of("caller hashed").contains("expire"),
        "{}",
        said.text
    );

    let stated = |days: i64| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let date = format!(", expires: {}", now.strftime("%Y-%m-%d"));
        YAML.replace(
            "/secrets/api-key\" }",
            &format!("/secrets/api-key\" }}{date}"),
        )
    };
    let said = bank.of(&stated(10), &["f"]);
    let own = [
        "by `expires:` its last key counts until 20",
        "give it to the caller",
    ];
    said.has("caller plain", &own);
    let said = bank.of(&stated(-10), &["f"]);
    said.has(
        "caller plain",
        &[
            "callers.plain.api_key.keys[0].expires: the key has expired",
            "its last key has expired on",
            "verdict: wrong (configuration)",
        ],
    );
    assert_eq!(said.code, 1, "{}", said.text);
}

/// What is done to the vault, and what is said of the credential and of the callers that need it.
type Case<'c> = (&'c str, &'c dyn Fn(&Bank), &'c [&'c str]);

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn each_way_a_vault_refuses_is_reported_with_fault_and_fix() {
    let foreign = |bank: &Bank| {
        let mut identity = ManagedIdentity::system("77770000-0000-4000-8000-000000000009");
        identity.tenant = PARTNER_TENANT.into();
        bank.simulator.set_identities(vec![identity]);
    };
    let both = |bank: &Bank, change: fn(&mut simulator::vault::VaultSecret)| {
        for name in ["app-secret", "api-key", "api-digest"] {
            bank.simulator.set_secret(name, change);
        }
    };
    let role = "wrong (vault): give the reading identity the role `Key Vault Secrets User`";
    let cases: [Case<'_>; 10] = [
        (
            "no role",
            &|bank| bank.simulator.vault_access(Access::Rbac(Vec::new())),
            &["the reading credential may not read this secret", role],
        ),
        (
            "no policy",
            &|bank| bank.simulator.vault_access(Access::Policy(Vec::new())),
            &["the reading credential may not read this secret", role],
        ),
        (
            "firewall",
            &|bank| bank.simulator.vault_access(Access::Firewall),
            &[
                "the vault's firewall keeps the gateway out",
                "wrong (vault): allow the gateway's address",
            ],
        ),
        (
            "soft-deleted",
            &|bank| both(bank, |secret| secret.deleted = true),
            &[
                "there is no such secret in the vault",
                "wrong (vault): check the name; a deleted secret can be recovered",
            ],
        ),
        (
            "disabled",
            &|bank| both(bank, |secret| secret.versions[0].enabled = false),
            &[
                "the secret is disabled",
                "wrong (vault): enable the secret's version",
            ],
        ),
        (
            "another tenant's token",
            &foreign,
            &[
                "the vault does not accept the token",
                "wrong (configuration): check the reading credential's tenant",
            ],
        ),
        (
            "throttled",
            &|bank| bank.down(Service::KeyVault, Fault::vault_throttled()),
            &["the vault throttles", "wrong (vault): "],
        ),
        (
            "down",
            &|bank| bank.down(Service::KeyVault, Fault::Unavailable),
            &[
                "the vault has a problem",
                "wrong (vault): the vault has a problem: try again in a minute",
            ],
        ),
        (
            "hangs up",
            &|bank| bank.down(Service::KeyVault, Fault::CloseBeforeHead),
            &["the vault cannot be reached (", "wrong (network): "],
        ),
        (
            "no token for the vault",
            &|bank| bank.down(Service::Imds, Fault::Unavailable),
            &[
                "the credential that reads the vault has no token",
                "wrong (identity provider): see credential reader, which reads it",
            ],
        ),
    ];
    for (what, prepare, expected) in cases {
        let bank = Bank::open().await;
        prepare(&bank);
        let said = bank.examined(&[]);
        assert_eq!(said.code, 1, "{what}: {}", said.text);
        for (title, name) in [
            (
                "credential c",
                "the secret 127.0.0.1/app-secret in Key Vault: ",
            ),
            (
                "caller plain",
                "the API key 127.0.0.1/api-key in Key Vault: ",
            ),
            (
                "caller hashed",
                "the API key 127.0.0.1/api-digest in Key Vault: ",
            ),
        ] {
            said.has(title, expected);
            said.has(title, &[name]);
        }
        said.has("credential c", &["no token, for that reason"]);
        said.has("flow f", &["see its credential above"]);
        said.has("flow free", &["verdict: ok"]);
    }
    // A name that was never there.
    let bank = Bank::open().await;
    let said = bank.of(
        &YAML.replace("secrets/app-secret", "secrets/ap-secret"),
        &["f"],
    );
    said.has("credential c", &["there is no such secret in the vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vault_holds_and_cannot_serve_is_reported() {
    let bank = Bank::open().await;
    let id = "8f3b0000-0000-4000-8000-0000000000aa";
    bank.put("app-secret", id);
    bank.put("api-key", "too-short");
    bank.put("api-digest", "not the digest of a key");
    let said = bank.examined(&[]);
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(!said.text.contains(id) && !said.text.contains("too-short"));
    assert!(!said.text.contains("not the digest"), "{}", said.text);
    let pasted = [
        "looks like the ID of a client secret",
        "AADSTS7000215: ",
        "wrong (configuration): ",
    ];
    said.has("credential c", &pasted);
    let short = [
        "is shorter than 16 bytes",
        "wrong (vault): make a strong one with `flowgate hash-key --generate`",
    ];
    said.has("caller plain", &short);
    said.has(
        "caller hashed",
        &["is no SHA-256 in hex", "`flowgate hash-key` prints"],
    );
    bank.put("api-key", "a key, with a comma in it");
    let said = bank.examined(&["f"]);
    said.has("caller plain", &["cannot be carried by any request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lacks_something_is_named_where_it_is_missed() {
    let bank = Bank::open().await;
    let yaml = YAML.replace(
        "reader: { managed_identity: {} }",
        r#"reader: { client_secret: { client_id: "${GATEWAY_APP}", secret: { env: READER_SECRET } } }"#,
    );
    let said = bank.of(&yaml, &[]);
    assert_eq!(said.code, 1, "{}", said.text);
    let missing = "the environment variable is not set: READER_SECRET";
    said.has("credential reader", &[missing]);
    let lacks = [
        "credential reader, which reads it, lacks something",
        "see credential reader",
    ];
    said.has("credential c", &lacks);
    said.has("caller plain", &lacks);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_and_the_listener_need_things_too() {
    let shop = Workshop::open();
    shop.certificate("server", RSA);
    let mut bank = Bank::open().await;
    let (certificate, key) = (shop.path("server.crt"), shop.path("server.key"));
    let tls = format!(
        "tls: {{ certificate: \"{}\", private_key: \"{}\" }}",
        text(&certificate),
        text(&key)
    );
    let yaml = YAML.replace("\"127.0.0.1:8080\"", &format!("\"127.0.0.1:8080\", {tls}"));
    let said = bank.of(&yaml, &[]);
    assert_eq!(said.code, 0, "{}", said.text);

    std::fs::remove_file(&key).unwrap();
    bank.variables.retain(|(name, _)| name != "ERP_KEY");
    let said = bank.of(&yaml, &[]);
    assert_eq!(said.code, 1, "{}", said.text);
    let file = [
        "server.tls.private_key: the file does not exist",
        "wrong (configuration): ",
    ];
    said.has("gateway", &file);
    let variable = [
        "(for f)",
        "the environment variable is not set: ERP_KEY",
        "wrong (configuration): ",
    ];
    said.has("caller erp", &variable);
    said.has("flow free", &["verdict: ok"]);
    let summary = "Something is wrong, see the verdicts above: gateway, caller erp.\n";
    assert!(said.text.ends_with(summary), "{}", said.text);
    // Of one flow only what it needs.
    let said = bank.of(&yaml, &["free"]);
    assert_eq!(said.code, 0, "{}", said.text);
}
