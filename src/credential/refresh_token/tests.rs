//! The store and what is done with it. The rule's own tests are [`rule_24_the_refresh_store`].

use std::collections::BTreeMap;
use std::path::Path;

use super::account::Account;
use super::*;
use crate::client::{Outbound, OutboundSettings};
use crate::clock::{Clock, Random};
use crate::credential::proof::Proof;
use crate::metrics::Metrics;
use crate::vault::{Secrets, Value};
use simulator::{Options, Simulator, directory};

mod in_a_vault;
mod in_a_vault_chains;
mod in_a_vault_crashes;
mod in_a_vault_memory;
mod killed;
mod renewal;
mod rule_24_the_refresh_store;
mod signing_in;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SCOPE: &str = "https://graph.microsoft.com/Tasks.ReadWrite";

fn ask() -> Ask {
    Ask::Scope(SCOPE.to_owned())
}

fn settings(simulator: &Simulator, store: &Path) -> RefreshTokenSettings {
    let token_url: url::Url = simulator
        .token_url(directory::DEMO_TENANT, true)
        .parse()
        .unwrap();
    let beside = |word: &str| Some(token_url.join(word).unwrap());
    RefreshTokenSettings {
        credential: "planner".into(),
        scope: Some(ask()),
        store: StoreLocation::File(store.to_path_buf()),
        store_key: Value::Fixed(Secret::new(KEY.to_owned())),
        sign_in: sign_in::Endpoints {
            authorize: beside("authorize"),
            device: beside("devicecode"),
        },
        application: Application {
            token_url,
            client_id: directory::PUBLIC_APP.to_owned(),
            proof: Proof::Nothing,
            parameters: BTreeMap::new(),
            entra: true,
            cae: false,
        },
    }
}

fn context() -> Context {
    with_clock(Clock::system())
}

fn with_clock(clock: Clock) -> Context {
    Context {
        credential: "planner".into(),
        outbound: Outbound::new(&OutboundSettings {
            token_timeout: Duration::from_secs(5),
            ..OutboundSettings::for_tests()
        })
        .unwrap(),
        clock,
        random: Random::system(),
        secrets: Secrets::default(),
        secret_expiry: Metrics::new().unwrap().secret_expiry,
        clock_skew: Metrics::new()
            .unwrap()
            .clock_skew(&crate::clock::Clock::system()),
    }
}

async fn simulator() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

/// A token as a sign-in with MFA leaves it.
fn signed_in(simulator: &Simulator) -> Secret<String> {
    Secret::new(simulator.refresh_token(
        directory::DEMO_TENANT,
        directory::PUBLIC_APP,
        directory::SERVICE_USER,
        &format!("{SCOPE} offline_access"),
    ))
}

fn account() -> Account {
    Account {
        realm: directory::DEMO_TENANT.to_owned(),
        subject: directory::SERVICE_USER.to_owned(),
        name: Some("service".to_owned()),
    }
}

fn record(newest: Secret<String>) -> Record {
    let now = Clock::system().unix();
    Record {
        sequence: 1,
        newest,
        before: None,
        account: Some(account()),
        signed_in: now,
        last_used: now,
    }
}

/// The store's file.
fn file(settings: &RefreshTokenSettings) -> &Path {
    match &settings.store {
        StoreLocation::File(file) => file,
        StoreLocation::Vault(_) => panic!("it is in a vault"),
    }
}

async fn seal(settings: &RefreshTokenSettings) -> Seal {
    settings.seal(&context()).await.ok().unwrap()
}

/// What the store holds now.
async fn held(settings: &RefreshTokenSettings) -> Result<Option<Record>, StoreError> {
    let seal = seal(settings).await;
    locked(&Store::new(file(settings))).await?.read(&seal)
}

async fn put(settings: &RefreshTokenSettings, record: &Record) {
    let seal = seal(settings).await;
    let locked = locked(&Store::new(file(settings))).await.unwrap();
    locked.pending().unwrap().write(record, &seal).unwrap();
}

async fn fetched(settings: &RefreshTokenSettings) -> Result<Grant, AttemptError> {
    source(settings, &ask(), &context())
        .fetch(Wish::default())
        .await
}

fn reason(error: &AttemptError) -> &'static str {
    error.failure.word()
}
