//! Why does this token fit this caller, or not?
//!
//! In: a token, a caller as configured, and the issuer's keys where they may be asked for. Out: whether the caller is recognised, by the
//! very steps a call goes through, and what does not fit, all of it and not only the first. What is printed are claims, never the token or
//! its signature; text of the token is cut short and freed of control characters.

use std::time::Duration;

use serde_json::{Map, Value};

use super::claims::{LEEWAY, Times};
use super::key_set::{Fault, Fetch, KeySets};
use super::methods::Caller;
use super::reason::Reason;
use super::shown::quoted;
use super::token::{self, Unverified};
use super::tokens::TokenSettings;
use super::verifier::{Claims, Obstacle, Verifier, VerifierKey};
use crate::diagnosis;

/// The claims a token carries, whatever else is wrong with it; `None` where it carries none that can be read.
#[must_use]
pub fn claims_of(token: &[u8]) -> Option<Map<String, Value>> {
    token::claims(token)
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller is recognised.
    Recognised,
    /// Everything fits but the signature, which was not looked at.
    Unchecked,
    /// The caller is not recognised.
    Refused,
}

/// What is said of one caller.
pub struct Explained {
    /// What it comes to.
    pub verdict: Verdict,
    /// What does not fit, and what could not be looked at.
    pub lines: Vec<String>,
}

/// How an issuer answered.
pub struct IssuerAnswer {
    /// Which of the caller's issuers: `v1` or `v2` for Entra, `-` otherwise.
    pub part: &'static str,
    /// How many keys it publishes, or why they could not be fetched.
    pub keys: Result<usize, Fault>,
}

/// Asks a caller's issuers for their keys, once. Empty for a caller without tokens.
pub async fn issuers(caller: &Caller, fetch: &Fetch) -> Vec<IssuerAnswer> {
    let mut answers = Vec::new();
    let Some(key) = caller.proof.settings().token().map(TokenSettings::key) else {
        return answers;
    };
    for part in key.origin.parts() {
        let issuer = key.origin.fetch(*part, fetch).await;
        answers.push(IssuerAnswer {
            part: part.word(),
            keys: issuer.map(|issuer| issuer.keys.len()),
        });
    }
    answers
}

/// Looks at a token for each of the callers. `fetch`: how keys are fetched; `None`: signatures are not looked at. Needs a tokio runtime.
pub async fn explain(
    token: &[u8],
    callers: &[&Caller],
    key_sets: &KeySets,
    fetch: Option<&Fetch>,
    now: Duration,
) -> Vec<Explained> {
    let offline =
        Fetch::from_fn(|_, _| Box::pin(async { Err(Fault::of(diagnosis::Reason::Unfinished)) }));
    let verifiers: Vec<Option<(Verifier, &dyn TokenSettings)>> = callers
        .iter()
        .map(|caller| {
            let settings = caller.proof.settings().token()?;
            let VerifierKey { origin, algorithms } = settings.key();
            let set = key_sets.open(&origin, &caller.name, fetch.unwrap_or(&offline));
            Some((
                Verifier::new(0, algorithms, set, settings.alone()),
                settings,
            ))
        })
        .collect();
    key_sets.first_tried().await;
    let token = Unverified::parse(token);
    let explained = callers.iter().zip(&verifiers).map(|(caller, verifier)| {
        let mut found = Found::default();
        match (verifier, &token) {
            (None, _) => {
                found.refused = true;
                let credential = caller.proof.settings().credential();
                let line = format!("it is recognised by {credential}, not by a token");
                found.lines.push(line);
            }
            (_, Err(reason)) => found.because(*reason),
            (Some((verifier, settings)), Ok(token)) => {
                found.examine(verifier, *settings, token, fetch.is_some(), now);
            }
        }
        found.done()
    });
    explained.collect()
}

/// What has been found of one caller.
#[derive(Default)]
struct Found {
    lines: Vec<String>,
    refused: bool,
    unchecked: bool,
}

impl Found {
    fn done(self) -> Explained {
        let verdict = match (self.refused, self.unchecked) {
            (true, _) => Verdict::Refused,
            (false, true) => Verdict::Unchecked,
            (false, false) => Verdict::Recognised,
        };
        Explained {
            verdict,
            lines: self.lines,
        }
    }

