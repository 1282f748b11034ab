//! From what the file says to what the gateway is built from.
//!
//! In: [`raw::Document`]. Out: the [`Parts`] of a configuration, and problems. Each struct of the grammar is destructured exhaustively: a key that is read and
//! validated nowhere does not compile. Where a part is broken the rest is validated all the same, so that every problem is reported at once.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{Certificate, EXPIRES_SOON, Parts, Problems, Secrets, Severity, raw};
use crate::secret::{Secret, Source, Unreadable};
use crate::validity::Validity;
use crate::{client, file};
use settings::Named;
use settings::problem::{Name, SafeText, SourceLocation};
use settings::read::{At, Field, Reader};
use settings::safe_text;
use settings::values::{Choice, OneOrMore, Text, path_advice, variable_advice};

mod asks;
mod callers;
pub(crate) mod clouds;
mod credentials;
mod flows;
mod listener;
mod lists;
mod outbound;
mod target;
mod vaults;
mod wanted;

/// What every validation needs.
struct ValidationContext<'r> {
    reader: &'r mut Reader,
    secrets: Secrets,
    /// Unix seconds.
    now: u64,
    /// Non-loopback hosts to which plain http is allowed.
    insecure_hosts: Vec<String>,
    /// Files behind secrets, certificates and keys.
    files: Vec<PathBuf>,
    /// Where each secret that was read comes from.
    secret_reads: Vec<&'static str>,
    /// Over every secret, certificate and key that was read.
    values: digest::Context,
    /// Certificates that are in files.
    certificates: Vec<Certificate>,
    /// Whether the advice against passwords has been given.
    passwords_advised: bool,
    /// What `secrets:` says.
    stores: vaults::Stores,
    /// Secrets that are read from vaults.
    vault_uses: Vec<vaults::Use>,
    /// The credential that is being validated.
    owner: Option<Arc<str>>,
    /// Whether callers can reach the gateway from this machine only, whatever else of the listener is there.
    on_loopback: bool,
}

/// Validates a whole document.
pub(super) fn document(
    document: raw::Document,
    reader: &mut Reader,
    secrets: Secrets,
    now: u64,
    hash: String,
) -> Parts {
    let raw::Document {
        server,
        admin,
        outbound,
        secrets: stores,
        log,
        defaults,
        callers,
        credentials,
        flows,
    } = document;
    let mut context = ValidationContext {
        reader,
        secrets,
        now,
        insecure_hosts: Vec::new(),
        files: Vec::new(),
        secret_reads: Vec::new(),
        values: digest::Context::new(&digest::SHA256),
        certificates: Vec::new(),
        passwords_advised: false,
        stores: vaults::stores(stores),
        vault_uses: Vec::new(),
        owner: None,
        on_loopback: false,
    };
    let defaults = defaults.value();
    let defaults = Defaults::from(defaults);
    let outbound = outbound::outbound(&mut context, outbound);
    let log = outbound::log(log);
    let server = listener::server(&mut context, server);
    let admin = listener::admin(&mut context, admin, server.as_ref());
    unused_defaults(&mut context, &defaults);
    let callers = callers::callers(&mut context, callers, &defaults);
    let mut credentials = credentials::credentials(&mut context, credentials, &defaults);
    let vaults = vaults::validate(&mut context, &mut credentials);
    let flow_names = flows.as_ref().map_or_else(Vec::new, |at| {
        let Named(named) = &at.value;
        named.iter().map(|(name, _)| name.shared()).collect()
    });
    let flows = flows::flows(
        &mut context,
        flows,
        &defaults,
        server.as_ref(),
        &callers,
        &credentials,
    );
    let ValidationContext {
        files,
        secret_reads,
        values,
        certificates,
        on_loopback,
        ..
    } = context;
    Parts {
        server: server.map(|server| (server.settings, server.limits)),
        admin,
        outbound: outbound.map(|outbound| client::OutboundSettings {
            believe_simulator: on_loopback,
            ..outbound
        }),
        log,
        callers: callers.parts(),
        credentials: credentials.parts(),
        vaults,
        flows,
        flow_names,
        reported: Problems::default(),
        files,
        secret_reads,
        certificates,
        hash,
        values: values.finish(),
    }
}

