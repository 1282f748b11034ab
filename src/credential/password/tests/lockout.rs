//! A refused password does not lock the account, however many ask.

use std::sync::atomic::{AtomicU16, Ordering};

use super::*;

/// What the provider does.
const WRONG: u16 = 0;
const RIGHT: u16 = 1;
const CLIENT: u16 = 2;
const PAGE: u16 = 3;
const DOWN: u16 = 4;

struct Scene {
    provider: Server,
    state: Arc<AtomicU16>,
    clock: Clock,
    token_cache: TokenCache,
}

async fn scene(first: u16) -> Scene {
    let state = Arc::new(AtomicU16::new(first));
    let shown = Arc::clone(&state);
    let provider = Server::start(move |seen, _| {
        let right = seen.field("password").as_deref() == Some("right");
        let refused = |status, error, code: u32| {
            testkit::json(status, &json!({"error": error, "error_codes": [code]}))
        };
        match shown.load(Ordering::SeqCst) {
            _ if right => token(),
            RIGHT => token(),
            CLIENT => refused(401, "invalid_client", 7_000_215),
            PAGE => (400, Vec::new(), "<html>sign in</html>".into()),
            DOWN => (503, Vec::new(), String::new()),
            _ => refused(400, "invalid_grant", 50_126),
        }
    })
    .await;
    let clock = Clock::manual(START);
    let token_cache = TokenCache::new(Deps {
        secrets: crate::vault::Secrets::default(),
        clock: clock.clone(),
        random: Random::from_fn(|bytes| bytes.fill(0)),
        metrics: Metrics::new().unwrap(),
    });
    Scene {
        provider,
        state,
        clock,
        token_cache,
    }
}

impl Scene {
    fn entry(&self, password: &str, ask: &Ask, outbound: &Outbound) -> Arc<TokenCacheEntry> {
        let mut own = settings(self.provider.at("token"), Proof::Nothing);
        own.password = value(password);
        let settings = Credential {
            name: "old".into(),
            kind: Kind::Password(own),
            ask: None,
            expires: None,
        };
        self.token_cache.entry(&settings, ask, outbound)
    }

    fn tries(&self) -> usize {
        self.provider.seen().len()
    }

    /// Ten callers at every entry, then a step of the clock, so many times.
    async fn storm(&self, token_cache: &[Arc<TokenCacheEntry>], steps: u64, seconds: u64) {
        for _ in 0..steps {
            for entry in token_cache {
                for _ in 0..10 {
                    let _ = entry.token().await;
                }
            }
            self.clock.advance(Duration::from_secs(seconds));
            // Whatever the keeper begins now, a caller of the next step waits for.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_storm_of_callers_sends_a_wrong_password_once_in_ten_minutes_and_then_ever_more_rarely() {
    let scene = scene(WRONG).await;
    let entry = scene.entry("pass", &graph(), &Outbound::for_tests());
    let failure = entry.token().await.unwrap_err();
    assert_eq!(failure.codes(), [50_126]);
    assert_eq!(entry.health().error.unwrap().next_try, START + 600);
    let token_cache = [entry];
    scene.storm(&token_cache, 600, 1).await;
    assert_eq!(scene.tries(), 1, "within the first ten minutes");
    scene.storm(&token_cache, 1200, 1).await;
    assert_eq!(scene.tries(), 2, "within the twenty minutes after");
    scene.storm(&token_cache, 2400, 1).await;
    assert_eq!(scene.tries(), 3, "within the forty minutes after");
    scene.storm(&token_cache, 24 * 60, 60).await;
    let day = scene.tries() - 3;
    assert!((20..=25).contains(&day), "every hour for a day: {day}");
}

#[tokio::test]
async fn other_audiences_and_a_reload_with_another_way_out_do_not_send_it_again() {
    let scene = scene(WRONG).await;
    let first = scene.entry("pass", &graph(), &Outbound::for_tests());
    assert!(first.token().await.is_err());
    let flows = Ask::Scope("https://service.flow.microsoft.com//.default".into());
    let second = scene.entry("pass", &flows, &Outbound::for_tests());
    assert_eq!(second.token().await.unwrap_err().codes(), [50_126]);
    let reloaded = scene.entry("pass", &graph(), &Outbound::for_tests());
    assert!(Arc::ptr_eq(&first, &reloaded));
    assert!(reloaded.token().await.is_err());
    scene.storm(&[first, second, reloaded], 500, 1).await;
    assert_eq!(scene.tries(), 1);
}

#[tokio::test]
async fn a_corrected_password_is_tried_at_once_and_a_success_ends_the_memory() {
    let scene = scene(WRONG).await;
    let wrong = scene.entry("pass", &graph(), &Outbound::for_tests());
    assert!(wrong.token().await.is_err());
    let right = scene.entry("right", &graph(), &Outbound::for_tests());
    assert!(right.token().await.is_ok());
    assert_eq!(scene.tries(), 2);
    // Unlocked at the provider: the next attempt succeeds, and a later refusal starts from ten minutes again.
    let scene = self::scene(WRONG).await;
    let entry = scene.entry("pass", &graph(), &Outbound::for_tests());
    assert!(entry.token().await.is_err());
    scene.state.store(RIGHT, Ordering::SeqCst);
    scene.clock.advance(Duration::from_mins(10));
    assert!(entry.token().await.is_ok());
    drop(entry);
    scene.state.store(WRONG, Ordering::SeqCst);
    let again = scene.entry("pass", &graph(), &Outbound::for_tests());
    assert!(again.token().await.is_err());
    assert_eq!(again.health().error.unwrap().next_try, START + 1200);
}

#[tokio::test]
async fn a_refused_application_and_an_outage_are_not_held_against_the_password_an_unreadable_answer_is()
 {
    for (state, seconds) in [(CLIENT, 300), (DOWN, 1), (PAGE, 600)] {
        let scene = scene(state).await;
        let entry = scene.entry("pass", &graph(), &Outbound::for_tests());
        assert!(entry.token().await.is_err());
        let next = entry.health().error.unwrap().next_try;
        assert!(next <= START + seconds, "{state}: {next}");
        assert!(next + 1 >= START + seconds, "{state}: {next}");
    }
}

#[tokio::test]
async fn a_clock_set_back_does_not_silence_a_credential() {
    let scene = scene(WRONG).await;
    let entry = scene.entry("pass", &graph(), &Outbound::for_tests());
    assert!(entry.token().await.is_err());
    scene.state.store(RIGHT, Ordering::SeqCst);
    scene.clock.set(START - 86_400);
    assert!(entry.token().await.is_ok());
}
