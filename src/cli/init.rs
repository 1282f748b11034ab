//! `flowgate init`: from a trigger's URL to a configuration, and to the commands that register the application.
//!
//! In: the URL or the designer's copied `curl` command, who calls, how the gateway proves itself; by options, or asked for where standard
//! input is a terminal. Out: a commented configuration, secrets in files of their own (mode 0600), and on standard output the
//! commands to run and what to enter in the flow designer. Refuses to replace a file, a signed URL as an argument (every process of
//! the machine could read it), and what `check` would refuse.

use std::io::{self, BufRead, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::{BAD_CONFIGURATION, complain, print, say};
use crate::clock::Random;
use settings::problem::Name;
use settings::values::guid;

mod configuration;
mod files;
mod quote;
mod steps;
mod target;

use target::Target;

/// Longest text that is read: URLs have at most 16 KiB.
const LIMIT: u64 = 256 << 10;

/// Arguments of `init`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate init
  flowgate init --url 'https://….environment.api.powerplatform.com:443/powerautomate/…' --tenant 8f3b0000-… --caller key
  flowgate init --curl-file copied.txt --caller application --powershell

A URL with sig= is a secret: give it by --curl-file, or on standard input with --curl-file -. Nothing that exists is replaced.")]
pub struct Args {
    /// The trigger's URL, without sig=.
    #[arg(long, conflicts_with = "curl_file")]
    url: Option<String>,
    /// A file with the trigger's URL, or with the `curl` command that the designer copies; - reads standard input.
    #[arg(long, alias = "url-file", value_name = "PATH")]
    curl_file: Option<PathBuf>,
    /// The flow's name, which is its path, too.
    #[arg(long, default_value = "my-flow")]
    name: String,
    /// Who calls.
    #[arg(long, value_enum)]
    caller: Option<Who>,
    /// The caller's name; default: after its kind.
    #[arg(long)]
    caller_name: Option<String>,
    /// The calling application's client id, for --caller application.
    #[arg(long, value_name = "GUID")]
    caller_client_id: Option<String>,
    /// How the gateway proves itself to the flow; default: none for a URL with sig=, else client-secret.
    #[arg(long, value_enum)]
    credential: Option<Proof>,
    /// The flow's tenant: Directory (tenant) ID.
    #[arg(long, value_name = "GUID")]
    tenant: Option<String>,
    /// Application (client) ID, where the application is registered already; default: registered by the printed commands.
    #[arg(long, value_name = "GUID")]
    client_id: Option<String>,
    /// Display name of the application that is registered.
    #[arg(long, default_value = "flowgate")]
    app_name: String,
    /// Where to write the configuration; secrets go into `secrets/` beside it.
    #[arg(long, value_name = "PATH", default_value = "flowgate.yaml")]
    output: PathBuf,
    /// Print the commands for PowerShell.
    #[arg(long, conflicts_with = "terraform")]
    powershell: bool,
    /// Print Terraform in place of commands.
    #[arg(long)]
    terraform: bool,
}

/// Who calls the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Who {
    /// A system with an API key, which is made.
    Key,
    /// Users of the tenant, with tokens of Entra ID.
    Users,
    /// One application of the tenant, with tokens of Entra ID.
    Application,
    /// Anyone who can reach the gateway.
    Anyone,
}

/// How the gateway proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    /// A client secret.
    ClientSecret,
    /// A certificate.
    ClientCertificate,
    /// The identity that Azure gives the machine, app or container.
    ManagedIdentity,
    /// A token of the cluster, or of another platform, that the application trusts.
    WorkloadIdentity,
    /// Nothing but the URL's own signature.
    None,
}

/// For whom commands are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// `sh` and `bash`.
    Posix,
    /// PowerShell.
    PowerShell,
    /// No shell: Terraform's language.
    Terraform,
}

/// Everything that has been decided.
pub(crate) struct Plan {
    /// What answers at the URL.
    pub target: Target,
    /// The flow's name.
    pub flow: Name,
    /// Who calls.
    pub who: Who,
    /// The caller's name.
    pub caller: Name,
    /// The calling application.
    pub caller_client_id: Option<String>,
    /// The gateway's proof.
    pub proof: Proof,
    /// The tenant, where one is needed.
    pub tenant: Option<String>,
    /// The registered application, where there is one.
    pub client_id: Option<String>,
    /// Its display name.
    pub app_name: String,
    /// The configuration's path.
    pub output: PathBuf,
    /// For whom commands are printed.
    pub shell: Language,
}

impl Plan {
    /// Whether an application of Entra ID has a part in it.
    #[must_use]
    pub fn registers(&self) -> bool {
        !self.target.simulated
            && self.client_id.is_none()
            && (self.has_application() || matches!(self.who, Who::Users | Who::Application))
    }

