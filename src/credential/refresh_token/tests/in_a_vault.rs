//! A store in a vault, against the simulated Key Vault and the simulated Entra ID: who writes when, two gateways on one secret, a vault that
//! refuses or is down. What lies in memory only, and what a vault forgets, is in [`in_a_vault_memory`](super::in_a_vault_memory); what comes
//! of a refused token and of a sign-in, in [`in_a_vault_chains`](super::in_a_vault_chains); where a process ends between two steps, in
//! [`in_a_vault_crashes`](super::in_a_vault_crashes).

use std::pin::Pin;

use base64::Engine as _;

use super::sign_in::{Error, SignIn, Signed};
use super::*;
use crate::credential::TokenCache;
use crate::credential::token_cache_entry::Deps;
use crate::vault::{self, Reader, Tokens, VaultToken};
use simulator::vault::{Access, VAULT_AUDIENCE};
use simulator::{Fault, FaultPoint as At, Gate, Rotation, Service, Times, TokenSpec, grant};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const SECRET: &str = "planner-token";
pub(super) const DAY: Duration = Duration::from_hours(24);

/// The simulator, its clock, and the credential that keeps its token in the simulated vault.
pub(super) struct Office {
    pub(super) simulator: Simulator,
    pub(super) clock: Clock,
    pub(super) settings: RefreshTokenSettings,
}

/// A gateway's own memory: what a restart forgets.
pub(super) struct Gateway {
    pub(super) context: Context,
    pub(super) metrics: Metrics,
}

/// Makes tokens for the vault as they are asked for.
struct Mint(Simulator);

impl Tokens for Mint {
    fn token(
        &self,
    ) -> Pin<Box<dyn Future<Output = Result<VaultToken, crate::diagnosis::Reason>> + Send + '_>>
    {
        let token = self.0.issue(&TokenSpec::app().audience(VAULT_AUDIENCE));
        Box::pin(async move {
            Ok(VaultToken {
                authorization: format!("Bearer {token}").parse().unwrap(),
                expires: None,
                generation: 1,
            })
        })
    }

    fn refused(&self, _: &VaultToken) {}
}

impl Office {
    /// As at Entra ID, or at a provider that takes each token once.
    pub(super) async fn open(rotation: Rotation) -> Self {
        let clock = Clock::manual(NOW);
        let same = clock.clone();
        let options = Options {
            clock: Arc::new(move || same.unix()),
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        simulator.rotation(rotation);
        let mut settings = settings(&simulator, Path::new("nowhere"));
        settings.application.entra = rotation == Rotation::Lenient;
        settings.store = StoreLocation::Vault(vault::Address {
            vault: simulator.vault_url().parse().unwrap(),
            name: SECRET.to_owned(),
            version: None,
            reader: "cluster".into(),
            audience: VAULT_AUDIENCE.to_owned(),
        });
        Self {
            simulator,
            clock,
            settings,
        }
    }

    /// The same, and somebody signed in two days ago: a renewal is worth a new version.
    pub(super) async fn filled(rotation: Rotation) -> Self {
        let office = Self::open(rotation).await;
        office.sign_in().await;
        office.clock.advance(DAY * 2);
        office
    }

    /// A gateway that has just been started.
    pub(super) fn gateway(&self) -> Gateway {
        let metrics = Metrics::new().unwrap();
        let secrets = Secrets::new(vault::Deps {
            clock: self.clock.clone(),
            random: Random::system(),
            metrics: metrics.clone(),
        });
        let mut context = with_clock(self.clock.clone());
        context.secrets = secrets;
        let gateway = Gateway { context, metrics };
        gateway.configured(self, Some("cluster"));
        gateway
    }

    pub(super) fn address(&self) -> vault::Address {
        let StoreLocation::Vault(address) = &self.settings.store else {
            unreachable!("so it was made")
        };
        address.clone()
    }

    /// A person signs in.
    pub(super) async fn sign_in(&self) {
        let gateway = self.gateway();
        let sign_in = SignIn::new(&self.settings, &wanted(), &gateway.context);
        sign_in.rehearse(false).await.unwrap();
        sign_in.keep(&self.signed(), false).await.unwrap();
    }

    pub(super) fn signed(&self) -> Signed {
        Signed::of(
            Some(account()),
            signed_in(&self.simulator),
            self.clock.unix(),
        )
    }

    pub(super) fn versions(&self) -> usize {
        let secret = self.simulator.secret(SECRET);
        secret.map_or(0, |secret| secret.versions.len())
    }

    /// What is in the vault, as a gateway that has just been started reads it.
    pub(super) async fn held(&self) -> Record {
        let gateway = self.gateway();
        let seal = Arc::new(self.settings.seal(&gateway.context).await.ok().unwrap());
        let patience = Duration::from_secs(1);
        let lock = VaultLock::at(&self.address(), &seal, &gateway.context, patience).await;
        lock.unwrap().read().await.unwrap().unwrap()
    }
}

/// Servers other than Entra ID have to be asked for a sign-in that lasts.
pub(super) fn wanted() -> Ask {
    Ask::Scope(format!("{SCOPE} offline_access"))
}

impl Gateway {
    pub(super) async fn fetched(&self, office: &Office) -> Result<Grant, AttemptError> {
        self.source(office).fetch(Wish::default()).await
    }

