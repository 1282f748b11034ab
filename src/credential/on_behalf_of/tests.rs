//! Exchanges as the token endpoint sees them, and every way in which it refuses them.

use std::collections::BTreeMap;

use super::*;
use crate::client::{Outbound, OutboundSettings};
use crate::clock::{Clock, Random};
use crate::credential::claims::Claims;
use crate::credential::client_secret::{self, ClientAuth};
use crate::credential::proof::Proof;
use crate::credential::token_cache_entry::Renewal;
use crate::diagnosis::Reason;
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::vault::{Secrets, Value};
use simulator::directory::{API_APP, ClientSecret, DEMO_TENANT, DEMO_USER, UserState};
use simulator::{Fault, FaultPoint, Gate, Options, Simulator, Times, TokenSpec, grant};

mod many_callers;
mod proofs;
mod throttling;

const HOUR: Duration = Duration::from_hours(1);

/// For what no test waits for: a crowd on a busy machine takes its time.
const LONG: Duration = Duration::from_mins(5);

/// A simulator, an exchange in front of it, and the clock of both.
struct Bench {
    simulator: Simulator,
    exchange: Arc<Exchange>,
    application: Application,
    outbound: Outbound,
    clock: Clock,
    metrics: Metrics,
}

async fn bench(change: impl FnOnce(&mut Application)) -> Bench {
    bench_for(CALLERS, change).await
}

async fn bench_for(callers: u64, change: impl FnOnce(&mut Application)) -> Bench {
    let ask = Ask::Scope("https://graph.microsoft.com/.default".into());
    bench_asking(ask, callers, change).await
}

async fn bench_asking(ask: Ask, callers: u64, change: impl FnOnce(&mut Application)) -> Bench {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.secrets = vec![ClientSecret::new("api~secret+/%&=")];
    });
    let mut application = Application {
        token_url: simulator.token_url(DEMO_TENANT, true).parse().unwrap(),
        client_id: API_APP.to_owned(),
        proof: Proof::Secret(client_secret::ClientSecretSettings {
            secret: Value::Fixed(Secret::new("api~secret+/%&=".to_owned())),
            next: None,
            client_auth: ClientAuth::Post,
        }),
        parameters: BTreeMap::new(),
        entra: true,
        cae: false,
    };
    change(&mut application);
    let clock = Clock::manual(Clock::system().unix());
    let metrics = Metrics::new().unwrap();
    let context = Context {
        credential: "as-the-caller".into(),
        outbound: Outbound::new(&OutboundSettings {
            connect_timeout: LONG,
            token_timeout: LONG,
            ..OutboundSettings::for_tests()
        })
        .unwrap(),
        clock: clock.clone(),
        random: Random::system(),
        secrets: Secrets::default(),
        secret_expiry: crate::metrics::Metrics::new().unwrap().secret_expiry,
        clock_skew: crate::metrics::Metrics::new()
            .unwrap()
            .clock_skew(&crate::clock::Clock::system()),
    };
    let exchange = Exchange::for_callers(
        callers,
        &application,
        &ask,
        &context,
        Arc::default(),
        LONG,
        deps(&clock, &metrics),
    );
    Bench {
        simulator,
        exchange: Arc::new(exchange),
        application,
        outbound: context.outbound,
        clock,
        metrics,
    }
}

fn deps(clock: &Clock, metrics: &Metrics) -> Deps {
    Deps {
        secrets: Secrets::default(),
        clock: clock.clone(),
        random: Random::from_fn(|bytes| bytes.fill(0)),
        metrics: metrics.clone(),
    }
}

impl Bench {
    fn deps(&self) -> Deps {
        deps(&self.clock, &self.metrics)
    }

    fn assertion(&self, change: impl FnOnce(TokenSpec) -> TokenSpec) -> Assertion {
        let token = self.simulator.issue(&change(TokenSpec::user()));
        Assertion::of(&token, self.clock.since_epoch() + HOUR)
    }

