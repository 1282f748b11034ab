//! A provider that asks for a pause: what that means for callers other than the one that got the answer.

use super::*;
use crate::credential::on_behalf_of::throttle::AT_ONCE;
use crate::credential::token_cache::{Supply, TokenCache};
use crate::credential::{CredentialSettings, Kind};

fn throttled(seconds: u64) -> Fault {
    Fault::Throttled {
        retry_after: Some(seconds.to_string()),
    }
}

fn busy(seconds: u64) -> Fault {
    Fault::Status {
        status: 503,
        headers: vec![("retry-after".into(), seconds.to_string())],
        body: Bytes::new(),
    }
}

impl Bench {
    fn caller(&self, number: usize) -> Assertion {
        self.assertion(|spec| spec.claim("jti", number))
    }

    async fn word(&self, assertion: &Assertion) -> &'static str {
        let token = self.exchange.entry(assertion).token().await;
        token.map_or_else(|failure| failure.word(), |_| "ok")
    }

    fn once(&self, fault: Fault) {
        self.simulator.fault(FaultPoint::Token, fault, Times::Once);
    }
}

#[tokio::test]
async fn a_pause_for_one_caller_holds_back_every_exchange_and_no_valid_token() {
    for (fault, word) in [(throttled(50), "throttled"), (busy(50), "provider_error")] {
        let bench = bench(|_| ()).await;
        let served = bench.caller(0);
        assert_eq!(bench.word(&served).await, "ok");
        bench.once(fault);
        assert_eq!(bench.word(&bench.caller(1)).await, word);
        bench.clock.advance(Duration::from_secs(20));
        for other in 2..5 {
            let entry = bench.exchange.entry(&bench.caller(other));
            let Failure::Unavailable {
                reason,
                retry_after,
                ..
            } = entry.token().await.unwrap_err()
            else {
                panic!("another failure")
            };
            assert_eq!((reason, retry_after.as_secs()), (Reason::HeldBack, 30));
        }
        assert_eq!(bench.word(&served).await, "ok");
        assert_eq!(bench.requests(), 2, "nobody was asked meanwhile");
        bench.clock.advance(Duration::from_secs(29));
        assert_eq!(bench.word(&bench.caller(5)).await, Reason::HeldBack.word());
        // All of them at the end of the pause, whenever they came.
        bench.clock.advance(Duration::from_secs(1));
        for caller in 1..6 {
            assert_eq!(bench.word(&bench.caller(caller)).await, "ok", "{caller}");
        }
        assert_eq!(bench.requests(), 7);
        let text = bench.metrics.text().unwrap();
        let series = |result: &str| {
            format!(
                r#"flowgate_token_requests_total{{credential="as-the-caller",result="{result}"}}"#
            )
        };
        assert!(
            text.contains(&(series(Reason::HeldBack.word()) + " 4")),
            "{text}"
        );
        assert!(text.contains(&(series(word) + " 1")), "{text}");
    }
}

#[tokio::test]
async fn a_long_pause_is_for_the_caller_that_got_it_and_a_minute_for_the_others() {
    let bench = bench(|_| ()).await;
    bench.once(throttled(3600));
    let reported = bench.caller(1);
    assert_eq!(bench.word(&reported).await, "throttled");
    bench.clock.advance(Duration::from_secs(59));
    assert_eq!(bench.word(&bench.caller(2)).await, Reason::HeldBack.word());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.word(&bench.caller(3)).await, "ok");
    assert_eq!(bench.word(&reported).await, "throttled");
    assert_eq!(bench.requests(), 2);
}

#[tokio::test]
async fn a_shorter_wish_does_not_shorten_a_pause_and_a_renewal_waits_too() {
    let bench = bench(|_| ()).await;
    let served = bench.caller(0);
    let entry = bench.exchange.entry(&served);
    let token = entry.token().await.unwrap();
    let gate = Gate::closed();
    bench.once(Fault::Held(gate.clone()));
    let late = tokio::spawn({
        let (exchange, late) = (Arc::clone(&bench.exchange), bench.caller(1));
        async move { exchange.entry(&late).token().await.is_ok() }
    });
    soon("the request", || bench.requests() == 2).await;
    bench.once(throttled(600));
    assert_eq!(bench.word(&bench.caller(2)).await, "throttled");
    // What was under way ends as it ends, and ends no pause.
    gate.open();
    assert!(late.await.unwrap());
    assert_eq!(bench.word(&bench.caller(3)).await, Reason::HeldBack.word());
    let renewal = entry.renewed(&token, None).await;
    assert_eq!(renewal.unwrap_err().word(), Reason::HeldBack.word());
    assert_eq!(bench.word(&served).await, "ok", "the token is still valid");
    assert_eq!(bench.requests(), 3);
}

