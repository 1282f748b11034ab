//! One table for all kinds of credential: each obtains, renews ahead, survives the provider's outage with a valid token, and recovers
//! after a token was refused. A new kind is a new row. A kind that exchanges callers' tokens does the same for one caller, but only when that
//! caller calls: ahead of the end of the exchanged token a call is served at once and has the next one fetched behind it.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::*;
use crate::credential::assertion::SigningOptions;
use crate::credential::certificate::Algorithm;
use crate::credential::managed_identity::{Identity, Platform};
use crate::credential::refresh_token::record::Record;
use crate::credential::refresh_token::seal::{Key, Owner, Seal};
use crate::credential::refresh_token::store::Store;
use crate::credential::token_cache_entry::Renewal;
use crate::credential::{
    Token, bearer, client_certificate, federated, managed_identity, password, refresh_token,
};
use crate::identity::Assertion;
use testkit::certificate::KeyKind;
use testkit::{Asked, Reply, Server};

mod rule_21_outbound_trust;

/// When every test begins.
const START: u64 = 1_800_000_000;

/// How long the provider's tokens live.
const LIFE: u64 = 3600;

/// A kind, as it is set up against a provider.
struct Row {
    kind: &'static str,
    settings: fn(&Server, &tempfile::TempDir) -> Kind,
    ask: fn() -> Ask,
    /// Requests to the provider for one token; 0: the kind has none to ask.
    requests: usize,
    /// Whether each caller has a token of their own, which is asked for only when they call.
    of_callers: bool,
}

const ROWS: [Row; 17] = [
    Row {
        kind: "client_secret",
        settings: |provider, _| Kind::ClientCredentials(application(provider, secret())),
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "client_secret, basic",
        settings: |provider, _| {
            let basic = proof("secret", ClientAuth::Basic);
            Kind::ClientCredentials(application(provider, basic))
        },
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "client_certificate",
        settings: |provider, _| Kind::ClientCredentials(application(provider, certificate())),
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "workload_identity",
        settings: |provider, folder| {
            Kind::ClientCredentials(application(provider, federated(folder)))
        },
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "password, application with a certificate",
        settings: |provider, _| account(provider, certificate()),
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "password, confidential client",
        settings: |provider, _| account(provider, secret()),
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "password, public client, v1",
        settings: |provider, _| account(provider, Proof::Nothing),
        ask: resource,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "managed_identity of a machine",
        settings: |provider, _| {
            let base = provider.url.clone();
            machine(Platform::Metadata { base })
        },
        ask: resource,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "managed_identity of an app",
        settings: |provider, _| {
            machine(Platform::AppService {
                endpoint: provider.at("msi/token"),
                header: Secret::new("header".into()),
            })
        },
        ask: resource,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "managed_identity of an Arc server",
        settings: |provider, folder| {
            machine(Platform::Arc {
                endpoint: provider.at("arc"),
                keys: folder.path().to_owned(),
            })
        },
        ask: resource,
        requests: 2,
        of_callers: false,
    },
    Row {
        kind: "refresh_token",
        settings: |provider, folder| signed_in(provider, &folder.path().join("c.token")),
        ask: scope,
        requests: 1,
        of_callers: false,
    },
    Row {
        kind: "on_behalf_of",
        settings: |provider, _| Kind::OnBehalfOf(application(provider, secret())),
        ask: scope,
        requests: 1,
        of_callers: true,
    },
    Row {
        kind: "on_behalf_of, v1",
        settings: |provider, _| Kind::OnBehalfOf(application(provider, secret())),
        ask: resource,
        requests: 1,
        of_callers: true,
    },
    Row {
        kind: "on_behalf_of, application with a certificate",
        settings: |provider, _| Kind::OnBehalfOf(application(provider, certificate())),
        ask: scope,
        requests: 1,
        of_callers: true,
    },
    Row {
        kind: "on_behalf_of, application with another issuer's token",
        settings: |provider, folder| Kind::OnBehalfOf(application(provider, federated(folder))),
        ask: scope,
        requests: 1,
        of_callers: true,
    },
    Row {
        kind: "bearer that says when it ends",
        settings: |_, _| fixed(&jwt(START + LIFE)),
        ask: scope,
        requests: 0,
        of_callers: false,
    },
    Row {
        kind: "bearer that does not",
        settings: |_, _| fixed("opaque"),
        ask: scope,
        requests: 0,
        of_callers: false,
    },
];