/// The `defaults:` section, taken apart once.
struct Defaults {
    entra: raw::EntraDefaults,
    flow: raw::FlowDefaults,
    api_key: raw::ApiKeyDefaults,
    jwt: raw::JwtDefaults,
    client_secret: raw::ClientSecretDefaults,
    client_certificate: raw::ClientCertificateDefaults,
}

impl Defaults {
    fn from(section: Option<raw::Defaults>) -> Self {
        let raw::Defaults {
            entra,
            flow,
            api_key,
            jwt,
            client_secret,
            client_certificate,
        } = section.unwrap_or_else(raw::Defaults::silent);
        Self {
            entra: part(entra, raw::EntraDefaults::silent),
            flow: part(flow, raw::FlowDefaults::silent),
            api_key: part(api_key, raw::ApiKeyDefaults::silent),
            jwt: part(jwt, raw::JwtDefaults::silent),
            client_secret: part(client_secret, raw::ClientSecretDefaults::silent),
            client_certificate: part(client_certificate, raw::ClientCertificateDefaults::silent),
        }
    }
}

/// Validates the defaults that are otherwise looked at only where an entry takes them: what is wrong there is wrong before anybody does.
fn unused_defaults(context: &mut ValidationContext<'_>, defaults: &Defaults) {
    if let Some(at) = defaults.entra.authority.as_ref() {
        context.authority_url(at);
    }
    if let Some(at) = defaults.api_key.header.as_ref() {
        callers::api_key::key_header(context, at);
    }
}

fn part<T>(field: Field<T>, silent: fn() -> T) -> T {
    field.value().unwrap_or_else(silent)
}

