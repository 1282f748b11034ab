//! Reading from a vault over real sockets: a canned one, which answers as facts B4 say.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;
use crate::client::Outbound;
use crate::clock::{Clock, Random};
use crate::metrics::{About, Metrics};
use crate::secret::Secret;

const AUDIENCE: &str = "https://vault.azure.net";

/// What the canned vault does next, and what it has seen.
#[derive(Default)]
struct Canned {
    status: u16,
    body: String,
    challenge: Option<String>,
    /// Answers whoever asks.
    open: bool,
    tokens: Vec<String>,
    paths: Vec<String>,
}

type Shared = Arc<Mutex<Canned>>;

async fn vault(canned: Shared) -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let canned = Arc::clone(&canned);
            let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let mut canned = canned.lock().unwrap();
                let token = request.headers().get(AUTHORIZATION).cloned();
                canned.paths.push(request.uri().to_string());
                let answer = match token {
                    None if !canned.open => {
                        let challenge = canned.challenge.clone().unwrap_or_else(|| {
                            format!(r#"Bearer authorization="https://login.example/t", resource="{AUDIENCE}""#)
                        });
                        Response::builder()
                            .status(401)
                            .header(WWW_AUTHENTICATE, challenge)
                            .body(Full::default())
                    }
                    token => {
                        let token = token.map(|token| token.to_str().unwrap().to_owned());
                        canned.tokens.extend(token);
                        let body = Full::new(Bytes::from(canned.body.clone()));
                        Response::builder().status(canned.status).body(body)
                    }
                };
                async move { answer }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    url.parse().unwrap()
}

#[derive(Default)]
struct Purse {
    refused: Mutex<Vec<u64>>,
    empty: bool,
}

impl Tokens for Purse {
    fn token(
        &self,
    ) -> Pin<Box<dyn Future<Output = Result<VaultToken, crate::diagnosis::Reason>> + Send + '_>>
    {
        Box::pin(async {
            if self.empty {
                return Err(crate::diagnosis::Reason::Rejected);
            }
            Ok(VaultToken {
                authorization: HeaderValue::from_static("Bearer reader"),
                expires: Some(4_000_000_000),
                generation: 7,
            })
        })
    }

    fn refused(&self, token: &VaultToken) {
        self.refused.lock().unwrap().push(token.generation);
    }
}

fn value(text: &str) -> String {
    format!(
        r#"{{"value":"{text}","id":"https://a.vault.azure.net/secrets/s/1","attributes":{{"enabled":true,"exp":1900000000}}}}"#
    )
}

fn error(code: &str, inner: &str) -> String {
    format!(
        r#"{{"error":{{"code":"{code}","message":"CANARY","innererror":{{"code":"{inner}"}}}}}}"#
    )
}

struct Stage {
    canned: Shared,
    purse: Arc<Purse>,
    secrets: Secrets,
    address: Address,
    clock: Clock,
    metrics: Metrics,
}

impl Stage {
    async fn new(status: u16, body: String) -> Self {
        Self::with(
            Canned {
                status,
                body,
                ..Canned::default()
            },
            Purse::default(),
        )
        .await
    }

    async fn with(canned: Canned, purse: Purse) -> Self {
        let canned = Arc::new(Mutex::new(canned));
        let address = Address {
            vault: vault(Arc::clone(&canned)).await,
            name: "s".into(),
            version: None,
            reader: "cluster".into(),
            audience: AUDIENCE.into(),
        };
        let (clock, metrics, purse) = (
            Clock::manual(1_795_305_600),
            Metrics::new().unwrap(),
            Arc::new(purse),
        );
        let secrets = Secrets::new(Deps {
            clock: clock.clone(),
            random: Random::system(),
            metrics: metrics.clone(),
        });
        let stage = Self {
            canned,
            purse,
            secrets,
            address,
            clock,
            metrics,
        };
        stage.update_readers();
        stage
    }

    fn reader(&self) -> Reader {
        Reader {
            tokens: Arc::clone(&self.purse) as _,
            outbound: Outbound::for_tests(),
        }
    }

    fn update_readers(&self) {
        let owner = ("flows".into(), self.address.clone());
        let used = std::slice::from_ref(&self.address);
        self.secrets
            .update_readers(Duration::from_mins(5), &[owner], used, &[]);
        self.secrets.provide("cluster".into(), self.reader());
        self.secrets.start();
        self.secrets.forget();
    }

    /// A configuration that reads nothing.
    fn abandon(&self) {
        self.secrets
            .update_readers(Duration::from_mins(5), &[], &[], &[]);
        self.secrets.start();
    }

    /// What the expiry gauge shows.
    fn expiry(&self) -> Option<String> {
        let text = self.metrics.text().unwrap();
        let series = "flowgate_secret_expiry_timestamp_seconds{credential=\"flows\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map(str::to_owned)
    }

