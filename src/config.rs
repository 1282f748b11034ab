//! The validated configuration.
//!
//! In: YAML files, the environment, secret files. Out: a [`Config`] that holds nothing unvalidated and nothing unresolved: the stages'
//! own settings, ready to build from. Refuses with every problem at once, each with its place and fix, and never a value that
//! could be secret.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::clock::Clock;
use crate::vault::Address;
use crate::{client, credential, flow, identity, policy, server, telemetry};
use settings::Environment;

pub mod raw;
mod source;
mod validate;

pub use crate::validation::{Certificate, EXPIRES_SOON, Secrets};
pub use settings::problem::{Problem, Problems, Severity};

/// Every default, and the only place where they are.
const DEFAULTS: &str = include_str!("../config/default.yaml");

/// Everything the gateway is built from.
pub struct Config {
    /// The callers' listener.
    pub server: server::ListenerSettings,
    /// What applies to requests whatever their flow.
    pub limits: Limits,
    /// Where metrics, health and status are.
    pub admin: Admin,
    /// How others are reached.
    pub outbound: client::OutboundSettings,
    /// Logs.
    pub log: telemetry::LogSettings,
    /// Callers in the order of their names; `CallerId` is the position.
    pub callers: Vec<identity::Caller>,
    /// Credentials in the order of their names.
    pub credentials: Vec<credential::CredentialSettings>,
    /// Secrets that are read from vaults while the gateway runs.
    pub vaults: Vaults,
    /// Flows in the order of their names; `FlowId` is the position.
    pub flows: Vec<Entry>,
    /// Configuration and secret files whose change means a reload.
    pub files: Vec<PathBuf>,
    /// Where each secret that was read comes from: `env` or `file`.
    pub secret_reads: Vec<&'static str>,
    /// What to report to the operator although the configuration is valid.
    pub warnings: Vec<String>,
    /// Certificates that are in files.
    pub certificates: Vec<Certificate>,
    /// SHA-256 in hex over the text of the files (not the secrets): distinguishes two configurations in metrics.
    pub hash: String,
    /// Over secrets, certificates and keys: shows whether one of them changed. It is shown nowhere, for values can be guessed.
    pub values: digest::Digest,
}

/// The admin port, from `admin:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: std::net::SocketAddr,
    /// Names under which it is asked besides those that are nobody else's, lower case.
    pub hosts: Vec<String>,
    /// Whether it takes `POST /-/reload`.
    pub reload: bool,
}

/// Limits on requests, from `server:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `server.hosts`, lower case; empty: any.
    pub hosts: Vec<String>,
    /// `server.trusted_proxies`.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Requests past authorization at a time.
    pub max_in_flight: usize,
    /// All buffered bodies together, in bytes; `None`: [`Limits::buffer_memory`] says.
    pub buffer_memory: Option<u64>,
    /// Caller tokens remembered.
    pub verified_tokens: u64,
}

/// `server.buffer_memory` where nobody says otherwise and there is memory enough, in bytes.
const BUFFER_MEMORY: u64 = 256 << 20;

/// The part of the process's memory that buffered bodies take at most, where nobody says otherwise: one in so many.
const BUFFER_PART: u64 = 4;

impl Limits {
    /// All buffered bodies together, in bytes, where the process may use `available` bytes in all.
    #[must_use]
    pub fn buffer_memory(&self, available: Option<u64>) -> u64 {
        let part = available.map_or(u64::MAX, |available| available / BUFFER_PART);
        self.buffer_memory.unwrap_or(BUFFER_MEMORY.min(part))
    }
}

/// What is read from vaults, and by whom.
#[derive(Clone)]
pub struct Vaults {
    /// How often the latest version is read again.
    pub refresh: std::time::Duration,
    /// Which credential (position in [`Config::credentials`]) asks for what to read them; those first that need no vault themselves.
    pub readers: Vec<(usize, credential::Ask)>,
    /// Credentials whose own secret is in a vault.
    pub owners: Vec<(Arc<str>, Address)>,
    /// Every secret that is read, once.
    pub used: Vec<Address>,
    /// Credentials that keep what they are given in a vault.
    pub stores: Vec<(Arc<str>, Address)>,
}

/// One flow and what each stage needs to know of it.
pub struct Entry {
    /// Path, URL, limits.
    pub flow: Arc<flow::Flow>,
    /// Who may trigger it.
    pub rule: policy::Rule,
    /// Which credential (position in [`Config::credentials`]) asks for what; `None`: the URL's own signature.
    pub credential: Option<(usize, credential::Ask)>,
}

