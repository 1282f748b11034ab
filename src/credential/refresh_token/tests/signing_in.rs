//! Who may replace whom in a store, what the address holds that a person opens, and how long a device is waited for. The command is
//! tried in `tests/it/sign_in.rs`.

use super::sign_in::{Browser, Error, SignIn, Signed};
use super::*;
use simulator::{Fault, FaultPoint, Times, grant};

fn signed(subject: &str) -> Signed {
    Signed::of(
        Some(Account {
            subject: subject.to_owned(),
            ..account()
        }),
        Secret::new("fresh".to_owned()),
        Clock::system().unix(),
    )
}

#[tokio::test]
async fn rule_24_another_account_is_refused_unless_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &context());
    assert!(sign_in.keep(&signed("one"), false).await.is_ok());
    // The same person again, under whatever name.
    assert!(sign_in.keep(&signed("one"), false).await.is_ok());
    let refused = sign_in.keep(&signed("two"), false).await.err().unwrap();
    assert!(matches!(refused, Error::OtherAccount));
    let fresh = Secret::new("fresh".to_owned());
    let nobody = Signed::of(None, fresh, Clock::system().unix());
    let refused = sign_in.keep(&nobody, false).await.err().unwrap();
    assert!(matches!(refused, Error::OtherAccount));
    let now = held(&settings).await.unwrap().unwrap();
    assert_eq!(now.account.unwrap().subject, "one");
    assert!(sign_in.keep(&signed("two"), true).await.is_ok());
    let now = held(&settings).await.unwrap().unwrap();
    assert_eq!(
        (now.account.unwrap().subject.as_str(), now.sequence),
        ("two", 3)
    );
}

#[tokio::test]
async fn rule_24_a_store_that_cannot_be_read_is_replaced_only_when_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &context());
    assert!(sign_in.keep(&signed("one"), false).await.is_ok());
    let whole = std::fs::read(file(&settings)).unwrap();
    std::fs::write(file(&settings), &whole[..whole.len() / 2]).unwrap();
    let refused = sign_in.rehearse(false).await.err().unwrap();
    assert!(matches!(refused, Error::Unknown(StoreError::Truncated)));
    assert!(sign_in.rehearse(true).await.is_ok());
    let refused = sign_in.keep(&signed("one"), false).await.err().unwrap();
    assert!(matches!(refused, Error::Unknown(StoreError::Truncated)));
    assert!(sign_in.keep(&signed("one"), true).await.is_ok());
    // Ahead of all that was written before: an old copy stays an old copy.
    std::fs::write(file(&settings), &whole).unwrap();
    assert_eq!(held(&settings).await.err(), Some(StoreError::RolledBack));
}

#[tokio::test]
async fn the_address_carries_a_fresh_challenge_and_nothing_secret() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &context());
    let query = |browser: &Browser| -> BTreeMap<String, String> {
        browser.url.query_pairs().into_owned().collect()
    };
    let (one, other) = (
        sign_in.browser("http://localhost:8400").unwrap(),
        sign_in.browser("http://localhost:8400").unwrap(),
    );
    let (first, second) = (query(&one), query(&other));
    assert!(one.url.path().ends_with("/oauth2/v2.0/authorize"));
    assert_eq!(first["redirect_uri"], "http://localhost:8400");
    assert_eq!(first["response_type"], "code");
    assert_eq!(first["code_challenge_method"], "S256");
    assert_eq!(first["code_challenge"].len(), 43);
    assert_eq!(
        first["scope"],
        format!("openid profile offline_access {SCOPE}")
    );
    assert!(!first.contains_key("client_secret") && !first.contains_key("code_verifier"));
    for fresh in ["state", "nonce", "code_challenge"] {
        assert_ne!(first[fresh], second[fresh]);
        assert!(first[fresh].len() >= 43);
    }
}

#[tokio::test]
async fn another_server_is_asked_for_consent_and_gets_its_own_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let mut settings = settings(&simulator, &folder.path().join("planner.token"));
    settings.application.entra = false;
    let audience = ("audience".to_owned(), "https://api.example".to_owned());
    settings.application.parameters.extend([audience]);
    let sign_in = SignIn::new(&settings, &ask(), &context());
    let browser = sign_in.browser("http://localhost:8400").unwrap();
    let query: BTreeMap<String, String> = browser.url.query_pairs().into_owned().collect();
    assert_eq!(query["audience"], "https://api.example");
    assert_eq!(query["prompt"], "consent");
}

/// A device's sign-in in front of a simulator that goes by the same clock.
async fn device(clock: &Clock) -> (tempfile::TempDir, Simulator, SignIn) {
    let folder = tempfile::tempdir().unwrap();
    let same = clock.clone();
    let options = Options {
        clock: Arc::new(move || same.unix()),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &with_clock(clock.clone()));
    (folder, simulator, sign_in)
}

/// Lets the time pass, a second whenever nobody has anything to do, until the work is done; how long that took.
async fn passing<T>(clock: &Clock, work: impl Future<Output = T>) -> (T, Duration) {
    let began = clock.since_epoch();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return (done, clock.since_epoch().saturating_sub(began)),
            () = tokio::time::sleep(Duration::from_millis(3)) => clock.advance(Duration::from_secs(1)),
        }
    }
}

#[tokio::test]
async fn a_device_is_polled_at_the_providers_pace_until_the_person_is_done() {
    let clock = Clock::manual(1_800_000_000);
    let (_folder, simulator, sign_in) = device(&clock).await;
    let device = sign_in.device().await.unwrap();
    // Too quick once, out of reach once: neither ends it.
    let point = || FaultPoint::Grant(grant::DEVICE_CODE.to_owned());
    let slower = Fault::Status {
        status: 400,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"error":"slow_down"}"#.into(),
    };
    simulator.fault(point(), slower, Times::Once);
    let waited = async {
        let typed = async {
            simulator
                .until(|simulator| simulator.token_requests().len() >= 3)
                .await;
            simulator.fault(point(), Fault::Unavailable, Times::Once);
            assert!(simulator.finish_device(&device.user_code, Some(directory::SERVICE_USER)));
        };
        tokio::join!(sign_in.wait(&device), typed).0
    };
    let (signed, took) = passing(&clock, waited).await;
    let account = signed.unwrap().account.unwrap();
    assert_eq!(account.subject, directory::SERVICE_USER);
    let polls = simulator.token_requests();
    assert!(polls.len() >= 5, "{}", polls.len());
    // The first after 5 seconds, each later one after 10.
    let least = Duration::from_secs(5 + 10 * (polls.len() as u64 - 1));
    assert!(took >= least, "{took:?} {}", polls.len());
}

#[tokio::test]
async fn a_device_that_nobody_types_into_is_given_up_when_its_code_ends() {
    let clock = Clock::manual(1_800_000_000);
    let (_folder, simulator, sign_in) = device(&clock).await;
    let device = sign_in.device().await.unwrap();
    let (ended, took) = passing(&clock, sign_in.wait(&device)).await;
    assert!(matches!(ended.err(), Some(Error::Late)));
    assert!(took <= Duration::from_secs(901), "{took:?}");
    assert!(simulator.token_requests().len() > 100);
}
