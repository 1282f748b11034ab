//! How ready is the gateway, and what is it made of? For `/readyz` and `/status`: configured names and fixed words, no secret, no flow's URL.
//!
//! Not ready until every key set and every first token has been tried once, and while draining. A provider's outage afterwards, what a
//! reload brings, a reload that failed and a certificate that expired degrade with a reason and do not flap: taking a gateway out of service
//! heals none of them.

use serde_json::{Value, json};

use super::App;
use super::expiry::date;
use crate::config::{Certificate, Config};
use crate::diagnosis::{Explanation, Reason};
use crate::policy::Rule;
use crate::server::admin::Readiness;

/// What `/status` says of the configuration in force.
pub struct Summary {
    hash: String,
    loaded: u64,
    flows: Vec<Value>,
    warnings: Vec<String>,
    /// Certificates that are in files.
    pub certificates: Vec<Certificate>,
}

impl Summary {
    /// Of a configuration that was put to work at `loaded` (unix seconds).
    #[must_use]
    pub fn of(config: &Config, loaded: u64) -> Self {
        let flows = config.flows.iter().map(|entry| {
            let callers: Vec<&str> = match &entry.rule {
                Rule::Anyone => vec!["anyone"],
                Rule::Callers(callers) => callers
                    .iter()
                    .filter_map(|caller| config.callers.get(caller.0))
                    .map(|caller| &*caller.name)
                    .collect(),
            };
            let credential = entry
                .credential
                .as_ref()
                .and_then(|(position, _)| config.credentials.get(*position))
                .map(|credential| &*credential.name);
            let methods: Vec<&str> = entry
                .flow
                .methods
                .iter()
                .map(http::Method::as_str)
                .collect();
            json!({
                "name": &*entry.flow.name,
                "path": entry.flow.path,
                "methods": methods,
                "who_can_trigger": callers,
                "credential": credential,
            })
        });
        Self {
            hash: config.hash.clone(),
            loaded,
            flows: flows.collect(),
            warnings: config.warnings.clone(),
            certificates: config.certificates.clone(),
        }
    }
}

