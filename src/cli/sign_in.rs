//! `flowgate sign-in`: the one-time sign-in that fills a `refresh_token` credential's store.
//!
//! In: the configuration, of whose secrets only this credential's have to be there, its name, a person with a browser. Out: who signed in and until when, on standard output; what to do
//! meanwhile on standard error. A running gateway takes the new token up by itself. Never prints a token or a code of the
//! provider's that could be redeemed.

use std::process::ExitCode;
use std::time::Duration;

use super::live::{self, Live};
use super::{ConfigArgs, complain, print, say};
use crate::app::Ambient;
use crate::config::Parts;
use crate::credential::Ask;
use crate::credential::refresh_token;
use crate::credential::refresh_token::sign_in::{Error, SignIn, Signed};

mod loopback;

/// How long a person may take in the browser, or to put right what the vault refuses.
const PATIENCE: Duration = Duration::from_mins(5);

/// Between two attempts to write to a vault.
const AGAIN: Duration = Duration::from_secs(5);

/// Arguments of `sign-in`.
#[derive(clap::Args)]
#[command(
    after_help = "Example: flowgate sign-in --config flowgate.yaml planner\n\nThe address that is printed is opened in a browser on the same machine. From a machine without one either forward a port (ssh -L 8400:localhost:8400 server, then --port 8400) or use --device-code."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The credential's name.
    credential: String,
    /// Show a code to type on another device, instead of an address to open on this machine.
    #[arg(long, conflicts_with = "port")]
    device_code: bool,
    /// The port of this machine the browser comes back to; 0: any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Replace the account in the store by whoever signs in now.
    #[arg(long)]
    replace_account: bool,
}

/// Why nobody has signed in.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("no credential of this name: the configuration has {0}")]
    Unknown(String),
    #[error("this credential is not of the kind refresh_token: there is nothing to sign in for")]
    OtherKind,
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
    #[error("no port of this machine can be listened on")]
    Listen(#[source] std::io::Error),
    #[error("nobody came back from the browser within five minutes")]
    Late,
    #[error(transparent)]
    SignIn(#[from] Error),
}

/// Lets a person sign in.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let ambient = Ambient::system();
    let needed = vec![
        "outbound".to_owned(),
        format!("credentials.{}", args.credential),
    ];
    let config = match args.config.survey(&ambient, needed) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failed::Runtime)
        .and_then(|runtime| runtime.block_on(sign_in(args, &config, &ambient)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            complain(&failed);
            explain(&failed, args.device_code);
            ExitCode::FAILURE
        }
    }
}

async fn sign_in(args: &Args, config: &Parts, ambient: &Ambient) -> Result<(), Failed> {
    let (settings, ask) = wanted(config, &args.credential)?;
    // It lives as long as the sign-in does: vaults are read with its tokens.
    let live = Live::new(config, ambient)?;
    let context = live.context(&settings.credential, ambient);
    let sign_in = SignIn::new(settings, &ask, &context);
    // Before a person signs in.
    sign_in.rehearse(args.replace_account).await?;
    let signed = if args.device_code {
        by_device(&sign_in).await?
    } else {
        by_browser(&sign_in, args.port).await?
    };
    let account = signed.account.clone();
    let ends = kept(&sign_in, &signed, args.replace_account).await?;
    let who = account.map_or_else(
        || "Signed in; the provider does not say as whom.".to_owned(),
        |account| {
            let name = account.name.unwrap_or(account.subject);
            format!("Signed in as {name} (of {}).", account.realm)
        },
    );
    print(&who);
    if let Some(ends) = ends {
        print(&format!(
            "The gateway renews it by itself. Unused it ends on {}.",
            day(ends)
        ));
    }
    Ok(())
}

