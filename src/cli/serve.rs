//! `flowgate serve`: runs the gateway until SIGTERM or SIGINT.
//!
//! In: the configuration's paths. Out: exit code 0 after a clean drain, 2 on a bad configuration or a missing secret, 1 on any other
//! failure. An unreachable provider does not stop the start: the flows concerned answer 503. Refuses to wait at its end for whoever reads
//! its output, and for files.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{BAD_CONFIGURATION, ConfigArgs, complain, reported};
use crate::app::reload::{self, Reloader};
use crate::app::{self, Ambient, App};
use crate::config::{Config, Problems};
use crate::diagnosis;
use crate::metrics::Metrics;
use crate::server::{self, Server, admin, process};
use crate::telemetry::{self, AccessLog, Stream};

/// Longest wait, at the end, for what still reads or writes a file.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Arguments of `serve`.
#[derive(clap::Args)]
#[command(
    after_help = "Example: flowgate serve --config /etc/flowgate/flowgate.yaml\n\nWithout --config, ./flowgate.yaml is read."
)]
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
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&Error::Runtime(error));
            return ExitCode::FAILURE;
        }
    };
    // First of all: a SIGHUP that comes while the configuration is read has it read once more, and ends nothing.
    let hangups = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).map_err(Error::Runtime)
    };
    let ambient = Ambient::system();
    let config = match args.config.load(&ambient) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let paths = args.config.paths;
    // The last to go: it says how everything else ended.
    let (diagnostics, _flush) = telemetry::start(&config.log);
    // Memory holds secrets: it must not end up in a file (security rule 20).
    if let Err(error) = process::forbid_core_dumps() {
        tracing::warn!(%error, "core dumps cannot be forbidden");
    }
    if let Err(error) = process::raise_open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let outcome = hangups.and_then(|hangups| {
        runtime.block_on(serve(&paths, &ambient, config, hangups, diagnostics))
    });
    // What still waits for a file keeps no process.
    runtime.shutdown_timeout(LAST_TASKS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = diagnosis::chain(&error), "the gateway ends");
            ExitCode::FAILURE
        }
    }
}

/// With one core one thread: tasks run in the order in which they are woken, so that what several calls send goes out together, and nothing is
/// shared with other threads.
fn runtime() -> std::io::Result<Runtime> {
    let one = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut builder = if one {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

/// Says what is wrong with the configuration: to people as `check` does, else in lines like all others.
fn refused(problems: &Problems) -> ExitCode {
    if std::io::stderr().is_terminal() {
        return reported(problems);
    }
    let (_diagnostics, _flush) = telemetry::start(&telemetry::LogSettings::default());
    reload::log(problems);
    ExitCode::from(BAD_CONFIGURATION)
}

async fn serve(
    paths: &[std::path::PathBuf],
    ambient: &Ambient,
    config: Config,
    hangups: Signal,
    diagnostics: Stream,
) -> Result<(), Error> {
    let callers = listen("the gateway", config.server.listen).await?;
    let operators = listen("the admin port", config.admin.listen).await?;
    // Port 0 becomes a free one: the bound port is reported, not the requested one.
    let listening = callers.local_addr().unwrap_or(config.server.listen);
    let administered = operators.local_addr().unwrap_or(config.admin.listen);
    let metrics = Metrics::new()?;
    let (access, _flush) = config
        .log
        .access
        .then(|| {
            let out = telemetry::unshared(std::io::stdout());
            AccessLog::start(config.log.access_format(), out)
        })
        .unzip();
    diagnostics.count_in(&metrics, "diagnostics");
    if let Some(access) = &access {
        access.stream().count_in(&metrics, "access");
    }
    let losses = telemetry::report(diagnostics, access.clone(), ambient.clock.clone());
    let losses = tokio::spawn(losses);
    let app = Arc::new(App::start(&config, ambient, &metrics, access)?);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("FLOWGATE_COMMIT"),
        listen = %listening,
        admin = %administered,
        flows = config.flows.len(),
        hash = config.hash,
        "serving"
    );

    let (trigger, drain) = server::drain();
    let reloader = Reloader::new(
        Arc::clone(&app),
        paths.to_vec(),
        ambient.clone(),
        metrics.clone(),
        &config,
    );
    let asking = config.admin.reload.then(|| reloader.asking());
    let reloads = tokio::spawn(reloader.run(hangups));
    let reminders = tokio::spawn(Arc::clone(&app).remind_daily());

    // The admin port outlives the drain: somebody wants to see how it goes.
    let (end, ended) = server::drain();
    let admin = tokio::spawn(
        Server::admin(operators, admin::settings(config.admin.listen)).run(
            admin::Admin {
                reload: asking.map(reload_service),
                ..admin_service(&app, metrics.clone())
            }
            .service(),
            ended,
        ),
    );
    let gateway = Server::new(callers, app.server(), metrics).run(app.gateway().service(), drain);
    let stopping = async {
        let signal = stop_signal().await;
        tracing::info!(in_flight = app.in_flight(), "draining");
        app.drain();
        // Whoever sends calls here has to learn first that they should go elsewhere. At a terminal nobody does.
        if signal == Ending::Terminate {
            trigger.leave();
            tokio::time::sleep(app.server().load().drain_delay).await;
        }
        trigger.begin();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = gateway => outcome,
        () = stopping => return Ok(()),
    };
    let _until_the_end = app.flush().await;
    for task in [reloads, reminders, losses] {
        task.abort();
    }
    end.begin();
    // Its connections are probes and scrapers.
    let _ = admin.await;
    if outcome.lost > 0 {
        return Err(Error::Lost(outcome.lost));
    }
    tracing::info!("drained");
    Ok(())
}

/// The admin port's reload.
fn reload_service(asking: reload::Asking) -> admin::Reload {
    Arc::new(move || {
        let asking = asking.clone();
        Box::pin(async move {
            let report = asking.reload().await?;
            Some(admin::Reloaded {
                good: report.good(),
                report: serde_json::to_value(&report).unwrap_or_default(),
            })
        })
    })
}

/// The admin port's pages for `app`.
#[must_use]
pub fn admin_service(app: &Arc<App>, metrics: Metrics) -> admin::Admin {
    let (readiness, status, named) = (Arc::clone(app), Arc::clone(app), Arc::clone(app));
    admin::Admin {
        metrics,
        hosts: Arc::new(move |host| named.is_admin_host(host)),
        ready: Arc::new(move || readiness.readiness()),
        status: Arc::new(move || status.status()),
        reload: None,
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

/// What ends the process.
#[derive(PartialEq, Eq)]
enum Ending {
    /// SIGTERM.
    Terminate,
    /// SIGINT, from a terminal.
    Interrupt,
}

async fn stop_signal() -> Ending {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without handlers the signal ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => Ending::Terminate,
        _ = tokio::signal::ctrl_c() => Ending::Interrupt,
    }
}
