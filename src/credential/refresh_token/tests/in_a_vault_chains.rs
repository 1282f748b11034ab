//! Which token of which record is redeemed, and which record a sign-in leaves in a vault: after a refusal, after a lost answer, and where a
//! provider keeps its tokens.

use super::in_a_vault::{DAY, NOW, Office, held_up, wanted};
use super::sign_in::{Error, SignIn, Signed};
use super::*;
use crate::vault;
use simulator::{Fault, FaultPoint as At, Rotation, Service, Times, grant};

fn provider() -> At {
    At::Grant(grant::REFRESH_TOKEN.into())
}

/// The tokens that were redeemed, in order.
fn redeemed(office: &Office) -> Vec<String> {
    let requests = office.simulator.token_requests().into_iter();
    requests
        .filter_map(|request| request.field("refresh_token").map(str::to_owned))
        .collect()
}

/// Signs in and loses the vault's answer; what came of it.
async fn lost(office: &Office, signed: &Signed) -> SignIn {
    let context = office.gateway().context;
    let sign_in = SignIn::new(&office.settings, &wanted(), &context);
    office
        .simulator
        .fault(At::SetSecret, Fault::Lost, Times::Once);
    let kept = sign_in.keep(signed, false).await;
    assert!(matches!(
        kept,
        Err(Error::Vault(vault::VaultError::Unreachable(_)))
    ));
    sign_in
}

#[tokio::test]
async fn a_sign_in_whose_answer_was_lost_is_not_written_over_what_a_gateway_made_of_it() {
    let office = Office::open(Rotation::Strict).await;
    let signed = office.signed();
    let sign_in = lost(&office, &signed).await;
    assert!(office.gateway().fetched(&office).await.is_ok());
    let renewed = office.held().await;
    office.clock.advance(Duration::from_secs(5));
    assert!(sign_in.keep(&signed, false).await.is_ok());
    assert_eq!(office.held().await.sequence, renewed.sequence);
    assert_eq!(office.versions(), 2);
    assert!(office.gateway().fetched(&office).await.is_ok());
}

#[tokio::test]
async fn nor_is_it_taken_for_another_account_where_the_provider_names_none() {
    let office = Office::open(Rotation::Strict).await;
    let fresh = signed_in(&office.simulator);
    let signed = Signed::of(None, fresh, office.clock.unix());
    let sign_in = lost(&office, &signed).await;
    assert!(sign_in.keep(&signed, false).await.is_ok());
    assert_eq!(office.versions(), 1);
    // Somebody who comes later may be somebody else.
    office.clock.advance(Duration::from_secs(5));
    let fresh = signed_in(&office.simulator);
    let later = Signed::of(None, fresh, office.clock.unix());
    let refused = sign_in.keep(&later, false).await.err().unwrap();
    assert!(matches!(refused, Error::OtherAccount));
}

/// A renewal whose token another gateway has used up in the meantime; and the newest token by then.
async fn used_up(office: &Office, then: impl FnOnce()) -> (AttemptError, Secret<String>) {
    let (one, other) = (office.gateway(), office.gateway());
    // So that there is one before.
    assert!(one.fetched(office).await.is_ok());
    let (gate, renewal) = held_up(office, &one).await;
    assert!(other.fetched(office).await.is_ok());
    let newest = office.held().await.newest;
    then();
    gate.open();
    (renewal.await.unwrap().err().unwrap(), newest)
}

#[tokio::test]
async fn where_there_is_a_newer_record_what_comes_of_its_token_counts_and_no_older_one_is_tried() {
    let office = Office::filled(Rotation::Strict).await;
    let down = || {
        office
            .simulator
            .fault(provider(), Fault::Unavailable, Times::Always);
    };
    let (error, newest) = used_up(&office, down).await;
    assert!(
        matches!(error.failure, Failure::Unavailable { .. }),
        "{}",
        reason(&error)
    );
    let tried = redeemed(&office);
    assert_eq!(tried.len(), 4);
    assert_eq!(&tried[3], newest.expose());
}

#[tokio::test]
async fn where_there_may_be_a_newer_record_no_older_token_is_tried() {
    let office = Office::filled(Rotation::Strict).await;
    let down = || {
        office
            .simulator
            .fault(At::At(Service::KeyVault), Fault::Unavailable, Times::Always);
    };
    let (error, _) = used_up(&office, down).await;
    assert_eq!(
        error.failure,
        Failure::SecretUnavailable(vault::VaultError::Service)
    );
    assert_eq!(redeemed(&office).len(), 3);
}

#[tokio::test]
async fn at_entra_id_a_date_ahead_of_the_clock_does_not_keep_a_record_from_being_written() {
    let office = Office::open(Rotation::Lenient).await;
    office.clock.advance(DAY * 400);
    office.sign_in().await;
    office.clock.set(NOW);
    let gateway = office.gateway();
    assert!(gateway.fetched(&office).await.is_ok());
    assert_eq!(office.versions(), 2);
    assert!(gateway.fetched(&office).await.is_ok());
    assert_eq!(office.versions(), 2);
}

#[tokio::test]
async fn a_provider_that_never_gives_a_new_token_costs_a_version_a_day_at_most() {
    let office = Office::open(Rotation::Strict).await;
    office.sign_in().await;
    // Nothing is rotated, so nothing is used up.
    office.simulator.rotation(Rotation::Lenient);
    let none = Fault::Member("refresh_token".into(), None);
    office.simulator.fault(provider(), none, Times::Always);
    for _ in 0..26 {
        assert!(office.gateway().fetched(&office).await.is_ok());
        office.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(office.versions(), 2);
}
