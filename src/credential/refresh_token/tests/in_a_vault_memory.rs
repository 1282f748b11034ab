//! What a gateway has in memory only, and what a vault forgets: reloads, deleted and recovered secrets, a vault that was restored, and the end
//! of the process. Each time a provider that takes each token once: what is lost there needs a person.

use super::in_a_vault::{Gateway, Office, SECRET, held_up, wanted};
use super::sign_in::{Error, SignIn, Signed};
use super::*;
use crate::vault;
use simulator::vault::{Access, SecretVersion};
use simulator::{Fault, FaultPoint as At, Rotation, Times};

/// A gateway whose vault has not taken the token of its last renewal.
async fn in_memory(office: &Office) -> Gateway {
    let gateway = office.gateway();
    office
        .simulator
        .fault(At::SetSecret, Fault::Unavailable, Times::Always);
    assert!(gateway.fetched(office).await.is_ok());
    assert!(gateway.unwritten());
    gateway
}

fn deleted(office: &Office, deleted: bool) {
    let change = |secret: &mut simulator::vault::VaultSecret| secret.deleted = deleted;
    office.simulator.set_secret(SECRET, change);
}

/// Whoever starts now can work with what is in the vault.
async fn sound(office: &Office) {
    assert!(office.gateway().fetched(office).await.is_ok());
}

#[tokio::test]
async fn a_reload_that_leaves_the_credential_out_forgets_nothing_and_it_is_still_written() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = in_memory(&office).await;
    gateway.configured(&office, None);
    assert!(gateway.unwritten());
    office.simulator.clear_faults();
    gateway.written(&office.clock).await;
    sound(&office).await;
    // Back again.
    gateway.configured(&office, Some("cluster"));
    assert!(gateway.fetched(&office).await.is_ok());
    // And what is written is forgotten.
    gateway.configured(&office, None);
    assert!(gateway.context.secrets.health().is_empty());
}

#[tokio::test]
async fn a_reload_that_has_another_credential_write_the_secret_goes_on_with_what_is_in_memory() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = in_memory(&office).await;
    gateway.configured(&office, Some("writer"));
    assert!(gateway.unwritten());
    let mut renamed = office.settings.clone();
    renamed.store = StoreLocation::Vault(vault::Address {
        reader: "writer".into(),
        name: SECRET.to_uppercase(),
        ..office.address()
    });
    let source = source(&renamed, &wanted(), &gateway.context);
    assert!(source.fetch(Wish::default()).await.is_ok());
    assert_eq!(gateway.context.secrets.health().len(), 1);
    office.simulator.clear_faults();
    gateway.written(&office.clock).await;
    assert_eq!(gateway.error(), None);
    sound(&office).await;
}

#[tokio::test]
async fn a_reload_in_the_middle_of_a_renewal_does_not_part_it_from_what_it_will_get() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = office.gateway();
    let (gate, renewal) = held_up(&office, &gateway).await;
    gateway.configured(&office, None);
    office
        .simulator
        .fault(At::SetSecret, Fault::Unavailable, Times::Always);
    gate.open();
    assert!(renewal.await.unwrap().is_ok());
    assert!(gateway.unwritten(), "it is seen, and not lost");
    office.simulator.clear_faults();
    drop(gateway.context.secrets.flush().await);
    assert!(!gateway.unwritten());
    sound(&office).await;
}

#[tokio::test]
async fn a_secret_that_was_deleted_and_recovered_costs_nothing_that_is_in_memory() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = in_memory(&office).await;
    deleted(&office, true);
    office.simulator.clear_faults();
    assert!(gateway.fetched(&office).await.is_ok());
    assert!(gateway.unwritten());
    assert_eq!(gateway.error(), Some("deleted"));
    deleted(&office, false);
    gateway.written(&office.clock).await;
    sound(&office).await;
}

#[tokio::test]
async fn a_secret_that_is_deleted_in_the_middle_of_a_renewal_costs_nothing_either() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = office.gateway();
    let (gate, renewal) = held_up(&office, &gateway).await;
    deleted(&office, true);
    gate.open();
    assert!(renewal.await.unwrap().is_ok());
    assert!(gateway.unwritten());
    assert_eq!(gateway.error(), Some("deleted"));
    assert!(gateway.counted("deleted"));
    deleted(&office, false);
    gateway.written(&office.clock).await;
    sound(&office).await;
}