impl App {
    /// For `/readyz`.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let draining = self.deps.draining.begun();
        if draining {
            reasons.push("draining".to_owned());
        }
        for set in self.kept.key_sets.health() {
            if let Some(explanation) = set.explanation {
                let name = match set.part {
                    "-" => set.name.to_string(),
                    part => format!("{} ({part})", set.name),
                };
                let held = if set.usable {
                    "the last ones are in use"
                } else {
                    "none are held"
                };
                reasons.push(format!(
                    "key set of {name}: {}, {held}{}",
                    explanation.reason,
                    detail(&explanation)
                ));
            }
        }
        for entry in self.kept.token_cache.health() {
            if let Some(error) = entry.error {
                let held = if entry.changed {
                    "the one from before its change is still valid"
                } else if entry.valid {
                    "the old one is still valid"
                } else {
                    "none is held"
                };
                reasons.push(format!(
                    "credential {}: no new token ({}), {held}{}",
                    entry.credential,
                    error.explanation.reason,
                    detail(&error.explanation)
                ));
            }
        }
        for secret in self.kept.secrets.health() {
            if let Some(error) = secret.error {
                let (problem, held) = if secret.unwritten {
                    ("not writable", "the new value is in memory only")
                } else if secret.held {
                    ("not readable", "the last value is in use")
                } else {
                    ("not readable", "there is none")
                };
                let explanation = error.explain();
                reasons.push(format!(
                    "secret {}: {problem} ({}), {held}{}",
                    secret.secret,
                    explanation.reason,
                    detail(&explanation)
                ));
            }
        }
        if !self.all_tried() {
            reasons.push(
                "key sets, secrets of vaults and first tokens are still being tried".to_owned(),
            );
        }
        if let Some(report) = self.last_reload().as_ref().filter(|report| !report.good()) {
            reasons.push(format!(
                "configuration: not reloaded ({}, problems: {}), the last good one is in force",
                report.result.word(),
                report.problems.len()
            ));
        }
        reasons.extend(self.unusable());
        Readiness {
            // Once ready it stays so: a reload takes nothing away that works.
            ready: self.tried_once() && !draining,
            reasons,
        }
    }

    /// Certificates and secrets that cannot be used now, as far as their dates say.
    fn unusable(&self) -> Vec<String> {
        let now = self.deps.clock.unix();
        let current = self.current();
        let certificates = current.summary.certificates.iter();
        let unusable: Vec<&Certificate> = certificates.filter(|one| !one.valid.at(now)).collect();
        let mut reasons: Vec<String> = unusable
            .iter()
            .map(|one| {
                let (word, day) = if one.valid.until < now {
                    ("expired on", one.valid.until)
                } else {
                    ("not valid before", one.valid.from)
                };
                format!("certificate of {}: {word} {}", one.place, date(day))
            })
            .collect();
        for (credential, expires) in self.deps.metrics.secret_expiry.secrets() {
            let of_this = |one: &&Certificate| one.credential() == Some(&*credential);
            if expires <= now && !unusable.iter().any(of_this) {
                reasons.push(format!(
                    "credential {credential}: its secret or certificate expired on {}",
                    date(expires)
                ));
            }
        }
        reasons
    }

    /// For `/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        // Asked before: it looks at the same things.
        let ready = self.readiness().ready;
        let last_reload = self.last_reload().clone();
        let current = self.current();
        let summary = &current.summary;
        let now = self.deps.clock.unix();
        let certificates: Vec<Value> = summary
            .certificates
            .iter()
            .map(|one| {
                json!({
                    "key": &*one.place,
                    "valid": one.valid.at(now),
                    "valid_from": one.valid.from,
                    "expires": one.valid.until,
                })
            })
            .collect();
        let key_sets: Vec<Value> = self
            .kept
            .key_sets
            .health()
            .into_iter()
            .map(|set| {
                let mut shown = json!({
                    "caller": &*set.name,
                    "part": set.part,
                    "age_seconds": set.age,
                    "trouble": set.error.map(Reason::word),
                });
                if let Some(explanation) = &set.explanation {
                    explained(&mut shown, explanation);
                }
                shown
            })
            .collect();
        let credentials: Vec<Value> = self
            .kept
            .token_cache
            .health()
            .into_iter()
            .map(|entry| {
                json!({
                    "credential": &*entry.credential,
                    "token_valid": entry.valid,
                    "token_expires": entry.expires,
                    "token_before_change": entry.changed,
                    "trouble": entry.error.map(|error| {
                        let mut shown = json!({
                            "reason": error.explanation.reason.word(),
                            "codes": error.codes,
                            "suberror": error.suberror.map(|known| known.word),
                            "since": error.since,
                            "next_try": error.next_try,
                        });
                        explained(&mut shown, &error.explanation);
                        shown
                    }),
                })
            })
            .collect();
        let secrets: Vec<Value> = self
            .kept
            .secrets
            .health()
            .into_iter()
            .map(|secret| {
                json!({
                    "secret": secret.secret,
                    "held": secret.held,
                    "unwritten": secret.unwritten,
                    "expires": secret.expires,
                    "trouble": secret.error.map(|error| {
                        let mut shown = json!({ "reason": error.word() });
                        explained(&mut shown, &error.explain());
                        shown
                    }),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "configuration": {
                "hash": summary.hash,
                "loaded": summary.loaded,
                "warnings": summary.warnings,
                "last_reload": last_reload,
            },
            "ready": ready,
            "in_flight": self.deps.slots.taken(),
            "flows": summary.flows,
            "certificates": certificates,
            "key_sets": key_sets,
            "credentials": credentials,
            "secrets": secrets,
        })
    }
}

/// Adds an explanation to what is shown of something that failed.
fn explained(shown: &mut Value, explanation: &Explanation) {
    if let Some(shown) = shown.as_object_mut() {
        shown.extend([
            ("host".to_owned(), json!(explanation.host())),
            ("cause".to_owned(), json!(explanation.cause())),
            ("meaning".to_owned(), json!(explanation.meaning)),
            ("fault".to_owned(), json!(explanation.fault.as_str())),
            ("cure".to_owned(), json!(explanation.fix)),
        ]);
    }
}

/// The same on one line.
fn detail(explanation: &Explanation) -> String {
    let place = explanation.place();
    let place = if place.is_empty() {
        place
    } else {
        format!(" ({place})")
    };
    format!(
        "; {}{place}. Cure: {}",
        explanation.meaning, explanation.fix
    )
}
