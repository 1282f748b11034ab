//! Every caller of one configuration, ready to be recognised.
//!
//! In: the callers and flows of a configuration, and the process's key sets. Out: for each call an [`Identified`] or a [`Failure`].
//! A token seen before costs a digest and a look-up; a new one a signature; neither waits for anybody unless the issuer's keys have
//! to be fetched first. The path is looked up before, and decides nothing but whether anything has to be proven at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::api_key::{KeyLocation, Keys};
use super::key_set::{Asked, Fetch, KeySet, KeySets};
use super::memory::{Digest, Entry, Memory};
use super::presented::{Ambiguous, Presented, Watched};
use super::reason::Reason;
use super::token::{LONGEST, Unverified};
use super::verifier::{Claims, Obstacle, Verifier, VerifierKey};
use super::{Assertion, Caller, CallerId, Failure, Identified, Identity, Method, Proof};
use crate::call::{Call, RequestLog, framing};
use crate::clock::Clock;
use crate::flow::Flows;
use crate::vault::Secrets;

/// The callers of one configuration.
pub struct Callers {
    flows: Arc<Flows>,
    hosts: Vec<String>,
    watched: Watched,
    bearer_keys: Keys,
    /// By the number of the watched header.
    header_keys: Vec<Keys>,
    verifiers: Vec<Verifier>,
    memory: Memory,
    clock: Clock,
    challenge: HeaderValue,
    own_headers: Vec<HeaderName>,
}

/// What the callers of a configuration need besides themselves.
#[derive(Clone)]
pub struct Deps {
    /// Host names that are answered, in lower case; empty: any.
    pub hosts: Vec<String>,
    /// How many verified tokens are remembered.
    pub verified_tokens: u64,
    /// For times and ages; the same one the key sets go by.
    pub clock: Clock,
    /// Where keys are that are kept in a vault.
    pub secrets: Secrets,
    /// The way to the issuers; made from an [`Outbound`](crate::client::Outbound).
    pub outbound: Fetch,
}

/// How far a look without waiting came.
enum Seen {
    Known(Result<Identity, Failure>),
    /// These verifiers, by number, could say more after a refresh of their keys.
    NeedsKeys(Box<[u8]>, Proven, Vec<usize>),
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

impl Callers {
    /// Builds everything a call needs; fetching of key sets new to the process starts at once, through `deps.outbound`.
    /// Has to be called within a tokio runtime.
    #[must_use]
    pub fn new(callers: &[Caller], flows: Arc<Flows>, deps: Deps, key_sets: &KeySets) -> Self {
        let fetch = &deps.outbound;
        let mut watched = Watched::default();
        let mut bearer_keys = Keys::new(&deps.secrets);
        let mut header_keys = Vec::new();
        let mut verifiers: Vec<(VerifierKey, Verifier)> = Vec::new();
        let expiry = &key_sets.metrics().caller_key_expiry_timestamp_seconds;
        // Callers that are gone would otherwise keep their dates.
        expiry.reset();
        for (number, caller) in callers.iter().enumerate() {
            let id = CallerId(number);
            if let Proof::ApiKey(settings) = &caller.proof {
                let keys = match &settings.location {
                    KeyLocation::Bearer => &mut bearer_keys,
                    KeyLocation::Header(name) => {
                        let location = watched.header(name);
                        if location >= header_keys.len() {
                            header_keys.resize_with(location + 1, || Keys::new(&deps.secrets));
                        }
                        // Just made, if it was not there.
                        header_keys.get_mut(location).unwrap_or(&mut bearer_keys)
                    }
                };
                keys.add(id, &settings.keys);
                if let Some(at) = settings.last_expiry() {
                    #[expect(clippy::cast_precision_loss, reason = "dates, exact to 2^53")]
                    expiry.with_label_values(&[&*caller.name]).set(at as f64);
                }
            } else if let Some(key) = VerifierKey::of(caller) {
                let known = verifiers.iter().position(|(known, _)| *known == key);
                let at = known.unwrap_or_else(|| {
                    // The first caller with this origin gives the key set its name.
                    let same = verifiers
                        .iter()
                        .find(|(known, _)| known.origin == key.origin);
                    let set = same.map_or_else(
                        || key_sets.open(&key.origin, &caller.name, fetch),
                        |(_, verifier)| verifier.shared_set(),
                    );
                    let verifier = Verifier::new(verifiers.len(), &key, set);
                    verifiers.push((key, verifier));
                    verifiers.len() - 1
                });
                if let Some((_, verifier)) = verifiers.get_mut(at) {
                    verifier.add(id, caller);
                }
            }
        }
        watched.bearer = !bearer_keys.is_empty() || !verifiers.is_empty();
        let mut own_headers = watched.headers.clone();
        if !own_headers.contains(&AUTHORIZATION) {
            own_headers.push(AUTHORIZATION);
        }
        Self {
            flows,
            hosts: deps.hosts,
            challenge: challenge(&watched),
            watched,
            bearer_keys,
            header_keys,
            verifiers: verifiers
                .into_iter()
                .map(|(_, verifier)| verifier)
                .collect(),
            memory: Memory::new(deps.verified_tokens),
            clock: deps.clock,
            own_headers,
        }
    }