fn application(provider: &Server, proof: Proof) -> Application {
    Application {
        token_url: provider.at("token"),
        client_id: "client".into(),
        proof,
        parameters: BTreeMap::new(),
        entra: true,
        cae: false,
    }
}

fn secret() -> Proof {
    proof("secret", ClientAuth::Post)
}

fn certificate() -> Proof {
    // Made in no time, unlike an RSA key.
    let text = testkit::certificate::application(KeyKind::Ec);
    Proof::Certificate(client_certificate::ClientCertificateSettings {
        certificate: value(&text),
        passphrase: None,
        signing: SigningOptions {
            algorithm: Algorithm::Es256,
            send_chain: false,
        },
    })
}

/// The token that the scene has put there.
fn federated(folder: &tempfile::TempDir) -> Proof {
    Proof::Federated(federated::FederatedSettings {
        file: folder.path().join("a.key"),
    })
}

fn account(provider: &Server, proof: Proof) -> Kind {
    Kind::Password(password::PasswordSettings {
        application: application(provider, proof),
        username: "svc@flowgate.example".into(),
        password: value("pass"),
    })
}

fn machine(platform: Platform) -> Kind {
    Kind::ManagedIdentity(managed_identity::ManagedIdentitySettings {
        platform,
        identity: Identity::System,
    })
}

/// Somebody signed in, and the store has what that left.
fn signed_in(provider: &Server, store: &Path) -> Kind {
    let settings = refresh_token::RefreshTokenSettings {
        credential: "c".into(),
        application: application(provider, Proof::Nothing),
        scope: None,
        store: refresh_token::StoreLocation::File(store.to_owned()),
        store_key: value(&"6f".repeat(32)),
        sign_in: refresh_token::sign_in::Endpoints::default(),
    };
    let owner = Owner {
        credential: "c",
        token_url: settings.application.token_url.as_str(),
        client_id: "client",
        scope: "",
    };
    let key = Key::parse(&Secret::new("6f".repeat(32))).unwrap();
    let seal = Seal::new(&key, &owner).unwrap();
    let record = Record {
        sequence: 1,
        newest: Secret::new("refresh".into()),
        before: None,
        account: None,
        signed_in: START,
        last_used: START,
    };
    let locked = Store::new(store).lock().unwrap().unwrap();
    locked.pending().unwrap().write(&record, &seal).unwrap();
    Kind::RefreshToken(Box::new(settings))
}

fn fixed(token: &str) -> Kind {
    Kind::Bearer(bearer::BearerSettings {
        token: value(token),
    })
}

fn value(text: &str) -> Value {
    Value::Fixed(Secret::new(text.to_owned()))
}

fn scope() -> Ask {
    Ask::Scope("https://service.flow.microsoft.com//.default".into())
}

fn resource() -> Ask {
    Ask::Resource("https://service.flow.microsoft.com/".into())
}

fn jwt(expiry: u64) -> String {
    use base64::Engine as _;
    let part =
        |json: serde_json::Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!(
        "{}.{}.c2lnbmF0dXJl",
        part(json!({"alg": "RS256"})),
        part(json!({"exp": expiry}))
    )
}

/// A kind's tokens, its provider, somebody who calls, and the clock.
struct Scene {
    row: &'static Row,
    supply: Supply,
    caller: Assertion,
    provider: Server,
    /// What the provider answers instead of a token, if anything.
    instead: Arc<Mutex<Option<Reply>>>,
    up: Arc<AtomicBool>,
    clock: Clock,
    metrics: Metrics,
    _folder: tempfile::TempDir,
}