#[tokio::test]
async fn the_name_of_a_deleted_secret_is_blocked_for_a_sign_in_and_that_is_reported() {
    let office = Office::open(Rotation::Lenient).await;
    office.sign_in().await;
    deleted(&office, true);
    let gateway = office.gateway();
    let error = gateway.fetched(&office).await.err().unwrap();
    assert_eq!(reason(&error), "never_signed_in");
    let sign_in = SignIn::new(&office.settings, &wanted(), &gateway.context);
    let refused = sign_in.keep(&office.signed(), false).await.err().unwrap();
    assert!(matches!(refused, Error::Vault(vault::VaultError::Deleted)));
    assert!(
        !gateway.unwritten(),
        "whoever signs in waits, or signs in again"
    );
}

/// Makes the oldest version the latest again, as a vault does that was restored from a backup.
fn restore(office: &Office) {
    let first = office
        .simulator
        .secret(SECRET)
        .unwrap()
        .versions
        .swap_remove(0);
    office
        .simulator
        .put_secret(SECRET, SecretVersion::new(&first.value));
}

#[tokio::test]
async fn a_vault_that_gives_an_earlier_record_again_gets_the_newer_one_back() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = office.gateway();
    assert!(gateway.fetched(&office).await.is_ok());
    let newest = office.held().await;
    restore(&office);
    assert!(office.held().await.sequence < newest.sequence);
    assert!(gateway.fetched(&office).await.is_ok());
    assert_eq!(office.held().await.sequence, newest.sequence + 1);
    sound(&office).await;
}

#[tokio::test]
async fn nor_does_it_cost_what_is_in_memory_or_comes_of_a_renewal_under_way() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = office.gateway();
    assert!(gateway.fetched(&office).await.is_ok());
    let (gate, renewal) = held_up(&office, &gateway).await;
    restore(&office);
    gate.open();
    assert!(renewal.await.unwrap().is_ok());
    assert!(!gateway.unwritten());
    sound(&office).await;
    assert!(gateway.fetched(&office).await.is_ok());
    let gateway = in_memory(&office).await;
    restore(&office);
    office.simulator.clear_faults();
    assert!(gateway.fetched(&office).await.is_ok());
    assert!(!gateway.unwritten());
    sound(&office).await;
}

#[tokio::test]
async fn somebody_elses_sign_in_is_no_earlier_record_whatever_its_number() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = in_memory(&office).await;
    office.simulator.clear_faults();
    let context = office.gateway().context;
    let sign_in = SignIn::new(&office.settings, &wanted(), &context);
    let fresh = signed_in(&office.simulator);
    let somebody = Signed::of(None, fresh, office.clock.unix());
    assert!(sign_in.keep(&somebody, true).await.is_ok());
    let there = office.held().await;
    assert_eq!(there.sequence, 1);
    gateway.written(&office.clock).await;
    assert_eq!(office.held().await.newest.expose(), there.newest.expose());
    assert!(gateway.counted("overtaken"));
    assert!(gateway.fetched(&office).await.is_ok());
}

#[tokio::test]
async fn at_the_end_it_is_written_once_more_and_what_is_refused_stays() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = in_memory(&office).await;
    office.simulator.vault_writers(Access::Rbac(Vec::new()));
    office.simulator.clear_faults();
    drop(gateway.context.secrets.flush().await);
    // What is logged then: tests/it/sign_in_to_a_vault.rs.
    assert_eq!(gateway.error(), Some("write_forbidden"));
    assert!(gateway.unwritten());
    office.simulator.vault_writers(Access::Everyone);
    drop(gateway.context.secrets.flush().await);
    assert!(!gateway.unwritten());
    sound(&office).await;
}

#[tokio::test]
async fn the_end_waits_for_a_renewal_under_way_and_lets_no_other_one_begin() {
    let office = Office::filled(Rotation::Strict).await;
    let gateway = office.gateway();
    let (gate, renewal) = held_up(&office, &gateway).await;
    office
        .simulator
        .fault(At::SetSecret, Fault::Unavailable, Times::Once);
    let secrets = gateway.context.secrets.clone();
    let end = tokio::spawn(async move { secrets.flush().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!end.is_finished());
    gate.open();
    assert!(renewal.await.unwrap().is_ok());
    let turns = end.await.unwrap();
    assert_eq!((turns.len(), gateway.unwritten()), (1, false));
    let asked = office.simulator.token_requests().len();
    let late = tokio::spawn(gateway.source(&office).fetch(Wish::default()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(office.simulator.token_requests().len(), asked);
    assert!(!late.is_finished());
    late.abort();
    drop(gateway);
    sound(&office).await;
}
