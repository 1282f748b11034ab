//! `flowgate demo`: one call through a gateway, on this machine alone, explained in plain words.
//!
//! In: nothing. Out: a simulated Entra ID with flows and a gateway in front of them, all on loopback with keys made this moment; one real
//! call through it, what happened, and the `curl` lines to go on with. `--once` ends after the story, non-zero if it went wrong.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;

use super::{block_on, complain, print};
use crate::app::{self, Ambient, App};
use crate::client::{FetchError, Limits, Outbound, Reach};
use crate::config;
use crate::metrics::Metrics;
use crate::server::{self, Server};
use crate::telemetry;
use settings::Environment;
use simulator::{self, Simulator, directory};

/// Arguments of `demo`.
#[derive(clap::Args)]
#[command(after_help = "Example: flowgate demo --once")]
pub struct Args {
    /// End after the story instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
}

/// The configuration a reader could have written; `${…}` comes from the simulator.
const CONFIGURATION: &str = include_str!("demo.yaml");

/// Why the story went wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the simulator or the gateway cannot listen on loopback")]
    Listen(#[from] std::io::Error),
    #[error("the demo's configuration is not valid:\n{0}")]
    Configuration(config::Problems),
    #[error(transparent)]
    App(#[from] app::Error),
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("the outbound client cannot be built")]
    Outbound(#[from] crate::client::Error),
    #[error("a call failed")]
    Call(#[from] FetchError),
    #[error("a request cannot be built")]
    Request(#[from] http::Error),
    #[error("{what}: {status} instead of {wanted}")]
    Unexpected {
        what: &'static str,
        status: StatusCode,
        wanted: StatusCode,
    },
    #[error("the flow ran {0} times instead of once")]
    Runs(usize),
}

/// Prints each step.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    block_on(async {
        match demo(args.once).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        }
    })
}

/// Everything the demo runs.
struct Stage {
    simulator: Simulator,
    gateway: String,
    admin: String,
    key: String,
    outbound: Outbound,
}

async fn demo(once: bool) -> Result<(), Error> {
    let ambient = Ambient::system();
    let simulator = Simulator::start(simulator::Options::default()).await?;
    let callers = server::bind(([127, 0, 0, 1], 0).into()).await?;
    let operators = server::bind(([127, 0, 0, 1], 0).into()).await?;
    let key = format!("demo-{:032x}", u128::from_le_bytes(ambient.random.bytes()));
    let environment = environment(&simulator, &key);
    let config =
        config::parse(CONFIGURATION, &environment, &ambient.clock).map_err(Error::Configuration)?;
    let (_diagnostics, _flush) = telemetry::start(&config.log);

    let metrics = Metrics::new()?;
    let ambient = Ambient {
        environment,
        ..ambient
    };
    let app = Arc::new(App::start(&config, &ambient, &metrics, None)?);
    app.tried().await;
    let stage = Stage {
        gateway: format!("http://{}", callers.local_addr()?),
        admin: format!("http://{}", operators.local_addr()?),
        key,
        outbound: Outbound::new(&config.outbound)?,
        simulator,
    };
    let (_trigger, drain) = server::drain();
    let admin = super::serve::admin_service(&app, metrics.clone());
    tokio::spawn(
        Server::admin(operators, server::admin::settings(config.admin.listen))
            .run(admin.service(), drain.clone()),
    );
    tokio::spawn(Server::new(callers, app.server(), metrics).run(app.gateway().service(), drain));

    stage.report().await?;
    if !once {
        stage.invite();
        // An error means that no handler can be had, and then Ctrl-C ends the process anyway.
        let _ = tokio::signal::ctrl_c().await;
    }
    Ok(())
}

/// What the configuration takes from its environment.
fn environment(simulator: &Simulator, key: &str) -> Environment {
    Environment::fixed([
        ("AUTHORITY", simulator.origin()),
        ("TENANT", directory::DEMO_TENANT.to_owned()),
        ("CLIENT_ID", directory::GATEWAY_APP.to_owned()),
        (
            "CLIENT_SECRET",
            simulator.client_secret(directory::GATEWAY_APP),
        ),
        ("OBJECT_ID", directory::GATEWAY_OBJECT.to_owned()),
        ("ERP_KEY", key.to_owned()),
        ("ORDER_CREATED_URL", simulator.flow_url("order-created")),
        ("REPORT_URL", simulator.flow_url("report")),
        ("LEGACY_URL", simulator.flow_url("legacy")),
    ])
}

