//! Rule 24 in a vault: whatever goes wrong at whichever step of a renewal, and whether or not the process survives it, the secret holds a whole
//! record, and the credential is usable or says that somebody has to sign in.
//!
//! A process that ends is a [`Gateway`] that is dropped: all it leaves behind is what reached the vault and the provider.

use super::in_a_vault::{Gateway, Office, held_up};
use super::*;
use simulator::{Fault, FaultPoint as At, Rotation, Service, Times, grant};

/// A step of a renewal and how it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The record cannot be read: nothing has happened yet.
    Read,
    /// The provider does not get the request.
    Asked,
    /// The provider has answered, and nobody got it.
    Answered,
    /// The answer is there, and the vault cannot be compared with it: all that is left is memory.
    Compared,
    /// The same, and the vault does not take it.
    Put,
    /// The vault has taken it, and nobody got its answer.
    Written,
}

const STEPS: [Step; 6] = [
    Step::Read,
    Step::Asked,
    Step::Answered,
    Step::Compared,
    Step::Put,
    Step::Written,
];

/// A renewal that fails at a step.
async fn broken_at(office: &Office, gateway: &Gateway, step: Step) -> Result<Grant, AttemptError> {
    if step != Step::Compared {
        break_at(office, step);
        return gateway.fetched(office).await;
    }
    // Not before the record is read.
    let (gate, renewal) = held_up(office, gateway).await;
    break_at(office, step);
    gate.open();
    renewal.await.unwrap()
}

fn break_at(office: &Office, step: Step) {
    let provider = || At::Grant(grant::REFRESH_TOKEN.into());
    let (place, fault) = match step {
        Step::Read | Step::Compared => (At::At(Service::KeyVault), Fault::ResetBeforeHead),
        Step::Asked => (provider(), Fault::ResetBeforeHead),
        Step::Answered => (provider(), Fault::Lost),
        Step::Put => (At::SetSecret, Fault::ResetBeforeHead),
        Step::Written => (At::SetSecret, Fault::Lost),
    };
    office.simulator.fault(place, fault, Times::Always);
}

/// Whether the step that fails takes a token with it that is nowhere else. `survives`: the process goes on.
fn lost(step: Step, survives: bool) -> bool {
    match step {
        Step::Read | Step::Asked | Step::Written => false,
        Step::Answered => true,
        Step::Compared | Step::Put => !survives,
    }
}

async fn rounds(rotation: Rotation, survives: bool) {
    for step in STEPS {
        let office = Office::filled(rotation).await;
        let gateway: Gateway = office.gateway();
        let broken = broken_at(&office, &gateway, step).await;
        let memory = [Step::Compared, Step::Put, Step::Written].contains(&step);
        assert_eq!(broken.is_ok(), memory, "{rotation:?} {step:?}");
        // Nothing is in the vault that is not a whole record.
        office.simulator.clear_faults();
        let before = office.held().await;
        let successor = if survives { gateway } else { office.gateway() };
        office.clock.advance(Duration::from_hours(24));
        let outcome = successor.fetched(&office).await;
        let ended = rotation == Rotation::Strict && lost(step, survives);
        match outcome {
            Ok(_) => {
                assert!(!ended, "{step:?} {survives}");
                let now = office.held().await;
                assert!(now.sequence > before.sequence, "{step:?} {survives}");
                // And whoever comes next.
                assert!(office.gateway().fetched(&office).await.is_ok());
            }
            Err(error) => {
                assert!(
                    ended,
                    "{rotation:?} {step:?} {survives}: {}",
                    reason(&error)
                );
                assert!(matches!(error.failure, Failure::SignInRequired { .. }));
                assert_eq!(reason(&error), "sign_in_ended");
                office.sign_in().await;
                assert!(successor.fetched(&office).await.is_ok());
            }
        }
    }
}

#[tokio::test]
async fn rule_24_ended_at_every_step_a_vaults_record_is_whole_and_the_credential_usable() {
    rounds(Rotation::Lenient, false).await;
}

#[tokio::test]
async fn rule_24_ended_where_reuse_is_detected_it_is_usable_from_a_vault_or_says_that_it_needs_a_sign_in()
 {
    rounds(Rotation::Strict, false).await;
}

#[tokio::test]
async fn rule_24_a_gateway_that_survives_a_failed_step_goes_on_from_a_vault() {
    rounds(Rotation::Lenient, true).await;
    rounds(Rotation::Strict, true).await;
}