#[tokio::test]
async fn what_concerns_one_caller_holds_back_nobody_else() {
    let bench = bench(|_| ()).await;
    let refused = |error: &str, code: u32| Fault::Status {
        status: 400,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("retry-after".into(), "600".into()),
        ],
        body: serde_json::json!({ "error": error, "error_codes": [code] })
            .to_string()
            .into(),
    };
    for (number, (fault, word)) in [
        (
            refused("interaction_required", 50_076),
            "interaction_required",
        ),
        (refused("invalid_grant", 65_001), "consent_required"),
        (refused("invalid_grant", 50_105), "consent_required"),
        (refused("invalid_grant", 50_196), "rejected"),
        (Fault::Unavailable, "provider_error"),
        (Fault::Throttled { retry_after: None }, "throttled"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.once(fault);
        assert_eq!(bench.word(&bench.caller(2 * number)).await, word);
        assert_eq!(
            bench.word(&bench.caller(2 * number + 1)).await,
            "ok",
            "{word}"
        );
    }
}

#[tokio::test]
async fn a_pause_is_the_credentials_whatever_it_asks_for_and_not_another_credentials() {
    let bench = bench(|_| ()).await;
    let token_cache = TokenCache::new(bench.deps());
    let settings = |name: &str| CredentialSettings {
        name: name.into(),
        kind: Kind::OnBehalfOf(bench.application.clone()),
        ask: None,
        expires: None,
    };
    let exchange = |name: &str, scope: &str| {
        let ask = Ask::Scope(scope.into());
        match token_cache.supply(&settings(name), &ask, &bench.outbound) {
            Supply::Callers(exchange) => exchange,
            Supply::Own(_) => panic!("one token for all"),
        }
    };
    let graph = exchange("one", "https://graph.microsoft.com/.default");
    let flows = exchange("one", "https://service.flow.microsoft.com//.default");
    let other = exchange("other", "https://graph.microsoft.com/.default");
    bench.once(throttled(90));
    let asked = async |exchange: &Exchange, caller| {
        let token = exchange.entry(&bench.caller(caller)).token().await;
        token.map_or_else(|failure| failure.word(), |_| "ok")
    };
    assert_eq!(asked(&graph, 1).await, "throttled");
    assert_eq!(asked(&flows, 1).await, Reason::HeldBack.word());
    assert_eq!(asked(&other, 1).await, "ok");
}

#[tokio::test]
async fn a_clock_set_back_ends_a_pause_that_lies_in_its_future() {
    let bench = bench(|_| ()).await;
    bench.once(throttled(90));
    assert_eq!(bench.word(&bench.caller(1)).await, "throttled");
    bench.clock.set(bench.clock.unix() - 600);
    assert_eq!(bench.word(&bench.caller(2)).await, "ok");
}

#[tokio::test]
async fn no_more_than_so_many_exchanges_are_under_way_at_a_time() {
    let bench = bench(|_| ()).await;
    let gate = Gate::closed();
    let held = Fault::Held(gate.clone());
    bench
        .simulator
        .fault(FaultPoint::Token, held, Times::Always);
    let calls: Vec<_> = (0..AT_ONCE + 50)
        .map(|number| {
            let (exchange, caller) = (Arc::clone(&bench.exchange), bench.caller(number));
            tokio::spawn(async move { exchange.entry(&caller).token().await.is_ok() })
        })
        .collect();
    soon("as many as may be", || bench.requests() >= AT_ONCE).await;
    run_until_idle().await;
    assert_eq!(bench.requests(), AT_ONCE);
    gate.open();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(bench.requests(), AT_ONCE + 50);
}