    /// Something that does not fit, in words.
    fn refuse(&mut self, reason: Reason, line: &str) {
        self.refused = true;
        self.lines.push(format!("{}: {line}", reason.word()));
    }

    /// Something that does not fit, in the words of the reason.
    fn because(&mut self, reason: Reason) {
        self.refuse(reason, reason.fix());
    }

    fn examine(
        &mut self,
        verifier: &Verifier,
        settings: &dyn TokenSettings,
        token: &Unverified<'_>,
        online: bool,
        now: Duration,
    ) {
        let Ok(Some(issuer)) = token.text("iss") else {
            return self.refuse(Reason::Claim, "`iss` is missing or no text");
        };
        if !verifier.concerns(token, issuer) {
            // Of a stranger's token nothing else is worth reporting.
            return self.refuse(Reason::Issuer, &settings.another_issuer(&token.claims));
        }
        if let Err(reason) = verifier.accepts(token.algorithm) {
            self.refuse(
                reason,
                &format!(
                    "the token is signed with {:?}, which this caller does not accept",
                    token.algorithm
                ),
            );
        }
        match Times::of(token) {
            Ok(times) => self.times(times, now),
            Err(reason) => self.refuse(reason, "`exp` is missing, or a time is no number"),
        }
        match verifier.claims(token) {
            Ok(claims) => self.filters(settings, token, &*claims),
            Err(reason) => {
                let line = of_claims(reason, settings, token);
                self.refuse(reason, &line);
            }
        }
        match verifier.signer(token, issuer, now) {
            Ok(_) => {}
            Err(Obstacle::NoKeys) if !online => {
                self.unchecked = true;
                self.lines
                    .push("the signature was not checked: no keys were fetched".to_owned());
            }
            Err(Obstacle::NoKeys) => {
                self.refused = true;
                self.lines.push("key_set_unavailable: the issuer's keys could not be fetched: `flowgate doctor` says why".to_owned());
            }
            Err(Obstacle::UnknownKid) => self.refuse(
                Reason::KidUnknown,
                &format!(
                    "the issuer publishes no key named {}. {}",
                    token
                        .kid
                        .as_deref()
                        .map_or_else(String::new, |kid| quoted(&kid.into())),
                    Reason::KidUnknown.fix()
                ),
            ),
            Err(Obstacle::Refused(reason)) => self.because(reason),
        }
    }

    fn times(&mut self, times: Times, now: Duration) {
        let seconds = now.as_secs();
        let Err(reason) = times.check(seconds) else {
            return;
        };
        let (expires, not_before) = times.bounds();
        let now = i64::try_from(seconds).unwrap_or(i64::MAX);
        let line = if reason == Reason::Expired {
            format!(
                "the token expired {} ago, on {}",
                span(now.saturating_sub(expires)),
                moment(expires)
            )
        } else {
            let start = not_before.unwrap_or_default();
            format!(
                "the token counts only in {}, from {}",
                span(start.saturating_sub(now)),
                moment(start)
            )
        };
        self.refuse(
            reason,
            &format!("{line} (by this machine's clock; {LEEWAY} s are allowed)"),
        );
    }

    fn filters(
        &mut self,
        settings: &dyn TokenSettings,
        token: &Unverified<'_>,
        claims: &dyn Claims,
    ) {
        let mut matches = Vec::new();
        let reason = claims.matches(&mut matches);
        if !matches.is_empty() {
            return;
        }
        let reason = reason.unwrap_or(Reason::NoCallerMatches);
        let lines = settings.unmet(token);
        if lines.is_empty() {
            self.because(reason);
        }
        for line in lines {
            self.refuse(reason, &line);
        }
        if reason == Reason::GroupsOverage {
            self.because(reason);
        }
    }
}

/// Of claims that cannot be read or that are another kind of token's.
fn of_claims(reason: Reason, settings: &dyn TokenSettings, token: &Unverified<'_>) -> String {
    let members = &token.claims;
    if reason == Reason::Claim && !members.contains_key("aud") {
        "the token has no `aud`: it does not say for whom it is".to_owned()
    } else {
        let line = settings.unread(members).filter(|_| reason == Reason::Claim);
        line.unwrap_or(reason.fix()).to_owned()
    }
}

/// A number of seconds in words.
fn span(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..120 => (seconds, "seconds"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit}")
}

/// A moment, in UTC.
fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| "an impossible date".to_owned(),
        |stamp| stamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}
