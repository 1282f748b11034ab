//! `flowgate token`: obtains a token with a configured credential and prints its decoded claims.
//!
//! In: the configuration and a credential's name; of the secrets only that credential's have to be there. Out: the claims as JSON on
//! standard output; with `--raw` the token alone, and a warning on standard error, for it opens what it opens until it expires.

use std::process::ExitCode;

use super::live::{self, Live};
use super::{ConfigArgs, complain, print, say};
use crate::app::Ambient;
use crate::config::Parts;
use crate::credential;

/// Arguments of `token`.
#[derive(clap::Args)]
#[command(after_help = "Example: flowgate token --config flowgate.yaml flows")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The credential's name.
    credential: String,
    /// Print the token itself, and nothing else.
    #[arg(long)]
    raw: bool,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no credential has this name; defined under `credentials:` are: {0}")]
    Unknown(String),
    #[error(
        "no flow uses this credential and it has no `scope:` or `resource:` of its own, so there is nothing to ask a token for"
    )]
    NothingToAsk,
    #[error("something that the credential needs is absent")]
    Incomplete,
    #[error("the runtime cannot start")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Live(#[from] live::Error),
    #[error(transparent)]
    Token(#[from] credential::Failure),
}

/// Obtains one token.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let ambient = Ambient::system();
    // Nothing else has to be there: whoever looks for what is wrong with one credential may not have the others' secrets.
    let needed = vec![
        "outbound".to_owned(),
        format!("credentials.{}", args.credential),
    ];
    let config = match args.config.survey(&ambient, needed) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
        .and_then(|runtime| runtime.block_on(obtain(args, &config, &ambient)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            if let Error::Token(failure) = &error {
                let sign_in = super::command(&args.config.paths, "sign-in", &args.credential);
                for line in live::explained(failure, &sign_in) {
                    say(&line);
                }
            }
            ExitCode::FAILURE
        }
    }
}

async fn obtain(args: &Args, config: &Parts, ambient: &Ambient) -> Result<(), Error> {
    let position = config
        .credentials
        .iter()
        .position(|credential| *credential.name == *args.credential)
        .ok_or_else(|| {
            let names: Vec<&str> = config.credentials.iter().map(|one| &*one.name).collect();
            Error::Unknown(if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            })
        })?;
    let settings = config
        .credentials
        .get(position)
        .and_then(|one| one.settings.as_ref())
        .ok_or(Error::Incomplete)?;
    let ask = live::ask(config, position).ok_or(Error::NothingToAsk)?;
    let live = Live::new(config, ambient)?;
    let token = live.token(settings, &ask).await;
    for (secret, error) in live.unwritten().await {
        say(&format!(
            "flowgate: the renewed refresh token cannot be written to {secret}: {error}"
        ));
        say(&format!("Cure: {}.", error.fix()));
    }
    let token = token?;
    if args.raw {
        say(
            "flowgate: whoever has this token can use it until it expires: keep it out of logs and tickets",
        );
        let text = token.authorization.to_str().unwrap_or_default();
        print(text.strip_prefix("Bearer ").unwrap_or(text));
        return Ok(());
    }
    match &token.claims {
        Some(claims) => print(&serde_json::to_string_pretty(claims.as_ref()).unwrap_or_default()),
        None => print("the token is opaque: it has no claims to show"),
    }
    Ok(())
}
