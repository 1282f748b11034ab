//! A person's sign-in at an OpenID provider that nobody here wrote, which takes each refresh token once: `flowgate sign-in` through its
//! own pages, renewals by the real binary and by a gateway, and what becomes of a token that was used before.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::house::{House, KEY};
use crate::process::{Process, text};
use crate::provider::Provider;
use crate::sign_in::ended;

pub const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
credentials:
  planner:
    refresh_token:
      token_url: "${ISSUER}/token"
      authorize_url: "${ISSUER}/auth"
      client_id: planner
      scope: call
      store: { file: "${FOLDER}/planner.token" }
      store_key: { env: STORE_KEY }
flows:
  f: { url: "${ELSEWHERE}/elsewhere/1", who_can_trigger: [erp], credential: planner }
"#;

/// A person's browser: it follows redirects, keeps cookies and fills in the one form of each page.
#[derive(Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    async fn ask(&mut self, method: Method, url: &Url, form: String) -> (Option<Url>, String) {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::<Bytes>::from(form))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        for line in head.headers.get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let body = body.collect().await.unwrap().to_bytes();
        let page = String::from_utf8(body.to_vec()).unwrap();
        let to = head.headers.get("location");
        let to = to.map(|to| url.join(to.to_str().unwrap()).unwrap());
        assert!(
            to.is_some() || head.status == StatusCode::OK,
            "{url} {page}"
        );
        (to, page)
    }

    /// Signs in as `name` at the provider and agrees; the last page, which is the command's own.
    pub async fn sign_in(&mut self, address: &str, name: &str) -> String {
        self.fill_in(address, name, "", false).await
    }

    /// The same where a device shows this code: types it, and confirms that it is the one, or aborts.
    pub async fn at_device_page(
        &mut self,
        address: &str,
        name: &str,
        code: &str,
        abort: bool,
    ) -> String {
        self.fill_in(address, name, code, abort).await
    }

    async fn fill_in(&mut self, address: &str, name: &str, code: &str, abort: bool) -> String {
        let mut url: Url = address.parse().unwrap();
        let mut form = None;
        for _ in 0..20 {
            let method = form.as_ref().map_or(Method::GET, |_| Method::POST);
            let (to, page) = self
                .ask(method, &url, form.take().unwrap_or_default())
                .await;
            if let Some(to) = to {
                url = to;
                continue;
            }
            let Some(action) = between(&page, "action=\"", "\"") else {
                return page;
            };
            url = url.join(action).unwrap();
            let mut fields = form_urlencoded::Serializer::new(String::new());
            if page.contains("op.device") {
                if page.contains("interrupted") {
                    return page;
                }
                // The page's own mark, against forged requests.
                let mark = between(&page, "name=\"xsrf\" value=\"", "\"").unwrap();
                fields.append_pair("xsrf", mark);
                fields.append_pair("user_code", code);
                if page.contains("op.deviceConfirmForm") {
                    assert!(page.contains(code), "the code to compare: {page}");
                    fields.append_pair(if abort { "abort" } else { "confirm" }, "yes");
                }
            } else if page.contains("name=\"login\"") {
                fields.append_pair("prompt", "login");
                fields.append_pair("login", name);
                fields.append_pair("password", "any");
            } else {
                fields.append_pair("prompt", "consent");
            }
            form = Some(fields.finish());
        }
        panic!("the provider never sends the browser back");
    }
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

pub struct SignInFixture {
    pub provider: Provider,
    pub folder: tempfile::TempDir,
    pub environment: Vec<(String, String)>,
}

impl SignInFixture {
    fn new(provider: Provider) -> Self {
        Self::with(provider, YAML)
    }

    pub fn with(provider: Provider, yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flowgate.yaml"), yaml).unwrap();
        let environment = [
            ("ISSUER", provider.issuer()),
            ("ELSEWHERE", "http://127.0.0.1:9"),
            ("FOLDER", text(folder.path())),
            ("STORE_KEY", &"6f".repeat(32)),
            ("ERP_KEY", KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            provider,
            folder,
            environment: environment.into(),
        }
    }

    pub fn run(&self, command: &str, more: &[&str]) -> Process {
        let file = self.folder.path().join("flowgate.yaml");
        let arguments = [&[command, "--config", text(&file), "planner"], more].concat();
        Process::start(&arguments, &self.environment)
    }

    async fn sign_in(&self, name: &str, more: &[&str]) -> (i32, String) {
        let mut process = self.run("sign-in", more);
        let address = process.line(self.provider.issuer());
        let page = Browser::default().sign_in(&address, name).await;
        assert!(page.contains("close this window"), "{page}");
        ended(process)
    }

    /// Renews, and shows the token's claims.
    pub fn renewed(&self) -> Value {
        let (exit, said) = ended(self.run("token", &[]));
        assert_eq!(exit, 0, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Copies the store and its lock file.
    fn copy(from: &Path, to: &Path) {
        for name in ["planner.token", "planner.token.lock"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_rotates_on_and_a_token_used_before_ends_it() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let desk = SignInFixture::new(provider);
    let (exit, said) = desk.sign_in("planner-bot", &[]).await;
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("Signed in as planner-bot"), "{said}");
    assert!(!said.contains("Unused it ends"), "nobody knows: {said}");

    let backup = tempfile::tempdir().unwrap();
    SignInFixture::copy(desk.folder.path(), backup.path());
    let mut stores = vec![std::fs::read(backup.path().join("planner.token")).unwrap()];
    for _ in 0..4 {
        let claims = desk.renewed();
        assert_eq!(claims["sub"], "planner-bot");
        assert_eq!(claims["aud"], "flowgate");
        assert_eq!(claims["scope"], "call");
        let store = std::fs::read(desk.folder.path().join("planner.token")).unwrap();
        assert!(!stores.contains(&store));
        stores.push(store);
    }

    let simulator = House::simulator().await;
    let elsewhere = simulator.origin();
    let mut more: Vec<(&str, &str)> = desk
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    more.push(("ELSEWHERE", &elsewhere));
    let house = House::around(simulator, YAML, &more).await;
    let fire = async |house: &House| {
        let request = Request::post("/f").header("x-api-key", KEY);
        house.send(request.body("{}").unwrap()).await
    };
    // The simulator knows no such path and says so: the call got there, with a token.
    assert_eq!(fire(&house).await.status, StatusCode::NOT_FOUND);
    let seen = house.simulator.received().pop().unwrap();
    assert!(
        seen.header("authorization")
            .unwrap()
            .starts_with("Bearer ey")
    );
    drop(house);

    // As after a restored backup, or with a token that somebody else used: the provider ends the whole sign-in.
    SignInFixture::copy(backup.path(), desk.folder.path());
    let simulator = House::simulator().await;
    let house = House::around(simulator, YAML, &more).await;
    let answer = fire(&house).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (503, "sign_in_required")
    );
    let (exit, said) = ended(desk.run("token", &[]));
    assert!(exit == 1 && said.contains("flowgate sign-in"), "{said}");

    // Somebody else is not taken for the account, and the account is taken again.
    let (exit, said) = desk.sign_in("somebody", &[]).await;
    assert!(exit == 1 && said.contains("--replace-account"), "{said}");
    let (exit, said) = desk.sign_in("planner-bot", &[]).await;
    assert_eq!(exit, 0, "{said}");
    assert_eq!(desk.renewed()["sub"], "planner-bot");
}
