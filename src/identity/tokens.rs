//! Tokens that issuers sign: the bearer of `entra` and `jwt` callers.
//!
//! In: what followed `Authorization: Bearer`. Out: every caller whose conditions the token meets, or why it meets none. A token seen before
//! costs a digest, which its connection may know, and a look-up; a new one a signature; neither waits for anybody unless the issuer's keys
//! have to be fetched first. One token may be for several issuers' rules; all of them are asked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use super::authenticator::{Answer, Authenticator, Configured, Deps, Evidence};
use super::key_set::{KeySet, KeySets, Origin};
use super::memory::{Entry, Memory};
use super::presented::Place;
use super::reason::Reason;
use super::token::{Digest, Unverified};
use super::verifier::{Obstacle, Rules, Verifier, VerifierKey};
use super::{Assertion, CallerId, Failure, Identity, Method};
use crate::clock::Clock;

/// Verifies the tokens of every issuer.
struct Tokens {
    verifiers: Vec<Verifier>,
    memory: Memory,
    clock: Clock,
}

/// A token as it was presented.
struct Proven {
    digest: Digest,
    /// Its header, where the flow exchanges the token for another.
    kept: Option<HeaderValue>,
}

/// What came of verifying with the keys at hand.
enum VerificationError {
    Failed(Failure),
    Lacking(Vec<(usize, Obstacle)>),
}

impl From<Failure> for VerificationError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A caller's settings of a method whose credential is a token.
pub(crate) trait TokenSettings {
    /// Whose tokens: callers with equal keys share a verifier.
    fn key(&self) -> VerifierKey;

    /// The rules for all callers with one key, at least one.
    fn rules(callers: &[(CallerId, &Self)]) -> Arc<dyn Rules>
    where
        Self: Sized;

    /// The rules for this caller alone.
    fn alone(&self) -> Arc<dyn Rules>;

    /// How the token's issuer and the caller's differ, in words.
    fn another_issuer(&self, claims: &Map<String, Value>) -> String;

    /// What is wrong with claims that cannot be read, where the reason does not say it; in words.
    fn unread(&self, claims: &Map<String, Value>) -> Option<&'static str> {
        let _ = claims;
        None
    }

    /// Which of the caller's conditions the token does not meet, each in words.
    fn unmet(&self, token: &Unverified<'_>) -> Vec<String>;
}

/// One issuer's callers, before there are keys.
pub(crate) struct Issuer {
    first: CallerId,
    name: Arc<str>,
    key: VerifierKey,
    rules: Arc<dyn Rules>,
}

/// The authenticator of all callers with tokens; `None` where there are none. Opens their key sets.
pub(super) fn authenticator(
    mut issuers: Vec<Issuer>,
    deps: &Deps,
    key_sets: &KeySets,
) -> Option<Box<dyn Authenticator>> {
    issuers.sort_by_key(|issuer| issuer.first);
    let mut verifiers: Vec<(Origin, Verifier)> = Vec::new();
    for Issuer {
        name, key, rules, ..
    } in issuers
    {
        // The first caller with this origin gives the key set its name.
        let same = verifiers.iter().find(|(known, _)| *known == key.origin);
        let set = same.map_or_else(
            || key_sets.open(&key.origin, &name, &deps.outbound),
            |(_, verifier)| verifier.shared_set(),
        );
        let verifier = Verifier::new(verifiers.len(), key.algorithms, set, rules);
        verifiers.push((key.origin, verifier));
    }
    if verifiers.is_empty() {
        return None;
    }
    Some(Box::new(Tokens {
        verifiers: verifiers
            .into_iter()
            .map(|(_, verifier)| verifier)
            .collect(),
        memory: Memory::new(deps.verified_tokens),
        clock: deps.clock.clone(),
    }))
}

