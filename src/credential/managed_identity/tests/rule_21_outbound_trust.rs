//! Rule 21: a challenge never chooses what is read, and plain http stays on the platform.

use std::path::Path;

use super::*;

/// An agent that challenges with this `WWW-Authenticate`, and gives a token to whoever answers with `key`.
async fn agent(challenges: Vec<String>) -> Server {
    Server::start(move |seen, _| match seen.header("authorization") {
        Some("Basic the-key") => token(),
        Some(_) => (403, Vec::new(), String::new()),
        None => {
            let lines = challenges.iter().cloned();
            let headers = lines.map(|line| ("www-authenticate", line)).collect();
            (401, headers, String::new())
        }
    })
    .await
}

async fn asked(challenges: &[String], keys: &Path) -> (Result<Grant, AttemptError>, usize) {
    let provider = agent(challenges.to_vec()).await;
    let platform = Platform::Arc {
        endpoint: provider.at("metadata/identity/oauth2/token"),
        keys: keys.to_owned(),
    };
    let outcome = fetched(platform, Identity::System).await;
    (outcome, provider.seen().len())
}

#[tokio::test]
async fn the_agents_key_is_read_where_the_challenge_names_one_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a1.key"), "the-key\n").unwrap();
    let path = folder.path().join("a1.key");
    for challenge in [
        format!("Basic realm={}", path.display()),
        format!("basic Realm=\"{}\"", path.display()),
    ] {
        let (outcome, requests) = asked(&[challenge], folder.path()).await;
        assert!(outcome.is_ok(), "{:?}", outcome.err());
        assert_eq!(requests, 2);
    }
}

#[tokio::test]
async fn nothing_else_a_challenge_names_is_read_or_sent() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("tokens");
    std::fs::create_dir_all(keys.join("below")).unwrap();
    for (name, text) in [
        ("a.key", "the-key".to_owned()),
        ("a.txt", "the-key".to_owned()),
        ("below/a.key", "the-key".to_owned()),
        ("../outside.key", "the-key".to_owned()),
        ("large.key", "k".repeat(4097)),
        ("binary.key", "two\nlines".to_owned()),
    ] {
        std::fs::write(keys.join(name), text).unwrap();
    }
    let outside = folder.path().join("outside.key");
    std::os::unix::fs::symlink(&outside, keys.join("link.key")).unwrap();
    std::fs::create_dir(keys.join("folder.key")).unwrap();
    let realm = |path: &str| format!("Basic realm={}/{path}", keys.display());
    for challenges in [
        vec![],
        vec![realm("a.txt")],
        vec![realm("below/a.key")],
        vec![realm("../outside.key")],
        vec![realm("below/../a.key")],
        vec![realm("none.key")],
        vec![realm("large.key")],
        vec![realm("binary.key")],
        vec![realm("link.key")],
        vec![realm("folder.key")],
        vec![format!("Basic realm={}", outside.display())],
        vec!["Basic realm=a.key".into()],
        vec!["Basic realm=/etc/passwd".into()],
        vec!["Basic realm=".into()],
        vec!["Basic".into()],
        vec![realm("a.key").replace("Basic", "Bearer")],
        vec![realm("a.key").replace("realm", "file")],
        vec![realm("a.key"), realm("a.key")],
    ] {
        let (outcome, requests) = asked(&challenges, &keys).await;
        let error = outcome.err().unwrap();
        assert_eq!(error.failure.word(), "identity_challenge", "{challenges:?}");
        assert_eq!(requests, 1, "{challenges:?}");
    }
}

#[tokio::test]
async fn a_key_the_agent_refuses_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.key");
    std::fs::write(&path, "an-old-key").unwrap();
    let challenge = format!("Basic realm={}", path.display());
    let (outcome, requests) = asked(&[challenge], folder.path()).await;
    assert_eq!(outcome.err().unwrap().failure.word(), "rejected");
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn plain_http_goes_to_addresses_of_the_platform_only_and_nothing_through_the_proxy() {
    for host in ["http://8.8.8.8/", "http://identity.example/"] {
        let platform = Platform::AppService {
            endpoint: host.parse().unwrap(),
            header: Secret::new("h".into()),
        };
        let error = fetched(platform, Identity::System).await.err().unwrap();
        let Failure::Unavailable { reason, .. } = error.failure else {
            panic!("{host}")
        };
        assert_eq!(reason.word(), "refused_address", "{host}");
    }
    let provider = Server::start(|_, _| token()).await;
    let mut named = provider.at("msi/token");
    named.set_host(Some("localhost")).unwrap();
    let platform = Platform::AppService {
        endpoint: named,
        header: Secret::new("h".into()),
    };
    // Container Apps and Azure Arc say `localhost`; the proxy of these tests answers nobody.
    fetched(platform, Identity::System).await.ok().unwrap();
}
