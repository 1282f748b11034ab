//! A whole gateway in front of the simulator, on free loopback ports, with clocks that a test turns.
//!
//! `House::open` takes a configuration as a user would write it; `${AUTHORITY}`, `${TENANT}` and the flows' URLs come from the simulator.
//! The house records what callers, flows, log and metrics saw. Dropping it stops everything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flowgate::app::{Ambient, App};
use flowgate::clock::{Clock, Random};
use flowgate::config;
use flowgate::metrics::Metrics;
use flowgate::server::{self, Outcome, Server, Trigger};
use flowgate::telemetry::{AccessLog, Flush, Format};
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use settings::Environment;
use simulator::{self, Simulator, TokenSpec, directory};
use tokio::task::JoinHandle;

/// The key of caller `erp`.
pub const KEY: &str = "erp-key-of-at-least-16-bytes";

/// Callers and credentials most tests need: `erp` by key, `staff` any user, `billing` the demo's calling application by client id.
pub const BASE: &str = r#"
server: { listen: "127.0.0.1:8080" }
log: { level: info, access: true }
defaults:
  entra: { tenant: "${TENANT}" }
  flow: { credential: flows }
callers:
  erp:
    api_key:
      keys: [{ plain: { env: ERP_KEY } }]
  staff:
    entra: { authority: "${AUTHORITY}", audience: ["api://${API}", "${API}"] }
  billing:
    entra: { authority: "${AUTHORITY}", audience: ["api://${API}", "${API}"], client_ids: ["${CALLER_APP}"] }
credentials:
  flows:
    client_secret: { authority: "${AUTHORITY}", client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }
flows:
  order-created:
    url: { env: ORDER_CREATED_URL }
    who_can_trigger: [erp, billing]
  report:
    url: { env: REPORT_URL }
    who_can_trigger: [staff]
  legacy:
    url: { env: LEGACY_URL }
    who_can_trigger: [erp]
    credential: none
"#;

/// A running gateway and everything around it.
pub struct House {
    pub simulator: Simulator,
    pub app: Arc<App>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub ambient: Ambient,
    pub metrics: Metrics,
    log: Lines,
    _flush: Flush,
    trigger: Trigger,
    server: Option<JoinHandle<Outcome>>,
    pages: JoinHandle<Outcome>,
    h1: Client<HttpConnector, Full<Bytes>>,
    h2: Client<HttpConnector, Full<Bytes>>,
}