async fn scene(row: &'static Row) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.key"), "key").unwrap();
    let key = folder.path().join("a.key").display().to_string();
    let up = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&up);
    let instead = Arc::new(Mutex::new(None::<Reply>));
    let other = Arc::clone(&instead);
    let provider = Server::start(move |seen: &Asked, before| -> Reply {
        if !state.load(Ordering::SeqCst) {
            return (503, Vec::new(), "down".into());
        }
        if seen.target().starts_with("/arc") && seen.header("authorization").is_none() {
            let challenge = format!("Basic realm={key}");
            return (401, vec![("www-authenticate", challenge)], String::new());
        }
        if let Some(reply) = other.lock().unwrap().clone() {
            return reply;
        }
        testkit::json(
            200,
            &json!({
                "token_type": "Bearer",
                "expires_in": LIFE.to_string(),
                "access_token": format!("token-{before}"),
                // To whoever redeemed one.
                "refresh_token": format!("refresh-{before}"),
            }),
        )
    })
    .await;
    let clock = Clock::manual(START);
    let metrics = Metrics::new().unwrap();
    let token_cache = TokenCache::new(Deps {
        secrets: crate::vault::Secrets::default(),
        clock: clock.clone(),
        random: Random::from_fn(|bytes| bytes.fill(0)),
        metrics: metrics.clone(),
    });
    let settings = CredentialSettings {
        name: "c".into(),
        kind: (row.settings)(&provider, &folder),
        ask: None,
        expires: None,
    };
    let outbound = Outbound::for_tests();
    let supply = token_cache.supply(&settings, &(row.ask)(), &outbound);
    let month = Duration::from_hours(30 * 24);
    Scene {
        row,
        supply,
        caller: Assertion::of("the-callers-own", Duration::from_secs(START) + month),
        provider,
        instead,
        up,
        clock,
        metrics,
        _folder: folder,
    }
}

impl Scene {
    /// Where the caller's call finds its token.
    fn entry(&self) -> Arc<TokenCacheEntry> {
        match &self.supply {
            Supply::Own(entry) => Arc::clone(entry),
            Supply::Callers(exchange) => exchange.entry(&self.caller),
        }
    }

    /// A call, where one is needed for anything to happen.
    fn call(&self) {
        if self.row.of_callers {
            let entry = self.entry();
            tokio::spawn(async move { entry.token().await.is_ok() });
        }
    }

