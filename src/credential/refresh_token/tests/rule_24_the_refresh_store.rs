//! Rule 24: AEAD with a 32-byte key, bound to credential, tenant, client, scope and format; 0600, no symlinks, a separate lock file;
//! temporary file, fsync, rename, fsync; the previous token kept until the new one is used. Killing it has a file of its own
//! (`killed`), and so has the other account (`signing_in`).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

async fn filled() -> (tempfile::TempDir, Simulator, RefreshTokenSettings) {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    put(&settings, &record(Secret::new("the-token".to_owned()))).await;
    (folder, simulator, settings)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_is_nobody_elses_and_shows_nothing() {
    let (folder, _simulator, settings) = filled().await;
    assert_eq!(mode(file(&settings)), 0o600);
    assert_eq!(mode(&folder.path().join("planner.token.lock")), 0o600);
    let bytes = fs::read(file(&settings)).unwrap();
    for word in ["the-token", directory::SERVICE_USER, "planner", "sequence"] {
        assert!(
            !bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes())
        );
    }
    let held = held(&settings).await.unwrap().unwrap();
    assert_eq!(held.newest.expose(), "the-token");
    assert_eq!(held.account, Some(account()));
}

#[tokio::test]
async fn every_input_it_is_bound_to_and_the_key_are_distinguished() {
    let (_folder, _simulator, settings) = filled().await;
    let changed = |change: &dyn Fn(&mut RefreshTokenSettings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        settings
    };
    for (other, error) in [
        (
            changed(&|one| one.credential = "planne".into()),
            StoreError::Foreign,
        ),
        (
            changed(&|one| one.application.client_id.push('r')),
            StoreError::Foreign,
        ),
        (
            changed(&|one| {
                one.application
                    .token_url
                    .set_path("/other/oauth2/v2.0/token");
            }),
            StoreError::Foreign,
        ),
        (changed(&|one| one.scope = None), StoreError::Foreign),
        (
            changed(&|one| one.store_key = Value::Fixed(Secret::new(KEY.replace("00", "01")))),
            StoreError::WrongKey,
        ),
    ] {
        assert_eq!(held(&other).await.err(), Some(error));
    }
    // The same key in another spelling.
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let same = changed(&|one| one.store_key = Value::Fixed(Secret::new(base64.to_owned())));
    assert!(held(&same).await.is_ok());
}

#[tokio::test]
async fn a_file_swapped_with_another_credentials_is_refused_and_stays() {
    let (folder, _simulator, settings) = filled().await;
    let mut other = settings.clone();
    other.credential = "another".into();
    other.store = StoreLocation::File(folder.path().join("another.token"));
    put(&other, &record(Secret::new("another-token".to_owned()))).await;
    fs::copy(file(&other), file(&settings)).unwrap();
    let before = fs::read(file(&settings)).unwrap();
    assert_eq!(
        reason(&fetched(&settings).await.err().unwrap()),
        "store_of_another"
    );
    assert_eq!(fs::read(file(&settings)).unwrap(), before);
}

#[tokio::test]
async fn an_older_file_put_back_is_refused() {
    let (_folder, _simulator, settings) = filled().await;
    let old = fs::read(file(&settings)).unwrap();
    let next = Record {
        sequence: 2,
        ..record(Secret::new("newer".to_owned()))
    };
    put(&settings, &next).await;
    fs::write(file(&settings), &old).unwrap();
    assert_eq!(held(&settings).await.err(), Some(StoreError::RolledBack));
    let error = fetched(&settings).await.err().unwrap();
    assert_eq!(reason(&error), "store_rolled_back");
    assert!(matches!(error.failure, Failure::SignInRequired { .. }));
    // A copy of the whole folder, as a volume's snapshot is one, is not older than itself.
    let lock = file(&settings).with_extension("token.lock");
    fs::write(lock, format!("{:020}\n", 1)).unwrap();
    assert!(held(&settings).await.is_ok());
}