impl ValidationContext<'_> {
    /// The value of a key that has to be there; `owner` is the section it belongs to.
    fn required<T>(
        &mut self,
        field: Field<T>,
        owner: &SourceLocation,
        key: &'static str,
        fix: SafeText,
    ) -> Option<At<T>> {
        if field.absent() {
            self.reader
                .error_at(owner, safe_text!("`{}` is missing", key), fix);
        }
        field.given()
    }

    /// A secret's value. An absent one is an error or, when only looking, a note.
    fn secret(&mut self, at: &At<raw::Source>, sensitive: bool) -> Option<Secret<String>> {
        self.announce(at, sensitive)?;
        let value = at.value.0.read(self.reader.environment());
        self.digest(value.as_ref().ok().map(|value| value.expose().as_bytes()));
        self.accounted(&at.location, &at.value.0, value)
    }

    /// The same for one that may be a binary file, which comes in base64.
    fn secret_of_any_kind(&mut self, at: &At<raw::Source>) -> Option<Secret<String>> {
        self.announce(at, true)?;
        let value = at.value.0.read_any(self.reader.environment());
        self.digest(value.as_ref().ok().map(|value| value.expose().as_bytes()));
        self.accounted(&at.location, &at.value.0, value)
    }

    /// Has a secret's file watched, and warns of one that is here itself. `None`: what is here is no secret but its place.
    fn announce(&mut self, at: &At<raw::Source>, sensitive: bool) -> Option<()> {
        let raw::Source(source) = &at.value;
        match source {
            Source::File(path) => self.files.push(path.clone()),
            Source::Plain(text) if sensitive && raw::vault_reference(text.expose()).is_some() => {
                let fix = raw::vault_reference(text.expose())?;
                self.reader.error_at(
                    &at.location,
                    safe_text!("this is the address of a secret, and would itself be the secret"),
                    fix,
                );
                return None;
            }
            Source::Plain(_) if sensitive => self.reader.warn_at(
                &at.location,
                safe_text!("a secret in plain text"),
                safe_text!("move it out: {{ env: NAME }} or {{ file: PATH }}"),
            ),
            Source::Plain(_) | Source::Environment(_) | Source::KeyVault { .. } => {}
        }
        Some(())
    }

    /// Counts what was read, or reports why it could not be.
    fn accounted<T>(
        &mut self,
        location: &SourceLocation,
        source: &Source,
        value: Result<T, Unreadable>,
    ) -> Option<T> {
        let kind = source.kind();
        if value.is_ok() {
            self.secret_reads.extend(kind);
        }
        value
            .map_err(|reason| {
                let which = match source {
                    Source::Environment(name) => variable_advice(name),
                    Source::File(path) => path_advice(path, &location.file),
                    Source::KeyVault { .. } | Source::Plain(_) => safe_text!(""),
                };
                let severity = match reason {
                    Unreadable::InVault => Severity::Error,
                    _ => self.severity(location, reason.absent()),
                };
                let fix = if reason == crate::secret::Unreadable::InVault {
                    safe_text!("write {{ env: NAME }} or {{ file: PATH }}: it is needed before a vault can be read")
                } else if severity == Severity::Note && self.secrets != Secrets::Reported {
                    safe_text!(
                        "it has to be there when the gateway starts (--secrets makes this an error)"
                    )
                } else if matches!(source, Source::Environment(_)) {
                    safe_text!("set it where the gateway is started; one that runs keeps the variables of its start")
                } else {
                    safe_text!("put it there; a running gateway then reads it by itself")
                };
                self.reader.note(
                    severity,
                    location,
                    safe_text!("{}{}", reason.reason(), colon(&which)),
                    fix,
                    None,
                );
                if let Some(kind) = kind {
                    self.reader.blame_secret(kind);
                }
            })
            .ok()
    }

    /// How bad it is that a secret or file cannot be read.
    fn severity(&self, location: &SourceLocation, absent: bool) -> Severity {
        let reported = self.secrets == Secrets::Reported;
        if reported || absent && !self.secrets.required(&location.path) {
            Severity::Note
        } else {
            Severity::Error
        }
    }

    /// Warns of what has expired, or will soon. `what`: e.g. `the secret`.
    fn warn_of_expiry(
        &mut self,
        location: &SourceLocation,
        expires: u64,
        what: &'static str,
        fix: SafeText,
    ) {
        if expires <= self.now {
            let message = safe_text!("{} has expired", what);
            self.reader.warn_at(location, message, fix);
        } else if expires <= self.now + EXPIRES_SOON {
            let days = match (expires - self.now) / (24 * 3600) {
                0 => safe_text!("less than a day"),
                1 => safe_text!("1 day"),
                days => safe_text!("{} days", SafeText::checked(days.to_string())),
            };
            let message = safe_text!("{} expires in {}", what, days);
            self.reader.warn_at(location, message, fix);
        }
    }

    /// The bytes of a file that is not a secret, or is one that TLS reads.
    fn file(&mut self, at: &At<Text>) -> Option<Vec<u8>> {
        if !raw::resolves(self.reader, at) {
            return None;
        }
        let path = raw::beside(&at.location.file, &at.value.0);
        self.files.push(path.clone());
        match file::read(&path, super::source::LIMIT) {
            Ok(bytes) => {
                self.digest(Some(&bytes));
                Some(bytes)
            }
            Err(error) => {
                let severity = self.severity(&at.location, error == file::Error::NotFound);
                let which = path_advice(&path, &at.location.file);
                self.reader.note(
                    severity,
                    &at.location,
                    safe_text!("{}{}", error.reason(), colon(&which)),
                    safe_text!("put it there; relative paths start at the configuration file"),
                    None,
                );
                None
            }
        }
    }

    /// Takes a value that was read into account when two configurations are compared.
    fn digest(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            // With its length, so that moving text from one value to the next makes another digest.
            self.values.update(&(value.len() as u64).to_le_bytes());
            self.values.update(value);
        }
    }

    /// Notes until when a certificate of the configuration may be used, and warns if that is soon.
    fn certificate(&mut self, location: &SourceLocation, valid: Validity, fix: SafeText) {
        if self.now < valid.from {
            let message = safe_text!("the certificate is not valid yet");
            self.reader.warn_at(location, message, fix);
        } else {
            self.warn_of_expiry(location, valid.until, "the certificate", fix);
        }
        self.certificates.push(Certificate {
            place: Arc::clone(&location.path),
            valid,
        });
    }

    /// Whether there is a folder for a file that the gateway itself writes. Only an error stops: the folder may be mounted later.
    fn has_folder(&mut self, location: &SourceLocation, path: &std::path::Path) -> bool {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => std::path::Path::new("."),
        };
        if folder.is_dir() && !path.is_dir() {
            return true;
        }
        let severity = match self.secrets {
            Secrets::Complete => Severity::Error,
            // A running gateway says itself what it could not write.
            Secrets::Required | Secrets::Below(_) | Secrets::Optional | Secrets::Reported => {
                Severity::Note
            }
        };
        let which = path_advice(folder, &location.file);
        self.reader.note(
            severity,
            location,
            safe_text!("there is no folder for this file{}", colon(&which)),
            safe_text!("make it, or mount it, and let the user who runs the gateway write there"),
            None,
        );
        severity != Severity::Error
    }

    /// An address somebody else's answers are trusted from: https, or http where that is allowed.
    fn https(&mut self, at: &At<Text>) -> Option<url::Url> {
        let url = self.https_with_query(at)?;
        if url.as_str().contains(['?', '#']) {
            self.reader.error_at(
                &at.location,
                safe_text!("the URL has a query or a fragment"),
                safe_text!("leave everything from ? or # on out"),
            );
            return None;
        }
        Some(url)
    }

    /// An Entra ID's address, to which tenant and endpoint are added.
    fn authority_url(&mut self, at: &At<Text>) -> Option<url::Url> {
        let url = self.https(at)?;
        let added = |segment: &str| {
            settings::values::guid(segment).is_some()
                || ["common", "organizations", "consumers", "oauth2", "v2.0"].contains(&segment)
        };
        if url.path_segments().is_some_and(|mut path| path.any(added)) {
            self.reader.error_at(
                &at.location,
                safe_text!("a tenant or an endpoint is in the authority's path, where they are added"),
                safe_text!("write the address alone, e.g. https://login.microsoftonline.com; `tenant` and `endpoint` are keys"),
            );
            return None;
        }
        Some(url)
    }

    /// The same for addresses that are used as they are: some providers distinguish their policies by the query.
    fn https_with_query(&mut self, at: &At<Text>) -> Option<url::Url> {
        let Ok(url) = url::Url::parse(at.value.0.trim()) else {
            self.reader.error_at(
                &at.location,
                safe_text!("this is not a URL"),
                safe_text!("write it in full, beginning with https://"),
            );
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.reader.error_at(
                &at.location,
                safe_text!("a user or password is in the URL"),
                safe_text!("leave it out: credentials have their own keys"),
            );
            return None;
        }
        if url.fragment().is_some() {
            self.reader.error_at(
                &at.location,
                safe_text!("the URL has a fragment, which is never sent"),
                safe_text!("leave everything from # on out"),
            );
            return None;
        }
        let host = url.host_str().unwrap_or_default();
        if !target::reachable(self, &at.location, host, url.port()) {
            return None;
        }
        match url.scheme() {
            "https" => Some(url),
            "http" if self.plain_allowed(host) => Some(url),
            _ => {
                self.plain_refused(&at.location);
                None
            }
        }
    }

    /// Whether plain http may be spoken to this host: a loopback literal (a name could be pointed elsewhere) or a listed one.
    fn plain_allowed(&self, host: &str) -> bool {
        clouds::loopback(host)
            || self
                .insecure_hosts
                .iter()
                .any(|one| one.eq_ignore_ascii_case(host))
    }

    fn plain_refused(&mut self, location: &SourceLocation) {
        self.reader.error_at(
            location,
            safe_text!("plain http would show tokens and data to everybody on the way"),
            safe_text!(
                "use https://; http:// is for 127.0.0.1, [::1] and hosts in outbound.insecure_hosts"
            ),
        );
    }

    /// A GUID in lower case.
    fn guid(&mut self, at: &At<Text>, fix: SafeText) -> Option<String> {
        let guid = settings::values::guid(at.value.0.trim());
        let message = match &guid {
            None => safe_text!("this is not a GUID"),
            Some(guid) if guid.bytes().all(|byte| matches!(byte, b'0' | b'-')) => {
                safe_text!("this GUID is a placeholder")
            }
            Some(_) => return guid,
        };
        self.reader.error_at(&at.location, message, fix);
        None
    }

    /// GUIDs in lower case; empty when the key is absent.
    fn guids(&mut self, field: Field<OneOrMore<Text>>, fix: &SafeText) -> Option<Vec<String>> {
        let broken = matches!(field, Field::Broken);
        let list = field.given().map(|at| at.value.0).unwrap_or_default();
        let guids: Vec<Option<String>> =
            list.iter().map(|one| self.guid(one, fix.clone())).collect();
        let guids: Option<Vec<String>> = guids.into_iter().collect();
        guids.filter(|_| !broken)
    }

    /// The tenant of an Entra caller or credential, from the entry or the defaults.
    fn tenant(
        &mut self,
        own: Field<Text>,
        defaults: &Defaults,
        owner: &SourceLocation,
    ) -> Option<At<Text>> {
        let tenant = own.or(&defaults.entra.tenant);
        self.required(
            tenant,
            owner,
            "tenant",
            safe_text!("give the tenant's id (a GUID) here or under defaults.entra"),
        )
    }

    /// The authority: the entry's own, the defaults', or the cloud's.
    fn authority(
        &mut self,
        own: Field<Text>,
        own_cloud: &Field<Choice<raw::Cloud>>,
        cloud: raw::Cloud,
        defaults: &Defaults,
    ) -> Option<(url::Url, bool)> {
        // An entry that names its cloud means that cloud's authority, whatever the defaults say.
        let field = if own.absent() && !own_cloud.absent() {
            Field::Absent
        } else {
            own.or(&defaults.entra.authority)
        };
        match field {
            Field::Absent => url::Url::parse(clouds::authority(cloud))
                .ok()
                .map(|url| (url, false)),
            Field::Broken => None,
            Field::Given(at) => self.authority_url(&at).map(|mut url| {
                let path = url.path().trim_end_matches('/').to_owned();
                url.set_path(&path);
                (url, true)
            }),
        }
    }
}

/// `: NAME` where there is a name to print.
fn colon(which: &SafeText) -> SafeText {
    if which.as_str().is_empty() {
        which.clone()
    } else {
        safe_text!(":{}", which.clone())
    }
}

/// Says that a name refers to nothing, with the one probably meant.
fn unknown_name(
    reader: &mut Reader,
    at: &At<Text>,
    what: &'static str,
    section: &'static str,
    known: &[&Name],
) {
    let meant = settings::suggest::closest_name(&at.value.0, known.iter().copied());
    let typed = meant.and_then(|_| settings::suggest::slip(&at.value.0));
    let message = match typed {
        Some(typed) => safe_text!("no {} is named `{}`", what, typed),
        None => safe_text!("no {} has this name", what),
    };
    let fix = match meant {
        Some(meant) => safe_text!("did you mean `{}`?", meant.clone()),
        None if known.is_empty() => safe_text!("define it under `{}:` first", section),
        None if known.len() > 12 => {
            safe_text!("define it under `{}:`, or name one that is there", section)
        }
        None => {
            let names: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
            safe_text!("defined are: {}", SafeText::checked(names.join(", ")))
        }
    };
    reader.error_at(&at.location, message, fix);
}