    async fn need(&self, assertion: &Assertion) -> (Need, Vec<u32>) {
        match self.exchange.entry(assertion).token().await {
            Err(Failure::Caller { need, provider }) => {
                (need, provider.map(|said| said.codes).unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    }

    fn requests(&self) -> usize {
        self.simulator.token_requests().len()
    }

    /// How many callers are kept.
    fn kept(&self) -> u64 {
        self.exchange.token_cache.run_pending_tasks();
        self.exchange.token_cache.entry_count()
    }
}

/// Waits for what has to come, but not for ever.
async fn soon(what: &str, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come"));
}

async fn run_until_idle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_users_token_is_exchanged_for_the_same_users_token() {
    let bench = bench(|_| ()).await;
    let assertion = bench.assertion(|spec| spec);
    let token = bench.exchange.entry(&assertion).token().await.unwrap();
    let claims = token.claims.as_ref().unwrap();
    assert_eq!(claims["oid"], DEMO_USER);
    assert_eq!(claims["aud"], "https://graph.microsoft.com");
    let asked = &bench.simulator.token_requests()[0];
    for (name, value) in [
        ("grant_type", grant::ON_BEHALF_OF),
        ("requested_token_use", "on_behalf_of"),
        ("assertion", *assertion.token().unwrap().expose()),
        ("client_id", API_APP),
        ("client_secret", "api~secret+/%&="),
        ("scope", "https://graph.microsoft.com/.default"),
    ] {
        assert_eq!(asked.field(name), Some(value));
    }
    assert_eq!(asked.form.len(), 6, "and nothing else");
}

#[tokio::test]
async fn a_v1_token_is_exchanged_too() {
    let bench = bench(|_| ()).await;
    let assertion = bench.assertion(TokenSpec::v1);
    bench.exchange.entry(&assertion).token().await.unwrap();
}

#[tokio::test]
async fn rule_22_two_tokens_of_one_user_that_differ_only_in_amr_or_exp_share_nothing() {
    let bench = bench(|_| ()).await;
    let base = TokenSpec::user().claim("uti", "same").claim("iat", 1);
    let weak = base.clone().claim("amr", serde_json::json!(["pwd"]));
    let strong = base.clone().claim("amr", serde_json::json!(["pwd", "mfa"]));
    let longer = weak.clone().claim("exp", bench.clock.unix() + 7200);
    let mut token_cache = Vec::new();
    for spec in [&weak, &strong, &longer] {
        let token = bench.simulator.issue(spec);
        let assertion = Assertion::of(&token, bench.clock.since_epoch() + HOUR);
        let entry = bench.exchange.entry(&assertion);
        assert!(Arc::ptr_eq(&entry, &bench.exchange.entry(&assertion)));
        entry.token().await.unwrap();
        token_cache.push(entry);
    }
    assert_eq!(bench.requests(), 3);
    // What a user with a second factor may have, the same user without one may not.
    bench.simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.state = UserState::MfaRequired;
    });
    let weak = bench.assertion(|_| {
        base.clone()
            .claim("amr", serde_json::json!(["pwd"]))
            .claim("jti", "2")
    });
    let strong = bench.assertion(|_| strong.claim("jti", "2"));
    assert!(bench.exchange.entry(&strong).token().await.is_ok());
    assert!(matches!(bench.need(&weak).await.0, Need::SignIn(Some(_))));
}

#[tokio::test]
async fn ten_thousand_calls_of_a_hundred_callers_are_a_hundred_requests() {
    let bench = bench(|_| ()).await;
    let gate = Gate::closed();
    let held = Fault::Held(gate.clone());
    bench
        .simulator
        .fault(FaultPoint::Token, held, Times::Always);
    let mut waiting = Vec::new();
    for caller in 0..100 {
        let assertion = bench.assertion(|spec| spec.claim("jti", caller));
        for _ in 0..100 {
            let (exchange, assertion) = (Arc::clone(&bench.exchange), assertion.clone());
            waiting.push(tokio::spawn(async move {
                exchange.entry(&assertion).token().await.is_ok()
            }));
        }
    }
    bench
        .simulator
        .until(|simulator| simulator.token_requests().len() == 100)
        .await;
    gate.open();
    for one in waiting {
        assert!(one.await.unwrap());
    }
    assert_eq!(bench.requests(), 100);
}

#[tokio::test]
async fn a_token_never_outlives_its_assertion_and_none_is_asked_for_once_it_has_ended() {
    let bench = bench(|_| ()).await;
    let token = bench.simulator.issue(&TokenSpec::user());
    let end = bench.clock.since_epoch() + Duration::from_mins(10);
    let assertion = Assertion::of(&token, end);
    let entry = bench.exchange.entry(&assertion);
    let token = entry.token().await.unwrap();
    assert_eq!(token.expires, Some(end.as_secs()));
    // No other would live longer, so none is asked for ahead of the end.
    bench.clock.advance(Duration::from_secs(599));
    assert!(entry.ready().unwrap().is_ok());
    run_until_idle().await;
    assert_eq!(bench.requests(), 1);
    bench.clock.advance(SHORTEST);
    assert_eq!(bench.need(&assertion).await.0, Need::Fresh);
    assert_eq!(bench.requests(), 1, "nobody was asked");
}

#[tokio::test]
async fn nothing_is_renewed_but_for_a_call() {
    let bench = bench(|_| ()).await;
    let token = bench.simulator.issue(&TokenSpec::user());
    let day = Duration::from_hours(24);
    let assertion = Assertion::of(&token, bench.clock.since_epoch() + day);
    let entry = bench.exchange.entry(&assertion);
    entry.token().await.unwrap();
    // Past the moment at which a token of the gateway's own would be renewed, but still good.
    bench.clock.advance(Duration::from_mins(58));
    run_until_idle().await;
    assert_eq!(bench.requests(), 1);
    assert!(entry.ready().unwrap().is_ok(), "served at once");
    bench
        .simulator
        .until(|simulator| simulator.token_requests().len() == 2)
        .await;
    assert!(entry.ready().unwrap().is_ok());
}

#[tokio::test]
async fn a_renewal_that_failed_is_tried_again_by_calls_while_the_token_is_still_good() {
    let bench = bench(|_| ()).await;
    let token = bench.simulator.issue(&TokenSpec::user());
    let day = Duration::from_hours(24);
    let assertion = Assertion::of(&token, bench.clock.since_epoch() + day);
    let entry = bench.exchange.entry(&assertion);
    entry.token().await.unwrap();
    let outage = Fault::Unavailable;
    bench
        .simulator
        .fault(FaultPoint::Token, outage, Times::Once);
    bench.clock.advance(Duration::from_mins(56));
    assert_eq!(entry.token().await.unwrap().generation, 1);
    soon("the failure", || entry.health().error.is_some()).await;
    // The failure is remembered for a moment, whoever calls.
    assert_eq!(entry.token().await.unwrap().generation, 1);
    run_until_idle().await;
    assert_eq!(bench.requests(), 2);
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(entry.token().await.unwrap().generation, 1, "served at once");
    soon("another attempt", || entry.health().error.is_none()).await;
    assert_eq!(entry.token().await.unwrap().generation, 2);
    assert_eq!(bench.requests(), 3);
}

#[tokio::test]
async fn what_the_caller_can_fix_is_distinguished_from_what_the_gateway_has_to() {
    let bench = bench(|_| ()).await;
    for (code, expected) in [
        (50_076, Some(Need::SignIn(None))),
        (50_079, Some(Need::SignIn(None))),
        (53_003, Some(Need::SignIn(None))),
        (50_173, Some(Need::SignIn(None))),
        (50_057, Some(Need::SignIn(None))),
        (65_001, Some(Need::Consent)),
        (50_105, Some(Need::Consent)),
        (500_133, Some(Need::Fresh)),
        (7_000_114, Some(Need::User)),
        (50_013, None),
        (500_131, None),
        (7_000_215, None),
        (700_016, None),
        (70_011, None),
        (90_033, None),
    ] {
        bench
            .simulator
            .fault(FaultPoint::Token, Fault::Aadsts(code), Times::Once);
        let assertion = bench.assertion(|spec| spec.claim("jti", code));
        let failure = bench.exchange.entry(&assertion).token().await.unwrap_err();
        match (failure, expected) {
            (Failure::Caller { need, provider }, Some(expected)) => {
                assert_eq!(provider.unwrap().codes, [code], "{code}");
                let plain = match need {
                    Need::SignIn(_) => Need::SignIn(None),
                    other => other,
                };
                assert_eq!(plain, expected, "{code}");
            }
            (Failure::Rejected { .. } | Failure::Unavailable { .. }, None) => {}
            (failure, _) => panic!("{code}: {failure:?}"),
        }
    }
}

#[tokio::test]
async fn the_claims_of_the_provider_are_kept_and_its_words_are_not() {
    let bench = bench(|_| ()).await;
    bench.simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.state = UserState::MfaRequired;
    });
    let (need, codes) = bench.need(&bench.assertion(|spec| spec)).await;
    let Need::SignIn(Some(claims)) = need else {
        panic!("no claims")
    };
    assert!(claims.as_str().contains("capolids"));
    assert_eq!(codes, [50_076]);
    // An answer's claims are an object of bounded length or nothing.
    for claims in ["[]", "x", &"9".repeat(5000)] {
        let body = serde_json::json!({ "error": "interaction_required", "claims": claims });
        let answer = Fault::Status {
            status: 400,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string().into(),
        };
        bench
            .simulator
            .fault(FaultPoint::Token, answer, Times::Once);
        let assertion = bench.assertion(|spec| spec.claim("jti", claims.len()));
        assert_eq!(bench.need(&assertion).await.0, Need::SignIn(None));
    }
}