/// Puts the token where the gateway finds it. What a vault refuses somebody may put right meanwhile; a new permission takes minutes to
/// count, and nobody should have to sign in twice for that.
async fn kept(sign_in: &SignIn, signed: &Signed, replace: bool) -> Result<Option<u64>, Error> {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut last = None;
    loop {
        let error = match sign_in.keep(signed, replace).await {
            Err(Error::Vault(error)) if tokio::time::Instant::now() < end => error,
            outcome => return outcome,
        };
        if last != Some(error) {
            last = Some(error);
            say(&format!("The vault does not take the token: {error}."));
            say(&format!("Cure: {}.", error.fix()));
            say("Trying again for five minutes. Whoever stops this has to sign in again.");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The credential, and what it asks for: its own `scope:` or `resource:`, or what the first flow that uses it wants.
fn wanted<'c>(
    config: &'c Parts,
    name: &str,
) -> Result<(&'c refresh_token::RefreshTokenSettings, Ask), Failed> {
    let position = config
        .credentials
        .iter()
        .position(|credential| *credential.name == *name);
    let found = position.and_then(|position| config.credentials.get(position));
    let Some((position, credential)) = position.zip(found) else {
        let names: Vec<&str> = config.credentials.iter().map(|one| &*one.name).collect();
        return Err(Failed::Unknown(if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }));
    };
    let credential = credential.settings.as_ref().ok_or(Failed::Incomplete)?;
    let settings = credential.kind.sign_in().ok_or(Failed::OtherKind)?;
    let ask = settings
        .scope
        .clone()
        .or_else(|| live::ask(config, position))
        .ok_or(Failed::NothingToAsk)?;
    Ok((settings, ask))
}

async fn by_browser(sign_in: &SignIn, port: u16) -> Result<Signed, Failed> {
    let listener = loopback::Listener::bind(port)
        .await
        .map_err(Failed::Listen)?;
    let browser = sign_in.browser(&listener.redirect())?;
    say("Open this address in a browser on this machine, and sign in as the service account:");
    say("");
    print(browser.url.as_str());
    say("");
    let answer = tokio::time::timeout(PATIENCE, listener.answer(&browser.state))
        .await
        .map_err(|_| Failed::Late)?;
    match answer {
        loopback::Answer::Code(code) => Ok(sign_in.redeem(browser, &code).await?),
        loopback::Answer::Error { error, codes } => Err(Error::Ended { error, codes }.into()),
    }
}

async fn by_device(sign_in: &SignIn) -> Result<Signed, Failed> {
    let device = sign_in.device().await?;
    say("On any device open this address, type the code, and sign in as the service account:");
    say("");
    print(&format!("{}   {}", device.address, device.user_code));
    say("");
    say(&format!(
        "The code is good for {} minutes. Type it only if you started this yourself.",
        device.within.as_secs().div_ceil(60)
    ));
    Ok(sign_in.wait(&device).await?)
}

/// What to do about it, on standard error.
fn explain(failed: &Failed, by_device: bool) {
    let Failed::SignIn(error) = failed else {
        return;
    };
    let codes: &[u32] = match error {
        Error::Refused(failure) => {
            for line in live::explained(failure, "flowgate sign-in") {
                say(&line);
            }
            failure.codes()
        }
        Error::Ended { codes, .. } => {
            for code in codes {
                say(&live::meaning(*code));
            }
            codes
        }
        Error::NoRefreshToken => {
            say(
                "Cure: allow the application offline access (the scope offline_access; elsewhere the refresh_token grant).",
            );
            return;
        }
        Error::OtherAccount => {
            say(
                "Cure: sign in as the account that signed in before, or add --replace-account if the change is meant.",
            );
            return;
        }
        Error::Unknown(error) | Error::Store(error) => {
            say(&format!("Cure: {}.", error.reason().entry().fix));
            return;
        }
        Error::Vault(error) => {
            say(&format!("Cure: {}.", error.fix()));
            return;
        }
        Error::NoEndpoint(_) | Error::Late | Error::NotOurs(_) => return,
    };
    if by_device && codes.contains(&DEVICE_CODE_FORBIDDEN) {
        say(
            "The tenant's Conditional Access forbids signing in by device code. Sign in through a browser instead: leave --device-code out; on a server forward a port, ssh -L 8400:localhost:8400 SERVER, and add --port 8400.",
        );
    }
}

/// AADSTS53003: Conditional Access.
const DEVICE_CODE_FORBIDDEN: u32 = 53_003;

fn day(unix: u64) -> String {
    i64::try_from(unix)
        .ok()
        .and_then(|unix| jiff::Timestamp::from_second(unix).ok())
        .map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string())
}