    fn reads(&self) -> usize {
        self.canned.lock().unwrap().tokens.len()
    }

    async fn read(&self) -> Result<String, VaultError> {
        let value = Value::Vault(self.address.clone());
        self.secrets
            .read(&value)
            .await
            .map(|secret| secret.expose().clone())
    }

    fn answers(&self, status: u16, body: String) {
        let mut canned = self.canned.lock().unwrap();
        (canned.status, canned.body) = (status, body);
    }

    /// Waits until something holds that another task brings about.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..500 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come about");
    }

    fn failed(&self) -> Option<&'static str> {
        self.secrets.health().first()?.error.map(VaultError::word)
    }
}

#[tokio::test]
async fn the_latest_version_is_read_with_the_readers_token_after_a_challenge() {
    let stage = Stage::new(200, value("s3cret~+/&%=")).await;
    assert_eq!(stage.read().await.as_deref(), Ok("s3cret~+/&%="));
    let canned = stage.canned.lock().unwrap();
    assert_eq!(canned.tokens, ["Bearer reader"]);
    assert!(
        canned
            .paths
            .iter()
            .all(|path| path.starts_with("/secrets/s/?api-version=7.6")
                || path.starts_with("/secrets/s?api-version=7.6")),
        "{:?}",
        canned.paths
    );
    drop(canned);
    let text = stage.metrics.text().unwrap();
    assert!(
        text.contains(r#"flowgate_secret_expiry_timestamp_seconds{credential="flows"} 1900000000"#),
        "{text}"
    );
    assert!(
        text.contains(r#"flowgate_secret_reads_total{result="ok",source="key_vault"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn every_way_a_vault_can_refuse_ends_in_its_fixed_word() {
    for (status, body, word) in [
        (401, error("Unauthorized", ""), "unauthorized"),
        (403, error("Forbidden", "ForbiddenByRbac"), "forbidden"),
        (403, error("Forbidden", "AccessDenied"), "forbidden"),
        (403, error("Forbidden", "ForbiddenByFirewall"), "firewall"),
        (403, error("Forbidden", "SecretDisabled"), "disabled"),
        (403, "no JSON".into(), "forbidden"),
        (404, error("SecretNotFound", ""), "not_found"),
        (404, error("NotFound", ""), "answer_invalid"),
        (404, "<html>".into(), "answer_invalid"),
        (429, error("Throttled", ""), "throttled"),
        (503, String::new(), "vault_error"),
        (200, "{}".into(), "answer_invalid"),
        (200, value(" "), "answer_invalid"),
        (200, "no JSON".into(), "answer_invalid"),
        (400, error("BadParameter", ""), "answer_invalid"),
        (302, String::new(), "redirected"),
    ] {
        let stage = Stage::new(status, body).await;
        assert_eq!(stage.read().await.unwrap_err().word(), word, "{status}");
        let tokens = stage.canned.lock().unwrap().tokens.len();
        assert!((1..=2).contains(&tokens), "{status}: {tokens} attempts");
        let refused = stage.purse.refused.lock().unwrap().clone();
        assert_eq!(!refused.is_empty(), status == 401);
    }
    let empty = Purse {
        empty: true,
        ..Purse::default()
    };
    let stage = Stage::with(Canned::default(), empty).await;
    assert_eq!(
        stage.read().await,
        Err(VaultError::Token(crate::diagnosis::Reason::Rejected))
    );
}

#[tokio::test]
async fn the_last_good_value_stays_and_a_new_version_is_taken_up() {
    let stage = Stage::new(200, value("first")).await;
    assert_eq!(stage.read().await.as_deref(), Ok("first"));
    stage.answers(503, String::new());
    stage.clock.advance(Duration::from_mins(6));
    stage
        .until(|stage| stage.failed() == Some("vault_error"))
        .await;
    assert_eq!(stage.read().await.as_deref(), Ok("first"));
    stage.answers(200, value("second"));
    stage.clock.advance(Duration::from_secs(2));
    stage.until(|stage| stage.failed().is_none()).await;
    assert_eq!(stage.read().await.as_deref(), Ok("second"));
}

#[tokio::test]
async fn a_refused_value_is_read_again_at_once_but_not_twice_in_half_a_minute() {
    let stage = Stage::new(200, value("old")).await;
    let old = Secret::new(stage.read().await.unwrap());
    let value_of = Value::Vault(stage.address.clone());
    stage.answers(200, value("new"));
    assert!(
        stage.secrets.newer(&value_of, &old).await.is_none(),
        "it was read a moment ago"
    );
    stage.clock.advance(Duration::from_secs(31));
    let new = stage.secrets.newer(&value_of, &old).await.unwrap();
    assert_eq!(new.expose(), "new");
    stage.clock.advance(Duration::from_secs(31));
    assert!(stage.secrets.newer(&value_of, &new).await.is_none());
    let fixed = Value::Fixed(Secret::new("x".to_owned()));
    assert!(
        stage
            .secrets
            .newer(&fixed, &Secret::new("x".to_owned()))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_secret_nobody_uses_any_more_is_forgotten_when_the_new_configuration_is_in_force() {
    let stage = Stage::new(200, value("v")).await;
    stage.read().await.unwrap();
    stage.abandon();
    assert_eq!(stage.read().await.as_deref(), Ok("v"), "calls under way");
    stage.secrets.forget();
    assert!(stage.secrets.health().is_empty());
    assert_eq!(stage.read().await, Err(VaultError::NoReader));
    assert!(stage.secrets.health().is_empty(), "nothing reads it again");
    stage.update_readers();
    assert_eq!(stage.read().await.as_deref(), Ok("v"));
}

#[tokio::test]
async fn a_reload_tries_at_once_again_what_could_not_be_read() {
    let stage = Stage::new(403, error("Forbidden", "ForbiddenByRbac")).await;
    assert_eq!(stage.read().await, Err(VaultError::Forbidden));
    stage.answers(200, value("v"));
    stage.update_readers();
    stage.until(|stage| stage.failed().is_none()).await;
    assert_eq!(stage.read().await.as_deref(), Ok("v"));
}

#[tokio::test]
async fn the_gauge_shows_the_earliest_date_that_is_known_and_ends_with_it() {
    let stage = Stage::new(200, value("first")).await;
    // As the configuration states it.
    let dates = &stage.metrics.secret_expiry;
    let stated = dates.reporter(&"flows".into(), About::Secret);
    stated.report(Some(2_000_000_000));
    stage.read().await.unwrap();
    assert_eq!(stage.expiry().as_deref(), Some("1900000000"));
    let endless = r#"{"value":"second","id":"https://a.vault.azure.net/secrets/s/2","attributes":{"enabled":true}}"#;
    stage.answers(200, endless.into());
    stage.clock.advance(Duration::from_mins(6));
    let only_stated = |stage: &Stage| stage.expiry().as_deref() == Some("2000000000");
    stage.until(only_stated).await;
    stage.answers(200, value("third"));
    stage.clock.advance(Duration::from_mins(6));
    let with_date = |stage: &Stage| stage.expiry().as_deref() == Some("1900000000");
    stage.until(with_date).await;
    stage.update_readers();
    drop(stated);
    assert_eq!(stage.expiry().as_deref(), Some("1900000000"));
    stage.answers(200, endless.into());
    stage.clock.advance(Duration::from_mins(6));
    stage.until(|stage| stage.expiry().is_none()).await;
}

mod rule_21_outbound_trust {
    use super::*;

    #[tokio::test]
    async fn a_challenge_may_name_the_audience_as_resource_or_as_scope() {
        for challenge in [
            r#"Bearer authorization="https://login.example/t", resource="https://vault.azure.net""#,
            r#"Bearer authorization="https://login.example/t", scope="https://vault.azure.net/.default""#,
        ] {
            let canned = Canned {
                status: 200,
                body: value("v"),
                challenge: Some(challenge.to_owned()),
                ..Canned::default()
            };
            let stage = Stage::with(canned, Purse::default()).await;
            assert_eq!(stage.read().await.as_deref(), Ok("v"), "{challenge}");
        }
    }

    #[tokio::test]
    async fn who_answers_without_a_token_is_no_vault_and_gets_none() {
        let canned = Canned {
            status: 200,
            body: value("v"),
            open: true,
            ..Canned::default()
        };
        let stage = Stage::with(canned, Purse::default()).await;
        assert_eq!(stage.read().await, Err(VaultError::Invalid));
        assert_eq!(stage.reads(), 0);
    }

    #[tokio::test]
    async fn a_challenge_chooses_neither_audience_nor_authority() {
        for challenge in [
            r#"Bearer authorization="https://evil.example/t", resource="https://graph.microsoft.com""#,
            r#"Bearer authorization="https://evil.example/t", scope="https://vault.azure.net.evil.example/.default""#,
            r#"Bearer authorization="https://evil.example/t", resource="https://vault.azure.net/""#,
            r#"Bearer resource="https://vault.azure.net", scope="https://evil.example/.default""#,
            r#"Bearer scope="https://vault.azure.net""#,
            "Bearer",
        ] {
            let canned = Canned {
                challenge: Some(challenge.to_owned()),
                ..Canned::default()
            };
            let stage = Stage::with(canned, Purse::default()).await;
            let word = stage.read().await.unwrap_err().word();
            assert!(
                ["challenge_mismatch", "answer_invalid", "unauthorized"].contains(&word),
                "{challenge}: {word}"
            );
            assert!(
                stage.canned.lock().unwrap().tokens.is_empty(),
                "{challenge}"
            );
        }
    }
}