impl Stage {
    /// Three calls: without a gateway, through it, and by a stranger.
    async fn report(&self) -> Result<(), Error> {
        let order = r#"{"order":4711}"#;
        print(
            "A flow is locked to \"Specific users in my tenant\". An ERP system knows nothing of OAuth; it has an API key.",
        );
        print("");

        let direct = self
            .call(&self.simulator.flow_url("order-created"), None, order)
            .await?;
        expect(
            "the flow without a token",
            direct.status(),
            StatusCode::UNAUTHORIZED,
        )?;
        print("1. The ERP calls the flow's own URL:");
        print(&format!(
            "   {} {}",
            direct.status(),
            text(direct.body(), "/error/code")
        ));
        print("");

        let before = self.simulator.runs("order-created");
        let url = format!("{}/order-created", self.gateway);
        let answer = self.call(&url, Some(&self.key), order).await?;
        expect(
            "the call through the gateway",
            answer.status(),
            StatusCode::OK,
        )?;
        let runs = self.simulator.runs("order-created") - before;
        if runs != 1 {
            return Err(Error::Runs(runs));
        }
        let run = answer
            .headers()
            .get("x-ms-workflow-run-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or("-");
        print("2. It calls the gateway instead, with its key:");
        print(&format!("   {} run {run}", answer.status()));
        print(&format!(
            "   The gateway recognised caller {}, obtained a token from Entra ID, sent it, and removed the API key.",
            self.seen("flowgate-caller")
        ));
        print(&format!(
            "   The flow saw: authorization {}, flowgate-caller {}, x-api-key {}.",
            self.seen("authorization"),
            self.seen("flowgate-caller"),
            self.seen("x-api-key")
        ));
        print("");

        let stranger = self
            .call(&url, Some("not-the-key-not-the-key"), order)
            .await?;
        expect(
            "a stranger's call",
            stranger.status(),
            StatusCode::UNAUTHORIZED,
        )?;
        print("3. A stranger tries a key of its own:");
        print(&format!(
            "   {} {}: {}",
            stranger.status(),
            text(stranger.body(), "/code"),
            text(stranger.body(), "/fix")
        ));
        print("");
        print(&format!(
            "Tokens asked of Entra ID so far: {}. The next hour's calls need none.",
            self.simulator.token_requests().len()
        ));
        Ok(())
    }

    /// What to try next.
    fn invite(&self) {
        let Self {
            gateway,
            admin,
            key,
            ..
        } = self;
        print("");
        print("It all runs until Ctrl-C. Try:");
        print(&format!(
            "   curl -i {gateway}/order-created -H 'X-Api-Key: {key}' -H 'Content-Type: application/json' -d '{{\"order\":4712}}'"
        ));
        print(&format!(
            "   curl -i {gateway}/report -H 'X-Api-Key: {key}' -d ''            # \"Any user in my tenant\""
        ));
        print(&format!(
            "   curl -i {gateway}/legacy -H 'X-Api-Key: {key}' -d ''            # \"Anyone\": the signed URL stays in the gateway"
        ));
        print(&format!(
            "   curl -i {gateway}/order-created -d ''                            # no key"
        ));
        print(&format!(
            "   curl -s {admin}/metrics | grep flowgate_requests_total"
        ));
        print(&format!("   curl -s {admin}/status"));
    }

    async fn call(
        &self,
        url: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<http::Response<Bytes>, Error> {
        let mut request = Request::post(url).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes()))?;
        let limits = Limits {
            within: Duration::from_secs(10),
            bytes: 64 * 1024,
        };
        Ok(self
            .outbound
            .fetch(request, Reach::Configured, limits)
            .await?)
    }

    /// A header as the flow last saw it, shortened where it is long.
    fn seen(&self, name: &str) -> String {
        let received = self.simulator.received();
        match received.last().and_then(|request| request.header(name)) {
            None => "(absent)".to_owned(),
            Some(value) if value.len() > 24 => {
                format!("\"{}…\"", value.chars().take(16).collect::<String>())
            }
            Some(value) => format!("\"{value}\""),
        }
    }
}

fn expect(what: &'static str, status: StatusCode, wanted: StatusCode) -> Result<(), Error> {
    if status == wanted {
        Ok(())
    } else {
        Err(Error::Unexpected {
            what,
            status,
            wanted,
        })
    }
}

/// A member of a JSON body, as text.
fn text(body: &[u8], pointer: &str) -> String {
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        })
        .unwrap_or_default()
}