    /// Whether the gateway proves itself as an application.
    #[must_use]
    pub fn has_application(&self) -> bool {
        self.has_secret() || self.proof == Proof::WorkloadIdentity
    }

    /// Whether that application has a secret of its own.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        matches!(self.proof, Proof::ClientSecret | Proof::ClientCertificate)
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0} is needed: give it by option, standard input is no terminal")]
    Missing(&'static str),
    #[error(
        "a URL with sig= is a secret, and arguments are visible to every process: give it by --curl-file PATH, or by --curl-file - on standard input"
    )]
    SignedArgument,
    #[error("{path} cannot be read")]
    Unreadable { path: String, source: io::Error },
    #[error(transparent)]
    Target(#[from] target::Unusable),
    #[error(
        "{0} is not a name: 1 to 63 characters of a-z, 0-9 and -, beginning with a letter or digit"
    )]
    Name(&'static str),
    #[error("{0} has to be a GUID")]
    Guid(&'static str),
    #[error("{0} has a control character")]
    Control(&'static str),
    #[error(
        "anyone could act as the gateway: with a credential, choose --caller key, users or application; for everybody, set the flow to Anyone and give its signed URL"
    )]
    Borrowed,
    #[error("the URL has no sig=, so --credential none cannot work: the flow wants a token")]
    NoProof,
    #[error("--caller-client-id belongs to --caller application")]
    StrayClient,
    #[error("{path} exists already: nothing is replaced; choose another --output, or move it away")]
    Exists { path: String },
    #[error("{path} cannot be written")]
    Unwritable { path: String, source: io::Error },
}

/// Asks, writes and prints.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let stdin = io::stdin();
    let asks = stdin.is_terminal();
    let mut input = stdin.lock();
    let mut dialogue = Dialogue {
        input: &mut input,
        asks,
    };
    match plan(args, &mut dialogue).and_then(|plan| apply(&plan, &Random::system())) {
        Ok(summary) => {
            print(&summary);
            ExitCode::SUCCESS
        }
        Err(refused) => {
            complain(&refused);
            match refused {
                Refused::Unwritable { .. } => ExitCode::FAILURE,
                _ => ExitCode::from(BAD_CONFIGURATION),
            }
        }
    }
}

/// Writes the files; out: what is still to do.
fn apply(plan: &Plan, random: &Random) -> Result<String, Refused> {
    let written = configuration::write(plan, random);
    files::create(&plan.output, &written)?;
    Ok(steps::text(plan, &written))
}

/// Questions and answers.
struct Dialogue<'i> {
    input: &'i mut dyn BufRead,
    /// Whether somebody is there to answer.
    asks: bool,
}

impl Dialogue<'_> {
    /// A line; `None`: nobody is there.
    fn ask(&mut self, question: &str) -> Option<String> {
        if !self.asks {
            return None;
        }
        say(question);
        let mut line = String::new();
        io::Read::by_ref(&mut self.input)
            .take(LIMIT)
            .read_line(&mut line)
            .ok()
            .filter(|length| *length > 0)?;
        Some(line.trim().to_owned())
    }

    /// Lines up to an empty one, or one line that is a URL.
    fn ask_lines(&mut self, question: &str) -> Option<String> {
        let mut text = self.ask(question)?;
        if text.starts_with("http") {
            return Some(text);
        }
        loop {
            let mut line = String::new();
            let read = io::Read::by_ref(&mut self.input)
                .take(LIMIT)
                .read_line(&mut line)
                .ok()?;
            if read == 0 || line.trim().is_empty() || text.len() as u64 > LIMIT {
                return Some(text);
            }
            text.push('\n');
            text.push_str(line.trim_end());
        }
    }

    /// One of the words of a choice, the first when the answer is empty.
    fn choose<T: ValueEnum + Clone>(&mut self, question: &str, choices: &[T]) -> Option<T> {
        let word = |choice: &T| {
            let value = choice.to_possible_value();
            value
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default()
        };
        let words: Vec<String> = choices.iter().map(word).collect();
        loop {
            let answer = self.ask(&format!("{question} [{}]", words.join(" | ")))?;
            if answer.is_empty() {
                return choices.first().cloned();
            }
            let found = words.iter().position(|word| *word == answer);
            if let Some(choice) = found.and_then(|index| choices.get(index)) {
                return Some(choice.clone());
            }
        }
    }
}