#[tokio::test]
async fn one_callers_failure_is_remembered_for_nobody_else() {
    let bench = bench(|_| ()).await;
    let fault = || Fault::Aadsts(65_001);
    bench
        .simulator
        .fault(FaultPoint::Token, fault(), Times::Once);
    let (one, other) = (
        bench.assertion(|spec| spec.claim("jti", 1)),
        bench.assertion(|spec| spec.claim("jti", 2)),
    );
    assert_eq!(bench.need(&one).await.0, Need::Consent);
    assert!(bench.exchange.entry(&other).token().await.is_ok());
    assert_eq!(bench.need(&one).await.0, Need::Consent);
    assert_eq!(bench.requests(), 2, "remembered for the one");
    bench.clock.advance(Duration::from_secs(11));
    assert!(bench.exchange.entry(&one).token().await.is_ok());
}

#[tokio::test]
async fn only_so_many_callers_are_kept() {
    let bench = bench_for(100, |_| ()).await;
    let end = |life| bench.clock.since_epoch() + life;
    for caller in 0..400 {
        let assertion = Assertion::of(&format!("token-{caller}"), end(HOUR));
        drop(bench.exchange.entry(&assertion));
        assert!(bench.kept() <= 100);
    }
    assert_eq!(bench.kept(), 100);
}