/// What there is of a configuration where absent secrets may have left holes: for commands that need a part of it.
pub struct Parts {
    /// How others are reached.
    pub outbound: Option<client::OutboundSettings>,
    /// Credentials in the order of their names.
    pub credentials: Vec<Part>,
    /// Secrets that are read from vaults.
    pub vaults: Option<Vaults>,
    /// Flows in the order of their names.
    pub flows: Vec<Option<Entry>>,
    /// Their names.
    pub flow_names: Vec<Arc<str>>,
    /// Callers in the order of their names.
    pub callers: Vec<CallerPart>,
    /// Warnings and notes; only where the configuration was surveyed.
    pub reported: Problems,
    server: Option<(server::ListenerSettings, Limits)>,
    admin: Option<Admin>,
    log: Option<telemetry::LogSettings>,
    files: Vec<PathBuf>,
    secret_reads: Vec<&'static str>,
    certificates: Vec<Certificate>,
    hash: String,
    values: digest::Digest,
}

/// One credential, as far as it is there.
pub struct Part {
    /// Its configured name.
    pub name: Arc<str>,
    /// `None`: an absent secret left a hole.
    pub settings: Option<credential::CredentialSettings>,
}

/// One caller, as far as it is there.
pub struct CallerPart {
    /// Its configured name.
    pub name: Arc<str>,
    /// `None`: an absent secret left a hole.
    pub settings: Option<identity::Caller>,
}

impl Parts {
    /// Unix seconds at which the listener's certificate expires.
    #[must_use]
    pub fn certificate_expires(&self) -> Option<u64> {
        let (server, _) = self.server.as_ref()?;
        server.certificate_expires
    }

    /// The configuration, when nothing is missing.
    fn whole(self) -> Option<Config> {
        let (server, limits) = self.server?;
        let credentials: Option<Vec<_>> = self
            .credentials
            .into_iter()
            .map(|one| one.settings)
            .collect();
        let callers: Option<Vec<_>> = self.callers.into_iter().map(|one| one.settings).collect();
        let flows: Option<Vec<_>> = self.flows.into_iter().collect();
        Some(Config {
            server,
            limits,
            admin: self.admin?,
            outbound: self.outbound?,
            log: self.log?,
            callers: callers?,
            credentials: credentials?,
            vaults: self.vaults?,
            flows: flows?,
            files: self.files,
            secret_reads: self.secret_reads,
            warnings: Vec::new(),
            certificates: self.certificates,
            hash: self.hash,
            values: self.values,
        })
    }
}

/// What reading a configuration came to.
pub struct Outcome {
    /// The configuration; `None` after an error, or where an absent secret left a hole.
    pub config: Option<Config>,
    /// Everything worth saying.
    pub problems: Problems,
    /// How many flows, callers and credentials were seen.
    pub counts: Counts,
    /// Every file that was asked for, whether or not it is there.
    pub files: Vec<PathBuf>,
}

/// How many entries a configuration has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries of `flows:`.
    pub flows: usize,
    /// Entries of `callers:`.
    pub callers: usize,
    /// Entries of `credentials:`.
    pub credentials: usize,
}