/// The issuers of one method, each with all its callers.
pub(super) fn issuers<S: TokenSettings>(callers: &[Configured<'_, S>]) -> Vec<Issuer> {
    let mut groups: Vec<(VerifierKey, Vec<&Configured<'_, S>>)> = Vec::new();
    for caller in callers {
        let key = caller.settings.key();
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(caller),
            None => groups.push((key, vec![caller])),
        }
    }
    let issuer = |(key, group): (VerifierKey, Vec<&Configured<'_, S>>)| {
        let first = group.first()?;
        let callers: Vec<(CallerId, &S)> = group.iter().map(|one| (one.id, one.settings)).collect();
        Some(Issuer {
            first: first.id,
            name: Arc::clone(first.name),
            rules: S::rules(&callers),
            key,
        })
    };
    groups.into_iter().filter_map(issuer).collect()
}

impl Authenticator for Tokens {
    fn place(&self) -> Place {
        Place::Bearer
    }

    fn authenticate<'a>(&'a self, evidence: &Evidence<'_>) -> Answer<'a> {
        let (token, now) = (evidence.credential, evidence.now);
        let digest = match evidence.digest() {
            Ok(digest) => digest,
            Err(reason) => return Answer::Refused(Failure::nobody(self.method(), reason)),
        };
        let exchanged = evidence
            .found
            .flow
            .as_ref()
            .is_some_and(|flow| flow.on_behalf_of);
        // A reference to the header's memory: the token is not copied.
        let kept = exchanged.then(|| evidence.call.headers.get(AUTHORIZATION).cloned());
        let proven = Proven {
            digest,
            kept: kept.flatten(),
        };
        if let Some(entry) = self.memory.recall(&digest, now)
            && self.is_still_valid(&entry, now)
        {
            if let Some(last) = evidence.last_token() {
                last.keep(token, digest);
            }
            let identity = self.identity(&entry, &proven, now);
            return identity.map_err(|failure| reported(failure, token)).into();
        }
        match self.verify(token, &proven, now) {
            Ok(identity) => Answer::Proven(identity),
            Err(VerificationError::Failed(failure)) => Answer::Refused(failure),
            Err(VerificationError::Lacking(lacking)) => {
                Answer::Waits(Box::pin(self.wait_for_keys(token.into(), proven, lacking)))
            }
        }
    }
}

impl Tokens {
    /// Verifies a token with the keys at hand, and remembers it where that worked.
    fn verify(
        &self,
        text: &[u8],
        proven: &Proven,
        now: Duration,
    ) -> Result<Identity, VerificationError> {
        let method = self.method();
        let token = Unverified::parse(text).map_err(|reason| Failure::nobody(method, reason))?;
        let issuer = token
            .text("iss")
            .and_then(|issuer| issuer.ok_or(Reason::Claim));
        let issuer = issuer.map_err(|reason| Failure::nobody(method, reason))?;
        let (mut verified, mut lacking, mut refused) = (Vec::new(), Vec::new(), None);
        for (number, verifier) in self.verifiers.iter().enumerate() {
            if !verifier.concerns(&token, issuer) {
                continue;
            }
            match verifier.verify(&token, issuer, now) {
                Ok(proof) => verified.push(proof),
                Err(Obstacle::Refused(reason)) => {
                    refused.get_or_insert_with(|| Failure::nobody(Some(verifier.method()), reason));
                }
                Err(obstacle) => lacking.push((number, obstacle)),
            }
        }
        if !verified.is_empty() {
            // While another verifier has no keys yet, what it would say must not be forgotten for ten minutes.
            let entry = if lacking
                .iter()
                .any(|(_, obstacle)| *obstacle == Obstacle::NoKeys)
            {
                Arc::new(Entry::new(verified, now))
            } else {
                self.memory.keep(proven.digest, verified, now)
            };
            let identity = self.identity(&entry, proven, now);
            return Ok(identity.map_err(|failure| reported(failure, text))?);
        }
        if !lacking.is_empty() {
            return Err(VerificationError::Lacking(lacking));
        }
        Err(refused
            .unwrap_or_else(|| Failure::nobody(method, Reason::Issuer))
            .into())
    }

    /// Waits for fresher keys, within bounds, and looks once more.
    async fn wait_for_keys(
        &self,
        token: Box<[u8]>,
        proven: Proven,
        lacking: Vec<(usize, Obstacle)>,
    ) -> Result<Identity, Failure> {
        let lacking = lacking
            .iter()
            .filter_map(|(number, _)| self.verifiers.get(*number));
        let asked = join_all(lacking.map(|verifier| verifier.set().refreshed())).await;
        let lacking = match self.verify(&token, &proven, self.clock.since_epoch()) {
            Ok(identity) => return Ok(identity),
            Err(VerificationError::Failed(failure)) => return Err(failure),
            Err(VerificationError::Lacking(lacking)) => lacking,
        };
        if asked.iter().any(Result::is_err) {
            return Err(Failure::Overloaded);
        }
        let mut sets = lacking
            .iter()
            .filter_map(|(number, _)| Some(self.verifiers.get(*number)?.set()));
        let lacks_sockets = sets.any(KeySet::lacks_sockets);
        let unknown = lacking
            .iter()
            .find(|(_, obstacle)| *obstacle == Obstacle::UnknownKid);
        match unknown.and_then(|(number, _)| self.verifiers.get(*number)) {
            // Without the keys of every issuer it could be, nobody can say that the token is bad.
            Some(verifier) if lacking.iter().all(|(_, one)| *one == Obstacle::UnknownKid) => {
                Err(Failure::nobody(Some(verifier.method()), Reason::KidUnknown))
            }
            // No issuer's fault: it was not asked.
            _ if lacks_sockets => Err(Failure::Overloaded),
            _ => Err(Failure::KeySetUnavailable),
        }
    }

    fn is_still_valid(&self, entry: &Entry, now: Duration) -> bool {
        entry.verified.iter().all(|verified| {
            let verifier = self.verifiers.get(verified.verifier);
            verifier.is_some_and(|verifier| verifier.is_still_valid(verified, now))
        })
    }

    /// Who a verified token is from, by our clock and this configuration's filters.
    fn identity(&self, entry: &Entry, proven: &Proven, now: Duration) -> Result<Identity, Failure> {
        let mut identity = Identity::default();
        let mut failure = None;
        for verified in &entry.verified {
            let Some(verifier) = self.verifiers.get(verified.verifier) else {
                continue;
            };
            let method = verifier.method();
            let timely = verified.times.check(now.as_secs());
            timely.map_err(|reason| Failure::nobody(Some(method), reason))?;
            let before = identity.matches.len();
            let why = verified.claims.matches(&mut identity.matches);
            if identity.matches.len() == before {
                let why = why.unwrap_or(Reason::NoCallerMatches);
                failure.get_or_insert_with(|| Failure::nobody(Some(method), why));
                continue;
            }
            if before == 0 {
                identity.method = method;
                verified.claims.describe(&mut identity);
            }
            if let Some(header) = &proven.kept
                && verified.claims.can_be_exchanged()
            {
                let expires = verified.times.expires();
                let assertion = Assertion::new(proven.digest, expires, header);
                identity.assertion = Some(Box::new(assertion));
            }
        }
        if identity.matches.is_empty() {
            return Err(failure.unwrap_or_else(|| Failure::nobody(None, Reason::NoCallerMatches)));
        }
        if entry.verified.len() > 1 {
            identity.matches.sort_unstable();
        }
        Ok(identity)
    }

    /// The method a token is counted under before it is known whose it is.
    fn method(&self) -> Option<Method> {
        let mut methods = self.verifiers.iter().map(Verifier::method);
        let first = methods.next()?;
        methods.all(|method| method == first).then_some(first)
    }
}

/// Adds the claims of a token whose signature is good, where the log is open for them.
fn reported(failure: Failure, token: &[u8]) -> Failure {
    match failure {
        Failure::Nobody { method, reason, .. } if tracing::enabled!(tracing::Level::DEBUG) => {
            let claims = Unverified::parse(token).ok();
            let claims = claims.and_then(|token| serde_json::to_string(&token.claims).ok());
            Failure::Nobody {
                method,
                reason,
                claims: claims.map(String::into_boxed_str),
            }
        }
        failure => failure,
    }
}