    /// The one `WWW-Authenticate` of every 401, whatever the path and whatever was wrong.
    #[must_use]
    pub fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// Headers that carry credentials of some configured method: none of them may travel on, in any spelling.
    #[must_use]
    pub fn own_headers(&self) -> &[HeaderName] {
        &self.own_headers
    }

    /// Says who calls, or why that is not known. Notes the method, the reason and the time spent waiting for keys in the record.
    pub async fn identify(&self, call: Box<Call>) -> Result<Identified, Failure> {
        framing::check(&call, &self.hosts)?;
        let found = self.flows.find(call.uri.path(), &call.method);
        let open = found.every().any(|flow| flow.anyone);
        let seen = if open && found.others.is_empty() {
            Seen::Known(Ok(anyone()))
        } else {
            let exchanged = found.flow.as_ref().is_some_and(|flow| flow.on_behalf_of);
            self.look(&call.headers, exchanged)
        };
        let outcome = match seen {
            Seen::Known(outcome) => outcome,
            // Boxed: rare, and the usual call should not carry its state about.
            Seen::NeedsKeys(token, proven, verifiers) => {
                Box::pin(self.wait_for_keys(token, proven, verifiers, &call.log.clone())).await
            }
        };
        // No flow of the path takes the method, and one of them is for anyone: who calls decides only which methods are named.
        let outcome = match outcome {
            Err(_) if open => Ok(anyone()),
            outcome => outcome,
        };
        note(&call.log, &outcome);
        let identity = outcome?;
        if !identity.matches.is_empty()
            && let Some(connection) = &call.connection
        {
            connection.identified();
        }
        Ok(Identified {
            call,
            found,
            identity,
        })
    }

    /// `exchanged`: the flow's token is got for the caller's own.
    fn look(&self, headers: &HeaderMap, exchanged: bool) -> Seen {
        let now = self.clock.since_epoch();
        let presented = match self.watched.look(headers) {
            Ok(Some(presented)) => presented,
            Ok(None) => {
                let reason = self.watched.missing(headers);
                return Seen::Known(Err(nobody(None, reason)));
            }
            Err(Ambiguous) => return Seen::Known(Err(Failure::Ambiguous)),
        };
        match presented {
            Presented::Header(location, key) => {
                let owners = sha256(key).and_then(|digest| {
                    let keys = self.header_keys.get(location).ok_or(Reason::KeyUnknown)?;
                    keys.owners(&digest, now.as_secs())
                });
                Seen::Known(
                    owners
                        .map(by_key)
                        .map_err(|why| nobody(Some(Method::ApiKey), why)),
                )
            }
            Presented::Bearer(token) => {
                // A reference to the header's memory: the token is not copied.
                let kept = exchanged.then(|| headers.get(AUTHORIZATION).cloned());
                self.bearer(token, kept.flatten(), now)
            }
        }
    }

    fn bearer(&self, token: &[u8], kept: Option<HeaderValue>, now: Duration) -> Seen {
        let digest = match sha256(token) {
            Ok(digest) => digest,
            Err(reason) => return Seen::Known(Err(nobody(self.token_method(), reason))),
        };
        let proven = Proven { digest, kept };
        if let Some(entry) = self.memory.recall(&digest, now)
            && self.is_still_valid(&entry, now)
        {
            let identity = self.identity(&entry, &proven, now);
            return Seen::Known(identity.map_err(|failure| reported(failure, token)));
        }
        // A bearer may be a shared key instead of a token: that is one credential with two readings, not a fallback.
        let key = match self.bearer_keys.owners(&digest, now.as_secs()) {
            Ok(owners) => return Seen::Known(Ok(by_key(owners))),
            Err(reason) => reason,
        };
        if self.verifiers.is_empty() {
            return Seen::Known(Err(nobody(Some(Method::ApiKey), key)));
        }
        match self.verify(token, &proven, now) {
            Ok(identity) => Seen::Known(Ok(identity)),
            Err(VerificationError::Lacking(verifiers)) => {
                let verifiers = verifiers.into_iter().map(|(number, _)| number).collect();
                Seen::NeedsKeys(token.into(), proven, verifiers)
            }
            Err(VerificationError::Failed(Failure::Nobody {
                reason: Reason::Malformed,
                ..
            })) if !self.bearer_keys.is_empty() => {
                Seen::Known(Err(nobody(Some(Method::ApiKey), key)))
            }
            Err(VerificationError::Failed(failure)) => Seen::Known(Err(failure)),
        }
    }

