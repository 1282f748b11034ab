//! `flowgate serve`: runs the gateway until SIGTERM or SIGINT.
//!
//! In: the configuration's paths. Out: exit code 0 after a clean drain, 2 on a bad configuration or a missing secret, 1 on any other
//! failure. An unreachable provider does not stop the start: the flows concerned answer 503.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgs, complain};
use crate::app::reload::Reloader;
use crate::app::{self, Ambient, App};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::server::{self, Server, admin, process};
use crate::telemetry::{self, AccessLog};

/// Arguments of `serve`.
#[derive(clap::Args)]
#[command(after_help = "Example: flowgate serve --config /etc/flowgate/flowgate.yaml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Why `serve` ended otherwise than by a clean drain.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{what} cannot listen on {address}")]
    Listen {
        what: &'static str,
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("the runtime cannot start")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    App(#[from] app::Error),
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("{0} calls were cut off when the drain's time was over")]
    Lost(usize),
}

/// Runs until a signal ends it.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let ambient = Ambient::system();
    let config = match args.config.load(&ambient) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let paths = args.config.paths;
    telemetry::start(&config.log);
    // Memory holds secrets: it must not end up in a file (security rule 20).
    if let Err(error) = process::forbid_core_dumps() {
        tracing::warn!(%error, "core dumps cannot be forbidden");
    }
    if let Err(error) = process::raise_open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(&paths, &ambient, config)),
        Err(error) => Err(Error::Runtime(error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    paths: &[std::path::PathBuf],
    ambient: &Ambient,
    config: Config,
) -> Result<(), Error> {
    let callers = listen("the gateway", config.server.listen).await?;
    let operators = listen("the admin port", config.admin).await?;
    // Port 0 becomes a free one: what is bound is told, not what was asked for.
    let listening = callers.local_addr().unwrap_or(config.server.listen);
    let administered = operators.local_addr().unwrap_or(config.admin);
    let metrics = Metrics::new()?;
    let (access, _flush) = config
        .log
        .access
        .then(|| AccessLog::start(config.log.access_format(), std::io::stdout()))
        .unzip();
    let app = Arc::new(App::start(&config, ambient, &metrics, access)?);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listening,
        admin = %administered,
        flows = config.flows.len(),
        hash = config.hash,
        "serving"
    );

    let (trigger, drain) = server::drain();
    let hangups = signal(SignalKind::hangup()).map_err(Error::Runtime)?;
    let reloader = Reloader::new(
        Arc::clone(&app),
        paths.to_vec(),
        ambient.clone(),
        metrics.clone(),
        &config,
    );
    let reloads = tokio::spawn(reloader.run(hangups));
    let reminders = tokio::spawn(Arc::clone(&app).remind_daily());

    // The admin port outlives the drain: somebody wants to see how it goes.
    let (end, ended) = server::drain();
    let admin = tokio::spawn(
        Server::admin(operators, admin::settings(config.admin))
            .run(admin_service(&app, metrics.clone()), ended),
    );
    let gateway = Server::new(callers, app.server(), metrics).run(app.gateway().service(), drain);
    let stopping = async {
        stop_signal().await;
        tracing::info!(in_flight = app.in_flight(), "draining");
        app.drain();
        trigger.begin();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = gateway => outcome,
        () = stopping => return Ok(()),
    };
    let _until_the_end = app.write_down().await;
    reloads.abort();
    reminders.abort();
    end.begin();
    // Its connections are probes and scrapers.
    let _ = admin.await;
    if outcome.lost > 0 {
        return Err(Error::Lost(outcome.lost));
    }
    tracing::info!("drained");
    Ok(())
}

/// The admin port's pages for `app`.
#[must_use]
pub fn admin_service(app: &Arc<App>, metrics: Metrics) -> admin::Admin {
    let (readiness, status) = (Arc::clone(app), Arc::clone(app));
    admin::Admin {
        metrics,
        ready: Arc::new(move || readiness.readiness()),
        status: Arc::new(move || status.status()),
    }
}

async fn listen(
    what: &'static str,
    address: std::net::SocketAddr,
) -> Result<tokio::net::TcpListener, Error> {
    server::bind(address).await.map_err(|source| Error::Listen {
        what,
        address,
        source,
    })
}

/// SIGTERM, or SIGINT from a terminal.
async fn stop_signal() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without handlers the signal ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
