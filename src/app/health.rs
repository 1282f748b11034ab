//! How ready is the gateway, and what is it made of? For `/readyz` and `/status`: configured names and fixed words, no secret, no flow's URL.
//!
//! Not ready until every key set and every first token has been tried, and while draining. A provider's outage afterwards degrades with
//! a reason and does not flap: taking a gateway out of service heals no provider.

use serde_json::{Value, json};

use super::App;
use crate::config::Config;
use crate::diagnosis::Explanation;
use crate::policy::Rule;
use crate::server::admin::Readiness;

/// What `/status` says of the configuration in force.
pub struct Summary {
    hash: String,
    loaded: u64,
    flows: Vec<Value>,
    warnings: Vec<String>,
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
        }
    }
}

impl App {
    /// For `/readyz`.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let draining = self.surroundings.draining.begun();
        if draining {
            reasons.push("draining".to_owned());
        }
        for set in self.kept.key_sets.health() {
            if let Some(told) = set.explanation {
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
                    told.reason,
                    detail(&told)
                ));
            }
        }
        for cell in self.kept.cells.health() {
            if let Some(trouble) = cell.trouble {
                let held = if cell.changed {
                    "the one from before its change is still valid"
                } else if cell.valid {
                    "the old one is still valid"
                } else {
                    "none is held"
                };
                reasons.push(format!(
                    "credential {}: no new token ({}), {held}{}",
                    cell.credential,
                    trouble.told.reason,
                    detail(&trouble.told)
                ));
            }
        }
        for secret in self.kept.secrets.health() {
            if let Some(trouble) = secret.trouble {
                let (problem, held) = if secret.unwritten {
                    ("not writable", "the new value is in memory only")
                } else if secret.held {
                    ("not readable", "the last value is in use")
                } else {
                    ("not readable", "there is none")
                };
                let told = trouble.explain();
                reasons.push(format!(
                    "secret {}: {problem} ({}), {held}{}",
                    secret.secret,
                    told.reason,
                    detail(&told)
                ));
            }
        }
        let tried = self.kept.key_sets.all_tried()
            && self.kept.secrets.first_tried()
            && self.kept.cells.first_tried();
        if !tried {
            reasons.push(
                "key sets, secrets of vaults and first tokens are still being tried".to_owned(),
            );
        }
        Readiness {
            ready: tried && !draining,
            reasons,
        }
    }

    /// For `/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let current = self
            .current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let summary = &current.summary;
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
                    "trouble": set.trouble,
                });
                if let Some(told) = &set.explanation {
                    explained(&mut shown, told);
                }
                shown
            })
            .collect();
        let credentials: Vec<Value> = self
            .kept
            .cells
            .health()
            .into_iter()
            .map(|cell| {
                json!({
                    "credential": &*cell.credential,
                    "token_valid": cell.valid,
                    "token_expires": cell.expires,
                    "token_before_change": cell.changed,
                    "trouble": cell.trouble.map(|trouble| {
                        let mut shown = json!({
                            "reason": trouble.told.reason,
                            "codes": trouble.codes,
                            "suberror": trouble.suberror.map(|known| known.word),
                            "since": trouble.since,
                            "next_try": trouble.next_try,
                        });
                        explained(&mut shown, &trouble.told);
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
                    "trouble": secret.trouble.map(|trouble| {
                        let mut shown = json!({ "reason": trouble.word() });
                        explained(&mut shown, &trouble.explain());
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
            },
            "ready": self.readiness().ready,
            "in_flight": self.surroundings.places.taken(),
            "flows": summary.flows,
            "key_sets": key_sets,
            "credentials": credentials,
            "secrets": secrets,
        })
    }
}

/// Adds what an explanation says to what is shown of something in trouble.
fn explained(shown: &mut Value, told: &Explanation) {
    if let Some(shown) = shown.as_object_mut() {
        shown.extend([
            ("host".to_owned(), json!(told.host())),
            ("cause".to_owned(), json!(told.cause())),
            ("meaning".to_owned(), json!(told.meaning)),
            ("fault".to_owned(), json!(told.fault.as_str())),
            ("cure".to_owned(), json!(told.fix)),
        ]);
    }
}

/// The same on one line.
fn detail(told: &Explanation) -> String {
    let place = told.place();
    let place = if place.is_empty() {
        place
    } else {
        format!(" ({place})")
    };
    format!("; {}{place}. Cure: {}", told.meaning, told.fix)
}