/// Reads and validates; the gateway is about to start with it, or `Secrets::Optional` to look only.
pub fn load(
    paths: &[PathBuf],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Result<Config, Problems> {
    examine(paths, environment, clock, secrets).finish()
}

/// Reads and validates for a command that needs a part of it: what `secrets` says is there, else these are the problems.
pub fn survey(
    paths: &[PathBuf],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Result<Parts, Problems> {
    let mut problems = Problems::default();
    let (files, _) = source::read(paths, &mut problems);
    if problems.fatal() {
        return Err(problems);
    }
    survey_texts(&files, environment, clock, secrets)
}

fn survey_texts(
    files: &[source::File],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Result<Parts, Problems> {
    let Found {
        parts,
        mut problems,
        ..
    } = find(files, environment, clock, secrets);
    let reported = problems.clone();
    // What is absent and not needed stops no command.
    problems.keep_errors();
    match parts {
        Some(parts) if !problems.fatal() => Ok(Parts { reported, ..parts }),
        _ => Err(problems),
    }
}

impl Outcome {
    /// The configuration, with its warnings; or the problems.
    pub fn finish(self) -> Result<Config, Problems> {
        let Self {
            config, problems, ..
        } = self;
        if problems.fatal() {
            return Err(problems);
        }
        let mut config = config.ok_or_else(|| problems.clone())?;
        config.warnings = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Warning)
            .map(Problem::line)
            .collect();
        Ok(config)
    }
}

/// Reads one text that is in no file: the demo's, or a test's.
pub fn parse(text: &str, environment: &Environment, clock: &Clock) -> Result<Config, Problems> {
    let file = source::File {
        name: Arc::from("(text)"),
        text: text.to_owned(),
    };
    examine_texts(&[file], environment, clock, Secrets::Required).finish()
}

/// Reads and validates, and reports everything.
#[must_use]
pub fn examine(
    paths: &[PathBuf],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Outcome {
    let mut problems = Problems::default();
    let (files, watched) = source::read(paths, &mut problems);
    if problems.fatal() {
        return Outcome {
            config: None,
            problems,
            counts: Counts::default(),
            files: watched,
        };
    }
    let mut outcome = examine_texts(&files, environment, clock, secrets);
    problems.append(std::mem::take(&mut outcome.problems));
    outcome.problems = problems;
    outcome.files.extend(watched);
    outcome.files.sort();
    outcome.files.dedup();
    if let Some(config) = &mut outcome.config {
        config.files.clone_from(&outcome.files);
    }
    outcome
}

fn examine_texts(
    files: &[source::File],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Outcome {
    find(files, environment, clock, secrets).outcome()
}

/// What was found in the files: perhaps a configuration with holes.
#[derive(Default)]
struct Found {
    parts: Option<Parts>,
    problems: Problems,
    counts: Counts,
}

impl Found {
    fn outcome(self) -> Outcome {
        let Self {
            parts,
            problems,
            counts,
        } = self;
        let files = parts.as_ref().map(|parts| parts.files.clone());
        Outcome {
            config: parts.filter(|_| !problems.fatal()).and_then(Parts::whole),
            problems,
            counts,
            files: files.unwrap_or_default(),
        }
    }
}

fn find(
    files: &[source::File],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Found {
    match settings::tree::parse(&Arc::from("config/default.yaml (built in)"), DEFAULTS) {
        Ok(defaults) => find_over(&defaults, files, environment, clock, secrets),
        Err(problem) => Found {
            problems: Problems::from(*problem),
            ..Found::default()
        },
    }
}

fn find_over(
    defaults: &settings::tree::Node,
    files: &[source::File],
    environment: &Environment,
    clock: &Clock,
    secrets: Secrets,
) -> Found {
    let mut found = Found::default();
    let mut trees = Vec::with_capacity(files.len());
    for file in files {
        match settings::tree::parse(&file.name, &file.text) {
            Ok(tree) => trees.push(tree),
            Err(problem) => found.problems.push(*problem),
        }
    }
    // A file that is no YAML leaves holes everywhere: nothing else that could be said now would help.
    if found.problems.fatal() {
        return found;
    }
    let Some(mut root) =
        settings::merge::unite(trees, <raw::Document as settings::read::Document>::UNITED)
    else {
        return found;
    };
    settings::merge::underlay(&mut root, defaults);
    let mut reader = settings::read::Reader::new::<raw::Document>(environment.clone());
    if let Some(document) = <raw::Document as settings::read::Shape>::read(&mut reader, &root) {
        found.counts = counts(&document);
        let hash = hash(files);
        let parts = validate::document(document, &mut reader, secrets, clock.unix(), hash);
        found.parts = Some(parts);
    }
    found.problems = reader.into_problems();
    found
}

/// The configuration's JSON Schema (draft 2020-12), from the same list of keys that is read.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = <raw::Document as settings::read::Shape>::schema();
    if let Ok(defaults) = settings::tree::parse(&Arc::from(""), DEFAULTS) {
        note_defaults(&mut schema, &defaults);
    }
    if let serde_json::Value::Object(words) = &mut schema {
        for (word, value) in [
            ("$schema", "https://json-schema.org/draft/2020-12/schema"),
            ("$id", "urn:flowgate:configuration"),
            ("title", "flowgate configuration"),
        ] {
            words.insert(word.to_owned(), value.into());
        }
    }
    schema
}

/// Notes each default in the schema of its key.
fn note_defaults(schema: &mut serde_json::Value, defaults: &settings::tree::Node) {
    let settings::tree::Value::Map(entries) = &defaults.value else {
        return;
    };
    for entry in entries {
        let Some(below) = schema.pointer_mut(&format!("/properties/{}", entry.key)) else {
            continue;
        };
        match &entry.value.value {
            settings::tree::Value::Map(_) => note_defaults(below, &entry.value),
            _ => {
                if let serde_json::Value::Object(words) = below {
                    words.insert("default".to_owned(), entry.value.json());
                }
            }
        }
    }
}

fn counts(document: &raw::Document) -> Counts {
    fn of<T>(field: &settings::read::Field<settings::Named<T>>) -> usize {
        field.as_ref().map_or(0, |named| named.value.0.len())
    }
    Counts {
        flows: of(&document.flows),
        callers: of(&document.callers),
        credentials: of(&document.credentials),
    }
}

fn hash(files: &[source::File]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for file in files {
        // With its length, so that moving text from one file to the next makes another hash.
        context.update(&(file.text.len() as u64).to_le_bytes());
        context.update(file.text.as_bytes());
    }
    settings::values::hex(context.finish().as_ref())
}

#[cfg(test)]
mod tests;