#[tokio::test]
async fn none_is_kept_whose_assertion_has_ended() {
    let bench = bench(|_| ()).await;
    let of = |text: &str, life| Assertion::of(text, bench.clock.since_epoch() + life);
    drop(bench.exchange.entry(&of("long", HOUR)));
    for caller in 0..10 {
        let short = of(&format!("short-{caller}"), Duration::from_millis(1));
        drop(bench.exchange.entry(&short));
    }
    soon("the end of the short ones", || bench.kept() == 1).await;
}

#[tokio::test]
async fn a_challenge_is_answered_with_its_claims_once_for_all_who_were_challenged() {
    let bench = bench(|application| application.cae = true).await;
    let entry = bench.exchange.entry(&bench.assertion(|spec| spec));
    let token = entry.token().await.unwrap();
    assert_eq!(token.claims.as_ref().unwrap()["xms_cc"][0], "cp1");
    let demand = br#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let demand = Claims::of_json(demand).unwrap();
    let mut asked = Vec::new();
    for _ in 0..50 {
        let (entry, token, demand) = (Arc::clone(&entry), Arc::clone(&token), demand.clone());
        asked.push(tokio::spawn(async move {
            entry.renewed(&token, Some(&demand)).await.unwrap()
        }));
    }
    for one in asked {
        let Renewal::Different(token) = one.await.unwrap() else {
            panic!("the same token")
        };
        let claims = token.claims.as_ref().unwrap();
        assert_eq!(
            (&claims["acrs"][0], &claims["xms_cc"][0]),
            (&"c1".into(), &"cp1".into())
        );
    }
    assert_eq!(bench.requests(), 2);
    let other = entry.token().await.unwrap();
    let again = entry.renewed(&other, Some(&demand)).await.unwrap();
    assert!(matches!(again, Renewal::Same), "at most one in 30 s");
    assert_eq!(bench.requests(), 2);
}

#[tokio::test]
async fn no_caller_has_an_expiry_of_its_own_among_the_metrics() {
    let bench = bench(|_| ()).await;
    let entry = bench.exchange.entry(&bench.assertion(|spec| spec));
    entry.token().await.unwrap();
    let text = bench.metrics.text().unwrap();
    assert!(!text.contains("flowgate_token_expiry_timestamp_seconds{"));
    assert!(
        text.contains(r#"flowgate_token_requests_total{credential="as-the-caller",result="ok"} 1"#)
    );
}