    pub(super) fn source(&self, office: &Office) -> Arc<dyn Source> {
        source(&office.settings, &wanted(), &self.context)
    }

    /// Takes a configuration over: the same, with another credential that writes the vault, or without the one that is kept there.
    pub(super) fn configured(&self, office: &Office, writer: Option<&str>) {
        let secrets = &self.context.secrets;
        let address = writer.map(|writer| vault::Address {
            reader: writer.into(),
            ..office.address()
        });
        let stores: Vec<_> = address
            .into_iter()
            .map(|address| ("planner".into(), address))
            .collect();
        secrets.update_readers(Duration::from_mins(5), &[], &[], &stores);
        if let Some(writer) = writer {
            let reader = Reader {
                tokens: Arc::new(Mint(office.simulator.clone())),
                outbound: self.context.outbound.clone(),
            };
            secrets.provide(writer.into(), reader);
        }
        secrets.start();
        secrets.forget();
    }

    pub(super) fn unwritten(&self) -> bool {
        let health = self.context.secrets.health();
        health.iter().any(|secret| secret.unwritten)
    }

    pub(super) fn error(&self) -> Option<&'static str> {
        let health = self.context.secrets.health();
        health.first()?.error.map(vault::VaultError::word)
    }

    /// Lets time pass until what is in memory only has been written.
    pub(super) async fn written(&self, clock: &Clock) {
        for _ in 0..500 {
            if !self.unwritten() {
                return;
            }
            clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is in memory only: {:?}", self.error());
    }

    pub(super) fn counted(&self, result: &str) -> bool {
        let line =
            format!("flowgate_secret_writes_total{{result=\"{result}\",source=\"key_vault\"}} ");
        self.metrics.text().unwrap().contains(&line)
    }
}

#[tokio::test]
async fn rule_24_a_vault_shows_whoever_reads_it_nothing() {
    let office = Office::filled(Rotation::Lenient).await;
    let newest = office.held().await.newest;
    let version = office.simulator.secret(SECRET).unwrap().versions.remove(0);
    let bytes = base64::prelude::BASE64_STANDARD
        .decode(&version.value)
        .unwrap();
    for word in [
        newest.expose(),
        directory::SERVICE_USER,
        "planner",
        "sequence",
    ] {
        let there = bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes());
        assert!(!there && !version.value.contains(word), "{word}");
    }
    let kind = version.content_type.as_deref();
    assert_eq!(kind, Some("application/vnd.flowgate.sealed"));
}