#[tokio::test]
async fn every_cut_and_every_changed_byte_is_found() {
    let (_folder, _simulator, settings) = filled().await;
    let whole = fs::read(file(&settings)).unwrap();
    let seal = seal(&settings).await;
    for length in 0..whole.len() {
        let error = seal.open(&whole[..length]).err();
        assert_eq!(error, Some(StoreError::Truncated), "{length}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let error = seal.open(&bytes).err().unwrap();
        assert!(error.fixed_by_sign_in(), "{at} {error:?}");
    }
    let longer = [whole.as_slice(), b"x"].concat();
    assert_eq!(seal.open(&longer).err(), Some(StoreError::Damaged));
    fs::write(file(&settings), &whole[..40]).unwrap();
    assert_eq!(
        reason(&fetched(&settings).await.err().unwrap()),
        "store_truncated"
    );
    fs::write(file(&settings), "").unwrap();
    assert_eq!(held(&settings).await.err(), Some(StoreError::Truncated));
}

#[tokio::test]
async fn links_folders_and_pipes_in_its_place_are_refused() {
    let (folder, _simulator, settings) = filled().await;
    let moved = folder.path().join("elsewhere");
    fs::rename(file(&settings), &moved).unwrap();
    symlink(&moved, file(&settings)).unwrap();
    assert_eq!(held(&settings).await.err(), Some(StoreError::Link));
    fs::remove_file(file(&settings)).unwrap();
    fs::create_dir(file(&settings)).unwrap();
    assert_eq!(held(&settings).await.err(), Some(StoreError::NotAFile));
    fs::remove_dir(file(&settings)).unwrap();
    // As a command: the system call is not everywhere where this is tested.
    let mut pipe = std::process::Command::new("mkfifo");
    assert!(pipe.arg(file(&settings)).status().unwrap().success());
    assert_eq!(held(&settings).await.err(), Some(StoreError::NotAFile));
    fs::remove_file(file(&settings)).unwrap();
    assert!(held(&settings).await.unwrap().is_none());
    // The lock and the temporary file neither.
    let lock = folder.path().join("planner.token.lock");
    fs::remove_file(&lock).unwrap();
    let target = folder.path().join("target");
    fs::write(&target, "untouched").unwrap();
    symlink(&target, &lock).unwrap();
    assert_eq!(held(&settings).await.err(), Some(StoreError::Link));
    fs::remove_file(&lock).unwrap();
    symlink(&target, folder.path().join("planner.token.new")).unwrap();
    put(&settings, &record(Secret::new("t".to_owned()))).await;
    assert_eq!(fs::read(&target).unwrap(), b"untouched");
    assert!(held(&settings).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_open_to_others_is_closed_before_it_is_read() {
    let (_folder, _simulator, settings) = filled().await;
    fs::set_permissions(file(&settings), fs::Permissions::from_mode(0o664)).unwrap();
    assert!(held(&settings).await.is_ok());
    assert_eq!(mode(file(&settings)), 0o600);
}

#[tokio::test]
async fn what_cannot_be_written_is_found_out_before_the_provider_is_asked() {
    let (folder, simulator, settings) = filled().await;
    put(&settings, &record(signed_in(&simulator))).await;
    // A folder in the temporary file's place: as good as a volume that takes nothing more, whoever runs this.
    fs::create_dir(folder.path().join("planner.token.new")).unwrap();
    let error = fetched(&settings).await.err().unwrap();
    assert!(matches!(error.failure, Failure::Unusable { .. }));
    let nowhere = RefreshTokenSettings {
        store: StoreLocation::File(folder.path().join("missing/planner.token")),
        ..settings
    };
    assert_eq!(
        reason(&fetched(&nowhere).await.err().unwrap()),
        "store_folder_missing"
    );
    assert_eq!(simulator.token_requests().len(), 0);
}

#[tokio::test]
async fn a_lock_file_that_was_replaced_meanwhile_is_not_a_lock() {
    let (folder, _simulator, settings) = filled().await;
    let store = Store::new(file(&settings));
    let first = store.lock().unwrap().unwrap();
    assert!(store.lock().unwrap().is_none(), "one at a time");
    fs::remove_file(folder.path().join("planner.token.lock")).unwrap();
    // Whoever opens it now makes another one; what was locked is no longer the one that counts.
    let second = store.lock().unwrap();
    assert!(second.is_some());
    drop((first, second));
    assert!(store.lock().unwrap().is_some());
}

#[test]
fn a_key_is_32_bytes_and_not_all_zeros() {
    let key = |text: &str| Key::parse(&Secret::new(text.to_owned())).is_some();
    assert!(key(KEY) && key(&KEY.to_uppercase()) && key(&format!(" {KEY} ")));
    assert!(key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"));
    for bad in [
        "",
        "secret",
        &KEY[..62],
        &format!("{KEY}00"),
        &"0".repeat(64),
        &"zz".repeat(32),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
    ] {
        assert!(!key(bad), "{bad}");
    }
}
