//! The task that keeps one key set fresh.
//!
//! In: a clock, and callers who ask. Out: newer keys in the slots, or a reason in their place. Each issuer is fetched in a task of its
//! own: a panic or a fetch that hangs is one failed refresh and nothing else. Failures never remove keys; only age does. The log has
//! a line when an issuer's state changes, not at each refresh: strangers' tokens can cause one every 30 s.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Fault, Published, Slot, State, locked};
use crate::diagnosis::Reason;

/// Between two refreshes that went well.
const INTERVAL: Duration = Duration::from_hours(1);

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Longest duration of one refresh: metadata and keys with their own 5 s each, and something to spare.
const LONGEST_ROUND: Duration = Duration::from_secs(15);

/// What a slot says whose fetch panicked or did not end in time.
const UNFINISHED: Fault = Fault::of(Reason::Unfinished);

/// Refreshes until it is aborted.
pub(super) async fn forever(state: Arc<State>) {
    let mut failures = 0;
    loop {
        failures = if round(&state).await { 0 } else { failures + 1 };
        let next = state.clock.since_epoch() + pause(failures, state.random.fraction());
        let mut progress = state.progress.subscribe();
        tokio::select! {
            () = state.clock.sleep_until(next) => {}
            _ = progress.wait_for(|progress| progress.fetching) => {}
        }
        let now = state.clock.since_epoch();
        state.progress.send_if_modified(|progress| {
            let own = !progress.fetching;
            if own {
                progress.fetching = true;
                progress.started = now;
            }
            own
        });
    }
}

/// Until the next refresh, after so many failures; a tenth more or less, so that many gateways do not ask at once.
fn pause(failures: u32, fraction: f64) -> Duration {
    let base = match failures {
        0 => INTERVAL,
        _ => FIRST_PAUSE
            .saturating_mul(1 << (failures - 1).min(16))
            .min(LONGEST_PAUSE),
    };
    base.mul_f64(0.9 + 0.2 * fraction)
}

/// Fetches every issuer once; whether all went well.
async fn round(state: &Arc<State>) -> bool {
    let mut errors = vec![Some(UNFINISHED); state.slots.len()];
    let mut fetches = JoinSet::new();
    for number in 0..state.slots.len() {
        let state = Arc::clone(state);
        fetches.spawn(async move { (number, update(&state, number).await) });
    }
    let deadline = state.clock.since_epoch() + LONGEST_ROUND;
    let all = async {
        while let Some(ended) = fetches.join_next().await {
            if let Ok((number, result)) = ended
                && let Some(error) = errors.get_mut(number)
            {
                *error = result.err();
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = state.clock.sleep_until(deadline) => {}
    }
    // What still runs would otherwise overtake the next refresh.
    drop(fetches);
    report(state, &errors);
    errors.iter().all(Option::is_none)
}

/// Fetches one issuer and puts its keys in place; else why not.
async fn update(state: &State, number: usize) -> Result<(), Fault> {
    let slot = state.slots.get(number).ok_or(UNFINISHED)?;
    // The age counts from before the fetch: keys are never younger than they seem.
    let fetched = state.clock.since_epoch();
    let fetch = locked(&state.fetch).clone();
    let issuer = state.origin.fetch(slot.part, &fetch).await?;
    let had_none = slot
        .current()
        .as_ref()
        .is_some_and(|published| published.issuer.keys.len() == 0);
    if issuer.keys.len() == 0 && !had_none {
        // An issuer may withdraw every key, and then none counts: to go on with the old ones would overrule it.
        tracing::warn!(key_set = %state.label(), "the issuer publishes no key that verifies signatures");
    }
    slot.current
        .store(Some(Arc::new(Published { issuer, fetched })));
    Ok(())
}

/// Says that an issuer's state has changed.
fn log(state: &State, slot: &Slot, fault: Option<&Fault>) {
    let (key_set, version) = (state.label(), slot.part.word());
    let Some(fault) = fault else {
        tracing::info!(%key_set, version, "an issuer's keys can be fetched again");
        return;
    };
    let explanation = fault.explain();
    tracing::warn!(
        %key_set,
        version,
        reason = explanation.reason.word(),
        host = explanation.host(),
        cause = explanation.cause(),
        meaning = &*explanation.meaning,
        fault = explanation.fault.as_str(),
        cure = &*explanation.fix,
        error = explanation.place(),
        "an issuer's keys could not be fetched"
    );
}

/// Updates health, metrics and everybody who waits.
fn report(state: &State, errors: &[Option<Fault>]) {
    for (slot, fault) in state.slots.iter().zip(errors) {
        let before = std::mem::replace(&mut *locked(&slot.error), fault.clone());
        if before.as_ref().map(Fault::reason) != fault.as_ref().map(Fault::reason) {
            log(state, slot, fault.as_ref());
        }
    }
    let result = errors
        .iter()
        .flatten()
        .next()
        .map_or("ok", |fault| fault.reason().word());
    let family = &state.metrics.key_set_refreshes_total;
    family.with_label_values(&[&*state.label(), result]).inc();
    state.progress.send_modify(|progress| {
        progress.fetching = false;
        progress.rounds += 1;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refreshes_come_hourly_and_failures_back_off_to_five_minutes() {
        let middle = |failures| pause(failures, 0.5).as_secs();
        assert_eq!(middle(0), 3600);
        assert_eq!([middle(1), middle(2), middle(4)], [1, 2, 8]);
        assert_eq!([middle(10), middle(1000)], [300, 300]);
        assert!(pause(0, 0.0) < pause(0, 0.99));
    }
}