#[tokio::test]
async fn rule_24_what_is_not_this_credentials_record_is_refused_and_stays() {
    for (name, change) in [
        (
            "store_of_another",
            (|one| one.credential = "another".into()) as fn(&mut RefreshTokenSettings),
        ),
        ("store_key_wrong", |one| {
            one.store_key = Value::Fixed(Secret::new(KEY.replace("00", "01")));
        }),
    ] {
        let mut office = Office::filled(Rotation::Lenient).await;
        change(&mut office.settings);
        let error = office.gateway().fetched(&office).await.err().unwrap();
        assert_eq!(reason(&error), name);
        assert!(matches!(error.failure, Failure::SignInRequired { .. }));
        assert_eq!(office.versions(), 1);
    }
    let office = Office::filled(Rotation::Lenient).await;
    for (value, word) in [
        ("no Base64", "store_damaged"),
        ("bm9uZSBvZiBvdXJz", "store_damaged"),
    ] {
        let version = simulator::vault::SecretVersion::new(value);
        office.simulator.put_secret(SECRET, version);
        let error = office.gateway().fetched(&office).await.err().unwrap();
        assert_eq!(reason(&error), word);
        let context = office.gateway().context;
        let sign_in = SignIn::new(&office.settings, &wanted(), &context);
        // Before a person signs in.
        let refused = sign_in.rehearse(false).await.err().unwrap();
        assert!(matches!(refused, Error::Unknown(StoreError::Damaged)));
        assert!(sign_in.rehearse(true).await.is_ok());
        let refused = sign_in.keep(&office.signed(), false).await.err().unwrap();
        assert!(matches!(refused, Error::Unknown(StoreError::Damaged)));
    }
    assert_eq!(office.simulator.token_requests().len(), 0);
}