    async fn token(&self) -> Arc<Token> {
        let kind = self.row.kind;
        let token = self.entry().token().await;
        token.unwrap_or_else(|failure| panic!("{kind}: {failure}"))
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !reached(self) {
                self.call();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let kind = self.row.kind;
        let within = Duration::from_secs(20);
        let waited = tokio::time::timeout(within, waiting).await;
        waited.unwrap_or_else(|_| panic!("{kind}: {what}"));
    }

    fn asked(&self) -> usize {
        self.provider.seen().len()
    }

    /// Lets tasks that have something to do do it.
    async fn run_until_idle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn each_obtains_a_token_with_one_exchange_for_ten_thousand_callers() {
    for row in &ROWS {
        let scene = scene(row).await;
        let callers: Vec<_> = (0..10_000)
            .map(|_| {
                let entry = scene.entry();
                tokio::spawn(async move { entry.token().await.unwrap().generation })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), 1, "{}", row.kind);
        }
        assert_eq!(scene.asked(), row.requests, "{}", row.kind);
        let token = scene.token().await;
        assert!(token.authorization.is_sensitive(), "{}", row.kind);
    }
}

#[tokio::test]
async fn each_renews_ahead_of_expiry_without_being_asked_or_when_its_caller_calls() {
    for row in ROWS.iter().filter(|row| row.requests > 0) {
        let scene = scene(row).await;
        let first = scene.token().await;
        assert_eq!(first.expires, Some(START + LIFE), "{}", row.kind);
        scene.advance(LIFE - 301);
        scene.call();
        scene.run_until_idle().await;
        assert_eq!(scene.asked(), row.requests, "{}: too early", row.kind);
        scene.advance(1);
        if row.of_callers {
            scene.run_until_idle().await;
            assert_eq!(scene.asked(), row.requests, "{}: nobody calls", row.kind);
            let served = scene.entry().ready().unwrap().unwrap();
            assert_eq!(served.generation, 1, "{}: served at once", row.kind);
        }
        scene
            .until(
                "renews",
                |scene| matches!(scene.entry().ready(), Some(Ok(token)) if token.generation == 2),
            )
            .await;
        assert_eq!(scene.asked(), 2 * row.requests, "{}", row.kind);
    }
}

#[tokio::test]
async fn each_survives_the_providers_outage_as_long_as_its_token_is_valid() {
    for row in ROWS.iter().filter(|row| row.requests > 0) {
        let scene = scene(row).await;
        let first = scene.token().await;
        scene.up.store(false, Ordering::SeqCst);
        scene.advance(LIFE - 300);
        scene
            .until("notices", |scene| scene.entry().health().error.is_some())
            .await;
        let error = scene.entry().health().error.unwrap();
        assert_eq!(
            error.explanation.reason.word(),
            "provider_error",
            "{}",
            row.kind
        );
        let still = scene.token().await;
        assert_eq!(still.generation, first.generation, "{}", row.kind);
        scene.advance(300);
        let failure = scene.entry().token().await.err();
        assert_eq!(failure.unwrap().word(), "provider_error", "{}", row.kind);
        scene.up.store(true, Ordering::SeqCst);
        scene.advance(60);
        scene
            .until("recovers", |scene| scene.entry().health().error.is_none())
            .await;
        assert_eq!(scene.token().await.generation, 2, "{}", row.kind);
    }
}

#[tokio::test]
async fn each_recovers_after_a_refused_token_where_there_is_another() {
    for row in &ROWS {
        let scene = scene(row).await;
        let first = scene.token().await;
        match scene.entry().renewed(&first, None).await.unwrap() {
            Renewal::Different(next) => {
                assert!(row.requests > 0, "{}", row.kind);
                assert_ne!(next.authorization, first.authorization, "{}", row.kind);
            }
            Renewal::Same => assert_eq!(row.requests, 0, "{}", row.kind),
        }
        assert_eq!(scene.asked(), 2 * row.requests, "{}", row.kind);
    }
}

#[tokio::test]
async fn the_gauge_says_when_a_token_ends_and_nothing_where_nobody_knows() {
    for row in &ROWS {
        let scene = scene(row).await;
        let token = scene.token().await;
        let shown = scene.metrics.text().unwrap();
        let series = shown.contains("flowgate_token_expiry_timestamp_seconds{");
        // One caller's is nobody else's business.
        let known = token.expires.is_some() && !row.of_callers;
        assert_eq!(series, known, "{}", row.kind);
        let health = scene.entry().health();
        assert!(health.valid, "{}", row.kind);
        assert_eq!(health.expires, token.expires, "{}", row.kind);
    }
}

#[tokio::test]
async fn a_fixed_token_is_served_until_it_ends_or_forever() {
    let [.., ending, endless] = &ROWS;
    let scene_of_both = (scene(ending).await, scene(endless).await);
    let (ending, endless) = &scene_of_both;
    ending.token().await;
    endless.token().await;
    for scene in [ending, endless] {
        scene.advance(LIFE);
    }
    let failure = ending.entry().token().await.unwrap_err();
    assert_eq!(failure.word(), "token_expired");
    assert!(failure.explain().fix.contains("new token"));
    endless.advance(10 * 365 * 86_400);
    assert_eq!(endless.token().await.generation, 1);
}