    /// Verifies a token with the keys at hand, and remembers it where that worked.
    fn verify(
        &self,
        text: &[u8],
        proven: &Proven,
        now: Duration,
    ) -> Result<Identity, VerificationError> {
        let method = self.token_method();
        let token = Unverified::parse(text).map_err(|reason| nobody(method, reason))?;
        let issuer = token
            .text("iss")
            .and_then(|issuer| issuer.ok_or(Reason::Claim));
        let issuer = issuer.map_err(|reason| nobody(method, reason))?;
        let (mut verified, mut lacking, mut refused) = (Vec::new(), Vec::new(), None);
        for (number, verifier) in self.verifiers.iter().enumerate() {
            if !verifier.concerns(&token, issuer) {
                continue;
            }
            match verifier.verify(&token, issuer, now) {
                Ok(proof) => verified.push(proof),
                Err(Obstacle::Refused(reason)) => {
                    refused.get_or_insert_with(|| nobody(Some(verifier.method()), reason));
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
            .unwrap_or_else(|| nobody(method, Reason::Issuer))
            .into())
    }

    /// Waits for fresher keys, within bounds, and looks once more.
    async fn wait_for_keys(
        &self,
        token: Box<[u8]>,
        proven: Proven,
        verifiers: Vec<usize>,
        log: &RequestLog,
    ) -> Result<Identity, Failure> {
        let started = Instant::now();
        let lacking = verifiers
            .iter()
            .filter_map(|number| self.verifiers.get(*number));
        let asked = join_all(lacking.map(|verifier| verifier.set().refreshed())).await;
        log.fields().key_set += started.elapsed();
        let lacking = match self.verify(&token, &proven, self.clock.since_epoch()) {
            Ok(identity) => return Ok(identity),
            Err(VerificationError::Failed(failure)) => return Err(failure),
            Err(VerificationError::Lacking(lacking)) => lacking,
        };
        if asked.contains(&Asked::AtCapacity) {
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
                Err(nobody(Some(verifier.method()), Reason::KidUnknown))
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
            timely.map_err(|reason| nobody(Some(method), reason))?;
            let before = identity.matches.len();
            let why = verifier.matches(&verified.claims, &mut identity.matches);
            if identity.matches.len() == before {
                let why = why.unwrap_or(Reason::NoCallerMatches);
                failure.get_or_insert_with(|| nobody(Some(method), why));
                continue;
            }
            if before == 0 {
                identity.method = method;
                describe(&mut identity, &verified.claims, verifier);
            }
            if let (Some(header), Claims::Entra(claims)) = (&proven.kept, &verified.claims)
                && !claims.application
            {
                let expires = verified.times.expires();
                let assertion = Assertion::new(proven.digest, expires, header);
                identity.assertion = Some(Box::new(assertion));
            }
        }
        if identity.matches.is_empty() {
            return Err(failure.unwrap_or_else(|| nobody(None, Reason::NoCallerMatches)));
        }
        if entry.verified.len() > 1 {
            identity.matches.sort_unstable();
        }
        Ok(identity)
    }

    /// The method a token is counted under before it is known whose it is.
    fn token_method(&self) -> Option<Method> {
        let mut methods = self.verifiers.iter().map(Verifier::method);
        let first = methods.next().unwrap_or(Method::ApiKey);
        methods.all(|method| method == first).then_some(first)
    }
}

fn describe(identity: &mut Identity, claims: &Claims, verifier: &Verifier) {
    match claims {
        Claims::Entra(claims) => {
            identity.subject.clone_from(&claims.subject);
            identity.client_id = Some(Arc::clone(&claims.client_id));
            identity.tenant = verifier.tenant().cloned();
        }
        Claims::Jwt(claims) => {
            identity.subject.clone_from(&claims.subject);
            identity.client_id.clone_from(&claims.client_id);
        }
    }
}

fn anyone() -> Identity {
    Identity::default()
}

fn by_key(owners: Vec<CallerId>) -> Identity {
    Identity {
        matches: owners,
        method: Method::ApiKey,
        ..Identity::default()
    }
}

fn nobody(method: Option<Method>, reason: Reason) -> Failure {
    if reason == Reason::KeyUnreadable {
        return Failure::KeyUnreadable;
    }
    Failure::Nobody {
        method,
        reason,
        claims: None,
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

/// The digest of a credential that is not endless.
fn sha256(credential: &[u8]) -> Result<Digest, Reason> {
    if credential.len() > LONGEST {
        return Err(Reason::TooLong);
    }
    let digest = digest(&SHA256, credential);
    digest.as_ref().try_into().map_err(|_| Reason::Malformed)
}

fn note(log: &RequestLog, outcome: &Result<Identity, Failure>) {
    let mut fields = log.fields();
    let method = match outcome {
        Ok(identity) => Some(identity.method),
        Err(Failure::Nobody { method, .. }) => *method,
        Err(_) => None,
    };
    fields.method = method.map(Method::word);
    fields.identity_failure = outcome.as_ref().err().and_then(Failure::word);
}

/// One line for every 401 (RFC 9110 section 11.6.1); it names the ways in, as the documentation does, and nothing that was wrong.
fn challenge(watched: &Watched) -> HeaderValue {
    let mut ways = Vec::new();
    if watched.bearer || watched.headers.is_empty() {
        ways.push(r#"Bearer realm="flowgate""#.to_owned());
    }
    let keys = watched.headers.iter();
    ways.extend(keys.map(|name| format!(r#"ApiKey realm="flowgate", header="{name}""#)));
    let ways = HeaderValue::try_from(ways.join(", "));
    ways.unwrap_or(HeaderValue::from_static(r#"Bearer realm="flowgate""#))
}