#[tokio::test]
async fn before_the_first_sign_in_nobody_is_asked_and_a_running_entry_uses_it() {
    let office = Office::open(Rotation::Lenient).await;
    let Gateway { context, metrics } = office.gateway();
    let token_cache = TokenCache::new(Deps {
        clock: context.clock.clone(),
        random: context.random.clone(),
        metrics: metrics.clone(),
        secrets: context.secrets.clone(),
    });
    let credential = crate::credential::CredentialSettings {
        name: "planner".into(),
        kind: crate::credential::Kind::RefreshToken(Box::new(office.settings.clone())),
        ask: None,
        expires: None,
    };
    let entry = token_cache.entry(&credential, &wanted(), &context.outbound);
    assert_eq!(entry.token().await.unwrap_err().word(), "never_signed_in");
    assert_eq!(office.simulator.token_requests().len(), 0);
    office.sign_in().await;
    for _ in 0..500 {
        if matches!(entry.ready(), Some(Ok(_))) {
            break;
        }
        office.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(entry.token().await.is_ok());
    // Sooner than anybody would have tried again.
    assert!(
        office.clock.unix() < NOW + 60,
        "{}",
        office.clock.unix() - NOW
    );
    let reads = office.simulator.requests_to(Service::KeyVault).len();
    office.clock.advance(Duration::from_mins(10));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(office.simulator.requests_to(Service::KeyVault).len(), reads);
    let text = metrics.text().unwrap();
    assert!(text.contains("flowgate_secret_expiry_timestamp_seconds{credential=\"planner\"}"));
}

#[tokio::test]
async fn at_entra_id_a_new_version_is_written_once_a_day_and_each_restart_goes_on_from_there() {
    let office = Office::open(Rotation::Lenient).await;
    office.sign_in().await;
    for hour in 0..50 {
        // Every second one by a gateway that has just been started.
        let gateway = office.gateway();
        assert!(gateway.fetched(&office).await.is_ok(), "{hour}");
        office.clock.advance(Duration::from_mins(30));
        assert!(gateway.fetched(&office).await.is_ok(), "{hour}");
        office.clock.advance(Duration::from_mins(30));
    }
    assert_eq!(office.versions(), 3, "the sign-in and two days");
    let claims = office.gateway().fetched(&office).await.ok().unwrap().claims;
    assert_eq!(claims.unwrap()["oid"], directory::SERVICE_USER);
}

#[tokio::test]
async fn where_each_token_is_taken_once_every_renewal_is_written() {
    let office = Office::open(Rotation::Strict).await;
    office.sign_in().await;
    for version in 2..6 {
        let last = office.held().await;
        // Whoever renews has just been started.
        assert!(office.gateway().fetched(&office).await.is_ok());
        let now = office.held().await;
        assert_eq!(office.versions(), version);
        assert_eq!(now.sequence, last.sequence + 1);
        assert_eq!(now.before.unwrap().expose(), last.newest.expose());
    }
}

#[tokio::test]
async fn entries_of_one_gateway_take_turns() {
    let office = Office::open(Rotation::Strict).await;
    office.sign_in().await;
    let gateway = office.gateway();
    let attempts = (0..8).map(|_| tokio::spawn(gateway.source(&office).fetch(Wish::default())));
    for attempt in attempts.collect::<Vec<_>>() {
        assert!(attempt.await.unwrap().is_ok());
    }
    assert_eq!(office.versions(), 9);
}

/// A renewal that waits for the provider's answer until the gate is opened.
pub(super) async fn held_up(
    office: &Office,
    gateway: &Gateway,
) -> (Gate, tokio::task::JoinHandle<Result<Grant, AttemptError>>) {
    let gate = Gate::closed();
    let place = At::Grant(grant::REFRESH_TOKEN.into());
    let wait = Fault::Held(gate.clone());
    office.simulator.fault(place, wait, Times::Once);
    let before = office.simulator.token_requests().len();
    let renewal = tokio::spawn(gateway.source(office).fetch(Wish::default()));
    let asked = |simulator: &Simulator| simulator.token_requests().len() > before;
    office.simulator.until(asked).await;
    (gate, renewal)
}

/// Has the first gateway wait for the provider's answer while the second one renews.
async fn at_once(
    office: &Office,
    one: &Gateway,
    other: &Gateway,
) -> [Result<Grant, AttemptError>; 2] {
    let (gate, first) = held_up(office, one).await;
    let second = other.fetched(office).await;
    gate.open();
    [first.await.unwrap(), second]
}

#[tokio::test]
async fn two_gateways_that_renew_in_the_same_instant_both_go_on_at_entra_id() {
    let office = Office::filled(Rotation::Lenient).await;
    let (one, other) = (office.gateway(), office.gateway());
    let [first, second] = at_once(&office, &one, &other).await;
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(
        office.versions(),
        2,
        "whoever comes second writes nothing over it"
    );
    assert!(one.counted("overtaken") && other.counted("ok"));
    assert!(!one.unwritten() && !other.unwritten());
    for gateway in [&one, &other, &office.gateway()] {
        office.clock.advance(DAY);
        assert!(gateway.fetched(&office).await.is_ok());
    }
    assert_eq!(office.versions(), 5);
}

#[tokio::test]
async fn two_gateways_in_the_same_instant_where_each_token_is_taken_once_need_a_sign_in_and_say_so()
{
    let office = Office::filled(Rotation::Strict).await;
    let (one, other) = (office.gateway(), office.gateway());
    let outcomes = at_once(&office, &one, &other).await;
    let ended = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    for error in ended {
        assert_eq!(reason(error), "sign_in_ended");
    }
    // What it cost is repaired by a person, for both.
    assert!(office.gateway().fetched(&office).await.is_err());
    office.sign_in().await;
    assert!(one.fetched(&office).await.is_ok());
    assert!(other.fetched(&office).await.is_ok());
}

#[tokio::test]
async fn one_gateway_after_the_other_redeems_what_the_other_wrote() {
    for rotation in [Rotation::Lenient, Rotation::Strict] {
        let office = Office::filled(rotation).await;
        let (one, other) = (office.gateway(), office.gateway());
        for _ in 0..3 {
            assert!(one.fetched(&office).await.is_ok());
            assert!(other.fetched(&office).await.is_ok());
        }
    }
}

#[tokio::test]
async fn a_sign_in_during_a_renewal_is_what_stays() {
    let office = Office::filled(Rotation::Lenient).await;
    let gateway = office.gateway();
    let (gate, renewal) = held_up(&office, &gateway).await;
    office.sign_in().await;
    let signed_in = office.held().await;
    gate.open();
    assert!(renewal.await.unwrap().is_ok());
    assert_eq!(
        office.held().await.newest.expose(),
        signed_in.newest.expose()
    );
}

#[tokio::test]
async fn a_vault_that_may_be_read_but_not_written_costs_nobody_a_token_and_is_reported() {
    for rotation in [Rotation::Lenient, Rotation::Strict] {
        let office = Office::filled(rotation).await;
        office.simulator.vault_writers(Access::Rbac(Vec::new()));
        let gateway = office.gateway();
        for _ in 0..3 {
            assert!(gateway.fetched(&office).await.is_ok(), "{rotation:?}");
            assert!(gateway.unwritten());
            assert_eq!(gateway.error(), Some("write_forbidden"));
        }
        assert_eq!(office.versions(), 1);
        assert!(gateway.counted("write_forbidden"));
        office.simulator.vault_writers(Access::Everyone);
        // No call, no reload, nothing but time.
        gateway.written(&office.clock).await;
        assert_eq!((office.versions(), gateway.error()), (2, None));
        assert!(
            office.gateway().fetched(&office).await.is_ok(),
            "after a restart"
        );
    }
}

#[tokio::test]
async fn a_vault_that_is_down_during_a_renewal_does_not_hinder_it_at_entra_id() {
    let office = Office::filled(Rotation::Lenient).await;
    let gateway = office.gateway();
    assert!(gateway.fetched(&office).await.is_ok());
    office.clock.advance(DAY);
    let down = || {
        office
            .simulator
            .fault(At::At(Service::KeyVault), Fault::Unavailable, Times::Always);
    };
    down();
    for _ in 0..3 {
        assert!(gateway.fetched(&office).await.is_ok());
        assert!(gateway.unwritten());
        office.clock.advance(Duration::from_hours(1));
    }
    // One that has just been started knows nothing.
    let error = office.gateway().fetched(&office).await.err().unwrap();
    assert_eq!(
        error.failure,
        Failure::SecretUnavailable(vault::VaultError::Service)
    );
    office.simulator.clear_faults();
    gateway.written(&office.clock).await;
    assert_eq!(office.versions(), 3);
    assert!(office.gateway().fetched(&office).await.is_ok());
}

#[tokio::test]
async fn where_each_token_is_taken_once_none_is_risked_while_the_vault_is_down() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = office.gateway();
    assert!(gateway.fetched(&office).await.is_ok());
    let asked = office.simulator.token_requests().len();
    office
        .simulator
        .fault(At::At(Service::KeyVault), Fault::Unavailable, Times::Always);
    let error = gateway.fetched(&office).await.err().unwrap();
    assert_eq!(
        error.failure,
        Failure::SecretUnavailable(vault::VaultError::Service)
    );
    assert_eq!(office.simulator.token_requests().len(), asked);
    office.simulator.clear_faults();
    assert!(gateway.fetched(&office).await.is_ok());
    // Down between the two: what was given is kept in memory, and goes on from there.
    office
        .simulator
        .fault(At::SetSecret, Fault::Unavailable, Times::Always);
    for _ in 0..3 {
        assert!(gateway.fetched(&office).await.is_ok());
        assert!(gateway.unwritten());
    }
    office
        .simulator
        .fault(At::At(Service::KeyVault), Fault::Unavailable, Times::Always);
    assert!(
        gateway.fetched(&office).await.is_ok(),
        "there is nothing left to lose"
    );
    office.simulator.clear_faults();
    gateway.written(&office.clock).await;
    assert!(office.gateway().fetched(&office).await.is_ok());
}

#[tokio::test]
async fn rule_24_another_account_is_refused_in_a_vault_too_unless_it_is_meant() {
    let office = Office::filled(Rotation::Lenient).await;
    let context = office.gateway().context;
    let sign_in = SignIn::new(&office.settings, &wanted(), &context);
    let other = Signed::of(
        Some(Account {
            subject: directory::DEMO_USER.to_owned(),
            ..account()
        }),
        signed_in(&office.simulator),
        office.clock.unix(),
    );
    let refused = sign_in.keep(&other, false).await.err().unwrap();
    assert!(matches!(refused, Error::OtherAccount));
    assert_eq!(office.versions(), 1);
    assert!(sign_in.keep(&other, true).await.is_ok());
    let account = office.held().await.account.unwrap();
    assert_eq!(account.subject, directory::DEMO_USER);
}
