//! A real OpenID provider for the tests, which nobody here wrote: `oidc-provider` on Node.js, started from `tests/oidc/`.
//!
//! In: nothing but Node.js 20 or later; the packages are installed once, by `npm ci` under a lock, as the lock file says.
//! Out: issuer, token URL and key-set URL on loopback, its clients (some with awkward secrets), and caller tokens.
//! The provider ends with the value; should the test be killed, it ends because its standard input does.
//! Without Node.js a test that wants it is skipped with a notice; where `CI` is set, that is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fixture: what does not start fails the test, at the place where it failed"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use url::form_urlencoded;

use crate::tools;

/// Audience `flowgate`, signed with RS256.
pub const RS256: &str = "https://resource.example/rs256";
/// Audience `flowgate`, signed with ES256.
pub const ES256: &str = "https://resource.example/es256";
/// Audience `flowgate`, signed with PS256.
pub const PS256: &str = "https://resource.example/ps256";
/// An RS256 token meant for somebody else.
pub const OTHER_AUDIENCE: &str = "https://resource.example/other-audience";

/// The running provider.
pub struct Provider {
    ready: Ready,
    process: Child,
}

/// What `server.mjs` says once it listens.
#[derive(Deserialize)]
struct Ready {
    issuer: String,
    token_url: String,
    jwks_url: String,
    clients: Vec<Client>,
}

/// A client registered with the provider.
#[derive(Clone, Deserialize)]
pub struct Client {
    /// The client id, not always a tame one.
    pub id: String,
    /// The secret, as it is before any encoding.
    pub secret: String,
    /// `client_secret_basic` or `client_secret_post`.
    pub auth: String,
}

impl Provider {
    /// Starts a provider with fresh keys on a free port, and returns when it listens. `None`: no Node.js here.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with clients `certified-ALG` that prove themselves with the key of a certificate: each algorithm and its PEM file.
    pub fn start_with(certificates: &[(&str, &Path)]) -> Option<Self> {
        let certificates = certificates
            .iter()
            .map(|(algorithm, file)| format!("--certificate={algorithm}:{}", file.display()));
        Self::run(certificates.collect())
    }

    /// The same with device codes that are good for so many seconds.
    pub fn start_with_device_codes_of(seconds: u32) -> Option<Self> {
        Self::run(vec![format!("--device-seconds={seconds}")])
    }

    fn run(arguments: Vec<String>) -> Option<Self> {
        if !tools::here(&["node", "npm"]) {
            return None;
        }
        let home = installed();
        let mut process = Command::new("node")
            .arg("server.mjs")
            .args(arguments)
            .current_dir(home)
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let stdout = process.stdout.take().expect("standard output is piped");
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody listens any more once the wait below is over; that failure is reported there.
            let _ = said.send(read.map(|_| line));
        });
        let Ok(Ok(line)) = heard.recv_timeout(Duration::from_mins(1)) else {
            let _ = process.kill();
            panic!(
                "the OpenID provider did not say that it is ready; try `npm ci && node server.mjs` in tests/oidc"
            );
        };
        let ready = serde_json::from_str(&line).expect("the ready line is JSON");
        Some(Self { ready, process })
    }

    /// The issuer, byte for byte as in its tokens and its discovery document.
    pub fn issuer(&self) -> &str {
        &self.ready.issuer
    }

    /// Where tokens are asked for.
    pub fn token_url(&self) -> &str {
        &self.ready.token_url
    }

    /// Where its public keys are.
    pub fn jwks_url(&self) -> &str {
        &self.ready.jwks_url
    }

    /// The client of that id.
    pub fn client(&self, id: &str) -> &Client {
        self.ready
            .clients
            .iter()
            .find(|client| client.id == id)
            .expect("a client that server.mjs registers")
    }

    /// Every registered client: the awkward ones are what a client of ours has to survive.
    pub fn clients(&self) -> &[Client] {
        &self.ready.clients
    }

    /// A JWT access token for `resource` (one of the constants above), obtained as `plain-basic` obtains it.
    pub async fn caller_token(&self, resource: &str) -> String {
        let client = self.client("plain-basic");
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", "call")
            .append_pair("resource", resource)
            .finish();
        let basic = BASE64.encode(format!("{}:{}", client.id, client.secret));
        let request = http::Request::post(self.token_url())
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .unwrap();
        let answer = self.fetch(request).await;
        let token = answer
            .get("access_token")
            .and_then(serde_json::Value::as_str);
        token
            .unwrap_or_else(|| panic!("no token for {resource}: {answer}"))
            .to_owned()
    }

    /// How often the provider was asked for `path` (`/token`, `/jwks`, …) since it started.
    pub async fn count(&self, path: &str) -> u64 {
        let request = http::Request::get(format!("{}/-/counts", self.issuer()))
            .body(Full::default())
            .unwrap();
        self.fetch(request)
            .await
            .get(path)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    }

    async fn fetch(&self, request: http::Request<Full<Bytes>>) -> serde_json::Value {
        let client = HttpClient::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.expect("the provider answers");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("the whole answer arrives")
            .to_bytes();
        serde_json::from_slice(&body).expect("the provider answers in JSON")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of the provider, its packages installed exactly as `package-lock.json` says.
fn installed() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
    // One installation at a time: test binaries run side by side, and `npm ci` begins by deleting. The lock lives under
    // target/, and the stamp inside node_modules/ carries the lock file, so that a changed one installs anew.
    let lock =
        File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider.lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read(home.join("package-lock.json")).expect("tests/oidc/package-lock.json");
    let stamp = home.join("node_modules/.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return home;
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&home)
        .stdin(Stdio::null())
        .output()
        .expect("npm starts");
    assert!(
        output.status.success(),
        "npm ci in tests/oidc failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(&stamp, wanted).unwrap();
    home
}

#[tokio::test]
async fn a_real_openid_provider_issues_jwts_of_three_algorithms() {
    let Some(provider) = Provider::start() else {
        return;
    };
    for resource in [RS256, ES256, PS256, OTHER_AUDIENCE] {
        let token = provider.caller_token(resource).await;
        assert_eq!(token.split('.').count(), 3, "a signed JWT has three parts");
    }
    assert_eq!(provider.count("/token").await, 4);
    assert_eq!(
        provider.count("/jwks").await,
        0,
        "nobody asked for its keys"
    );
    assert!(provider.jwks_url().starts_with(provider.issuer()));
    assert!(
        provider
            .clients()
            .iter()
            .any(|client| client.secret.contains('+') && client.auth.ends_with("basic"))
    );
}