fn plan(args: Args, dialogue: &mut Dialogue<'_>) -> Result<Plan, Refused> {
    // Nothing is asked for that could not be written.
    files::absent(&args.output)?;
    let text = match (&args.url, &args.curl_file) {
        (Some(url), _) => {
            if target::is_signed(url) {
                return Err(Refused::SignedArgument);
            }
            url.clone()
        }
        (None, Some(path)) => read(path, dialogue)?,
        (None, None) => dialogue
            .ask_lines("The trigger's URL, or the copied curl command and an empty line:")
            .ok_or(Refused::Missing("--url or --curl-file"))?,
    };
    let target = target::recognise(&text)?;
    say(&format!("This is {}.", target.described()));
    let who = match args.caller {
        Some(who) => who,
        None => dialogue
            .choose(
                "Who calls?",
                &[Who::Key, Who::Users, Who::Application, Who::Anyone],
            )
            .ok_or(Refused::Missing("--caller"))?,
    };
    let proof = match args.credential {
        Some(proof) => proof,
        None if target.signed => Proof::None,
        None => dialogue
            .choose(
                "How does the gateway prove itself?",
                &[
                    Proof::ClientSecret,
                    Proof::ClientCertificate,
                    Proof::ManagedIdentity,
                    Proof::WorkloadIdentity,
                ],
            )
            .unwrap_or(Proof::ClientSecret),
    };
    if who == Who::Anyone && proof != Proof::None {
        return Err(Refused::Borrowed);
    }
    if proof == Proof::None && !target.signed {
        return Err(Refused::NoProof);
    }
    let caller_client_id = client_of_caller(args.caller_client_id, who, &target, dialogue)?;
    let entra = matches!(who, Who::Users | Who::Application)
        || matches!(
            proof,
            Proof::ClientSecret | Proof::ClientCertificate | Proof::WorkloadIdentity
        );
    let tenant = match args.tenant.or_else(|| target.tenant.clone()) {
        Some(tenant) => Some(tenant),
        None if entra => Some(
            dialogue
                .ask("The flow's tenant, a GUID (Entra admin center, Overview, Tenant ID):")
                .ok_or(Refused::Missing("--tenant"))?,
        ),
        None => None,
    };
    let client_id = args.client_id.or_else(|| target.client_id.clone());
    plain(&args.app_name, "--app-name")?;
    plain(&args.output.to_string_lossy(), "--output")?;
    Ok(Plan {
        flow: Name::parse(&args.name).ok_or(Refused::Name("--name"))?,
        caller: caller_name(args.caller_name, who)?,
        who,
        caller_client_id,
        proof,
        tenant: tenant.map(|id| a_guid(&id, "--tenant")).transpose()?,
        client_id: client_id.map(|id| a_guid(&id, "--client-id")).transpose()?,
        app_name: args.app_name,
        output: args.output,
        shell: match (args.powershell, args.terraform) {
            (true, _) => Language::PowerShell,
            (_, true) => Language::Terraform,
            _ => Language::Posix,
        },
        target,
    })
}

fn client_of_caller(
    given: Option<String>,
    who: Who,
    target: &Target,
    dialogue: &mut Dialogue<'_>,
) -> Result<Option<String>, Refused> {
    if who != Who::Application {
        return match given {
            Some(_) => Err(Refused::StrayClient),
            None => Ok(None),
        };
    }
    let simulated = || {
        target
            .simulated
            .then(|| target::SIMULATED_CALLER.to_owned())
    };
    let id = given
        .or_else(simulated)
        .or_else(|| dialogue.ask("The calling application's client id, a GUID:"))
        .ok_or(Refused::Missing("--caller-client-id"))?;
    a_guid(&id, "--caller-client-id").map(Some)
}

fn caller_name(given: Option<String>, who: Who) -> Result<Name, Refused> {
    let name = given.unwrap_or_else(|| {
        let usual = match who {
            Who::Key => "erp",
            Who::Users => "staff",
            Who::Application => "app",
            Who::Anyone => "everybody",
        };
        usual.to_owned()
    });
    Name::parse(&name)
        .filter(|name| name.as_str() != "anyone")
        .ok_or(Refused::Name("--caller-name"))
}

fn read(path: &Path, dialogue: &mut Dialogue<'_>) -> Result<String, Refused> {
    let mut text = String::new();
    let outcome = if path == Path::new("-") {
        io::Read::by_ref(&mut dialogue.input)
            .take(LIMIT)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text))
    };
    match outcome {
        Ok(_) => Ok(text),
        Err(source) => Err(Refused::Unreadable {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn a_guid(text: &str, what: &'static str) -> Result<String, Refused> {
    guid(text.trim()).ok_or(Refused::Guid(what))
}

fn plain(text: &str, what: &'static str) -> Result<(), Refused> {
    if text.chars().any(char::is_control) || text.trim().is_empty() {
        return Err(Refused::Control(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
