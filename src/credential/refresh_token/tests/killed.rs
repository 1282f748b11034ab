//! Rule 24: kill −9 at every step of a rotation.
//!
//! The child is this very test binary, whose environment says where the store and the provider are and at which step to kill
//! itself. The provider lives in the parent and survives, as Entra ID would.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use simulator::Rotation;

const STEPS: [Step; 9] = [
    Step::Locked,
    Step::Read,
    Step::PendingWrite,
    Step::Answered,
    Step::Written,
    Step::Synced,
    Step::Renamed,
    Step::FolderSynced,
    Step::Marked,
];

/// Deadly in the child: the position in [`STEPS`].
static DEADLY: AtomicUsize = AtomicUsize::new(usize::MAX);

fn die(step: Step) {
    if STEPS.get(DEADLY.load(Ordering::SeqCst)) == Some(&step) {
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        std::thread::park();
    }
}

const STORE: &str = "FLOWGATE_TEST_STORE";
const PROVIDER: &str = "FLOWGATE_TEST_PROVIDER";
const STEP: &str = "FLOWGATE_TEST_STEP";

/// Not a test by itself: what the parent starts and what kills itself.
#[tokio::test]
async fn child() {
    let (Ok(store), Ok(provider), Ok(step)) = (
        std::env::var(STORE),
        std::env::var(PROVIDER),
        std::env::var(STEP),
    ) else {
        return;
    };
    DEADLY.store(step.parse().unwrap(), Ordering::SeqCst);
    let settings = at(Path::new(&store), &provider);
    let store = RecordStore::File(Store::watched(file(&settings), die));
    let source = RefreshToken::new(&settings, &ask(), &context(), store);
    assert!(source.fetch(Wish::default()).await.is_ok());
}

fn at(store: &Path, provider: &str) -> RefreshTokenSettings {
    RefreshTokenSettings {
        credential: "planner".into(),
        scope: Some(ask()),
        store: StoreLocation::File(store.to_path_buf()),
        store_key: Value::Fixed(Secret::new(KEY.to_owned())),
        sign_in: sign_in::Endpoints::default(),
        application: Application {
            token_url: provider.parse().unwrap(),
            client_id: directory::PUBLIC_APP.to_owned(),
            proof: Proof::Nothing,
            parameters: BTreeMap::new(),
            entra: true,
            cae: false,
        },
    }
}

/// Starts a child that renews once and kills itself at this step.
async fn killed_at(settings: &RefreshTokenSettings, step: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "credential::refresh_token::tests::killed::child"])
        .env(STORE, file(settings))
        .env(PROVIDER, settings.application.token_url.as_str())
        .env(STEP, step.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = tokio::task::spawn_blocking(move || child.status());
    status.await.unwrap().unwrap().signal() == Some(9)
}

async fn rounds(rotation: Rotation, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    simulator.rotation(rotation);
    let settings = at(
        &folder.path().join("planner.token"),
        &simulator.token_url(directory::DEMO_TENANT, true),
    );
    put(&settings, &record(signed_in(&simulator))).await;
    for round in 0..rounds {
        for (number, step) in STEPS.into_iter().enumerate() {
            assert!(killed_at(&settings, number).await, "{step:?} is passed");
            let opened = held(&settings).await;
            assert!(
                matches!(opened, Ok(Some(_))),
                "{rotation:?} {round} {step:?}: {:?}",
                opened.err()
            );
            // With the child the answer is lost. Where each token is taken once, precisely that needs a person.
            let lost = [Step::Answered, Step::Written, Step::Synced].contains(&step);
            match fetched(&settings).await {
                Ok(_) => assert!(rotation == Rotation::Lenient || !lost, "{step:?}"),
                Err(error) => {
                    assert!(matches!(error.failure, Failure::SignInRequired { .. }));
                    assert_eq!(reason(&error), "sign_in_ended");
                    assert!(rotation == Rotation::Strict && lost, "{round} {step:?}");
                    let sequence = held(&settings).await.unwrap().unwrap().sequence;
                    let again = Record {
                        sequence: sequence + 1,
                        ..record(signed_in(&simulator))
                    };
                    put(&settings, &again).await;
                    assert!(fetched(&settings).await.is_ok());
                }
            }
            let leftovers = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(leftovers, 2, "the store and its lock");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_24_killed_at_every_step_the_store_is_whole_and_the_credential_usable() {
    rounds(Rotation::Lenient, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_24_killed_where_reuse_is_detected_it_is_usable_or_needs_a_sign_in_and_says_so() {
    rounds(Rotation::Strict, 12).await;
}
