//! Ten thousand callers at once, and more callers than are kept: every one gets their own token, and nobody else's.

use super::*;
use testkit::Server;

const CROWD: usize = 10_000;

fn assertion(bench: &Bench, caller: usize) -> Assertion {
    Assertion::of(&format!("of-{caller}"), bench.clock.since_epoch() + HOUR)
}

/// A provider whose tokens say whose assertion they were given for.
async fn provider() -> Server {
    Server::start(|seen, _| {
        let token = format!("for-{}", seen.field("assertion").unwrap());
        testkit::json(
            200,
            &serde_json::json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": token }),
        )
    })
    .await
}

async fn bench_at(provider: &Server, callers: u64) -> Bench {
    bench_for(callers, |application| {
        application.token_url = provider.at("token");
    })
    .await
}

/// So many callers call at once, each so many times: what each got.
async fn called(bench: &Bench, callers: usize, times: usize) -> Vec<(usize, String)> {
    let mut calls = Vec::new();
    for caller in 0..callers {
        for _ in 0..times {
            let (exchange, own) = (Arc::clone(&bench.exchange), assertion(bench, caller));
            let call = async move {
                // As the token provider does.
                let entry = exchange.entry(&own);
                let token = entry.token().await.unwrap();
                token.authorization.to_str().unwrap().to_owned()
            };
            calls.push((caller, tokio::spawn(call)));
        }
    }
    let mut got = Vec::new();
    for (caller, call) in calls {
        got.push((caller, call.await.unwrap()));
    }
    got
}

fn all_their_own(got: &[(usize, String)]) {
    for (caller, token) in got {
        assert_eq!(*token, format!("Bearer for-of-{caller}"));
    }
}

/// How often each assertion was exchanged.
fn exchanges(provider: &Server) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for seen in provider.seen() {
        *times.entry(seen.field("assertion").unwrap()).or_default() += 1;
    }
    times
}

#[tokio::test]
async fn ten_thousand_callers_at_once_are_ten_thousand_exchanges_each_made_once() {
    let provider = provider().await;
    let bench = bench_at(&provider, CALLERS).await;
    all_their_own(&called(&bench, CROWD, 1).await);
    let times = exchanges(&provider);
    assert_eq!(times.len(), CROWD);
    assert!(times.values().all(|times| *times == 1));
    assert_eq!(bench.kept(), CALLERS);
    all_their_own(&called(&bench, CROWD, 1).await);
    assert_eq!(provider.seen().len(), CROWD, "all were kept");
}

#[tokio::test]
async fn ten_thousand_callers_who_call_thrice_at_once_have_an_exchange_each_where_all_are_kept() {
    let provider = provider().await;
    let bench = bench_at(&provider, 2 * CALLERS).await;
    all_their_own(&called(&bench, CROWD, 3).await);
    let times = exchanges(&provider);
    assert_eq!(times.len(), CROWD);
    assert!(times.values().all(|times| *times == 1));
}

#[tokio::test]
async fn callers_beyond_the_bound_are_exchanged_again_never_refused_and_never_anothers() {
    const MANY: usize = 2_000;
    let provider = provider().await;
    let bench = bench_at(&provider, 100).await;
    // Twenty times as many as are kept, at once: most entries are dropped while their callers still wait.
    all_their_own(&called(&bench, MANY, 1).await);
    assert_eq!(provider.seen().len(), MANY);
    assert_eq!(bench.kept(), 100);
    all_their_own(&called(&bench, MANY, 1).await);
    let again = provider.seen().len() - MANY;
    assert!(again > MANY / 2 && again <= MANY, "{again}");
}