/// What a caller got.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A member of the problem document, e.g. `code`.
    pub fn problem(&self, member: &str) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        value[member].as_str().unwrap_or_default().to_owned()
    }

    pub fn code(&self) -> String {
        self.problem("code")
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl House {
    /// The base configuration and the simulator's demo flows.
    pub async fn standard() -> Self {
        Self::open(BASE).await
    }

    /// A configuration of the test's own, in front of a fresh simulator.
    pub async fn open(yaml: &str) -> Self {
        Self::around(Self::simulator().await, yaml, &[]).await
    }

    /// A simulator whose tokens follow the system's clock.
    pub async fn simulator() -> Simulator {
        Simulator::start(simulator::Options::default())
            .await
            .unwrap()
    }

    /// A configuration in front of a simulator the test has prepared, with further variables. Every flow of the simulator has its URL
    /// in `NAME_URL`, e.g. `ORDER_CREATED_URL`.
    pub async fn around(simulator: Simulator, yaml: &str, more: &[(&str, &str)]) -> Self {
        Self::at(simulator, yaml, more, Clock::system()).await
    }

    /// The same with a clock of the test's own.
    pub async fn at(simulator: Simulator, yaml: &str, more: &[(&str, &str)], clock: Clock) -> Self {
        Self::with(simulator, yaml, more, clock, Random::system()).await
    }

    /// The same with dice of the test's own.
    pub async fn with(
        simulator: Simulator,
        yaml: &str,
        more: &[(&str, &str)],
        clock: Clock,
        random: Random,
    ) -> Self {
        Self::altered(simulator, yaml, more, clock, random, |_| ()).await
    }

    /// The same with a word on what the configuration came to: for what no user can configure.
    pub async fn altered(
        simulator: Simulator,
        yaml: &str,
        more: &[(&str, &str)],
        clock: Clock,
        random: Random,
        alter: impl FnOnce(&mut config::Config),
    ) -> Self {
        let ambient = Ambient {
            clock,
            random,
            environment: environment(&simulator, more),
        };
        let mut config = config::parse(yaml, &ambient.environment, &ambient.clock)
            .unwrap_or_else(|problems| panic!("{problems}"));
        alter(&mut config);
        let metrics = Metrics::new().unwrap();
        let log = Lines::default();
        let (access, flush) = AccessLog::start(Format::Json, log.clone());
        let app = App::start(&config, &ambient, &metrics, Some(access)).unwrap();
        let app = Arc::new(app);
        app.tried().await;
        let callers = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let operators = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, admin) = (
            callers.local_addr().unwrap(),
            operators.local_addr().unwrap(),
        );
        let (trigger, drain) = server::drain();
        let pages = flowgate::cli::serve::admin_service(&app, metrics.clone());
        let pages = Server::admin(operators, server::admin::settings(admin))
            .run(pages.service(), server::drain().1);
        let server =
            Server::new(callers, app.server(), metrics.clone()).run(app.gateway().service(), drain);
        let executor = TokioExecutor::new;
        Self {
            simulator,
            app,
            address,
            admin,
            ambient,
            metrics,
            log,
            _flush: flush,
            trigger,
            server: Some(tokio::spawn(server)),
            pages: tokio::spawn(pages),
            h1: Client::builder(executor()).build_http(),
            h2: Client::builder(executor()).http2_only(true).build_http(),
        }
    }

    /// Puts another configuration to work, as a reload does.
    pub fn reload(&self, yaml: &str) {
        let config = config::parse(yaml, &self.ambient.environment, &self.ambient.clock)
            .unwrap_or_else(|problems| panic!("{problems}"));
        self.app.reload(&config).unwrap();
    }

    /// Sends over HTTP/1.1; the request's target is a path.
    pub async fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        self.through(&self.h1, request).await
    }

    /// Sends over HTTP/2, cleartext.
    pub async fn send_h2(&self, request: Request<impl Into<Bytes>>) -> Answer {
        self.through(&self.h2, request).await
    }

    async fn through(
        &self,
        client: &Client<HttpConnector, Full<Bytes>>,
        request: Request<impl Into<Bytes>>,
    ) -> Answer {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("http://{}{}", self.address, parts.uri)
            .parse()
            .unwrap();
        let request = Request::from_parts(parts, Full::new(body.into()));
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends over HTTP/1.1; `None` when the answer broke off.
    pub async fn attempt(&self, request: Request<impl Into<Bytes>>) -> Option<Answer> {
        self.send_body(request.map(|body| Full::new(body.into())))
            .await
    }

    /// Sends a body of the test's own over HTTP/1.1, on a connection of its own; `None` when the answer broke off or never came.
    pub async fn send_body<B>(&self, request: Request<B>) -> Option<Answer>
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + Unpin
            + 'static,
    {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("http://{}{}", self.address, parts.uri)
            .parse()
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(Request::from_parts(parts, body)).await;
        let (parts, body) = answer.ok()?.into_parts();
        Some(Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: body.collect().await.ok()?.to_bytes(),
        })
    }

    /// A page of the admin port.
    pub async fn page(&self, path: &str) -> Answer {
        let uri = format!("http://{}{path}", self.admin);
        let request = Request::get(uri).body(Full::default()).unwrap();
        let (parts, body) = self.h1.request(request).await.unwrap().into_parts();
        Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// A caller's token for the gateway: the demo's calling application, unless `change` says otherwise.
    pub fn token(&self, change: impl FnOnce(TokenSpec) -> TokenSpec) -> String {
        self.simulator.issue(&change(TokenSpec::app()))
    }

    /// Every access line so far, once the writer has caught up with `count` of them.
    pub async fn access_lines(&self, count: usize) -> Vec<serde_json::Value> {
        let lines = || -> Vec<serde_json::Value> {
            let text = self.log.0.lock().unwrap().clone();
            String::from_utf8(text)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        eventually(|| lines().len() >= count).await;
        lines()
    }

    /// The value of a metric's series, e.g. `flowgate_connections` or `flowgate_requests_total{flow="a"}` by all labels given.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.metrics.text().unwrap();
        text.lines()
            .filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']))
            .filter(|line| {
                labels
                    .iter()
                    .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Begins the drain.
    pub fn begin_drain(&self) {
        self.app.drain();
        self.trigger.begin();
    }

    /// Begins the drain; what the server says when it is over.
    pub async fn drain(&mut self) -> Outcome {
        self.begin_drain();
        self.server.take().unwrap().await.unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
        // Its pages hold the gateway, which would ask for tokens in the tests that follow.
        self.pages.abort();
    }
}

/// Variables for a configuration in front of `simulator`.
pub fn environment(simulator: &Simulator, more: &[(&str, &str)]) -> Environment {
    let mut all: Vec<(String, String)> = [
        ("AUTHORITY", simulator.origin()),
        ("TENANT", directory::DEMO_TENANT.to_owned()),
        ("PARTNER_TENANT", directory::PARTNER_TENANT.to_owned()),
        ("API", directory::API_APP.to_owned()),
        ("CALLER_APP", directory::CALLER_APP.to_owned()),
        ("PARTNER_APP", directory::PARTNER_APP.to_owned()),
        ("GATEWAY_APP", directory::GATEWAY_APP.to_owned()),
        ("GATEWAY_OBJECT", directory::GATEWAY_OBJECT.to_owned()),
        (
            "CLIENT_SECRET",
            simulator.client_secret(directory::GATEWAY_APP),
        ),
        ("ERP_KEY", KEY.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for flow in simulator.flows() {
        let name = format!("{}_URL", flow.name.to_uppercase().replace('-', "_"));
        all.push((name, simulator.flow_url(&flow.name)));
    }
    all.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    Environment::fixed(all)
}

/// Waits until something holds; fails after ten seconds.
pub async fn eventually(mut holds: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it did not come to hold within ten seconds");
}
