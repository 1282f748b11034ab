//! Every caller of one configuration, ready to be recognised.
//!
//! In: the callers and flows of a configuration, and the process's key sets. Out: for each call an [`Identified`] or a [`Failure`]. Finds
//! the one credential of a call and asks each authenticator of its place in turn; of the methods themselves nothing is known here (security
//! rule 12). The path is looked up before, and decides nothing but whether anything has to be proven at all.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::authenticator::{Answer, Authenticator, Deps, Evidence};
use super::key_set::KeySets;
use super::methods::{self, Caller};
use super::presented::{Ambiguous, Place, Watched};
use super::reason::Reason;
use super::{Failure, Identified, Identity, Method};
use crate::call::{Call, RequestLog, framing};
use crate::clock::Clock;
use crate::flow::{Flows, Found};

/// The callers of one configuration.
pub struct Callers {
    flows: Arc<Flows>,
    hosts: Vec<String>,
    watched: Watched,
    /// By the number of the place they look at.
    authenticators: Vec<Vec<Box<dyn Authenticator>>>,
    clock: Clock,
    challenge: HeaderValue,
    own_headers: Vec<HeaderName>,
}

/// How far a look without waiting came.
enum Seen<'a> {
    Known(Result<Identity, Failure>),
    /// Who has to wait, and why the others recognise nobody.
    Waits(
        Vec<BoxFuture<'a, Result<Identity, Failure>>>,
        Option<Failure>,
    ),
}

impl Callers {
    /// Builds everything a call needs; fetching of key sets new to the process starts at once, through `deps.outbound`.
    /// Has to be called within a tokio runtime.
    #[must_use]
    pub fn new(callers: &[Caller], flows: Arc<Flows>, deps: Deps, key_sets: &KeySets) -> Self {
        let expiry = &key_sets.metrics().caller_key_expiry_timestamp_seconds;
        // Callers that are gone would otherwise keep their dates.
        expiry.reset();
        for caller in callers {
            if let Some(end) = caller.proof.settings().end() {
                #[expect(clippy::cast_precision_loss, reason = "dates, exact to 2^53")]
                expiry
                    .with_label_values(&[&*caller.name])
                    .set(end.at as f64);
            }
        }
        let mut all = methods::authenticators(callers, &deps, key_sets);
        // `Bearer` is the first way in that a 401 names.
        all.sort_by_key(|one| one.place() != Place::Bearer);
        let mut watched = Watched::default();
        let mut authenticators: Vec<Vec<_>> = Vec::new();
        for one in all {
            let number = watched.number(one.place());
            if number == authenticators.len() {
                authenticators.push(Vec::new());
            }
            if let Some(of_place) = authenticators.get_mut(number) {
                of_place.push(one);
            }
        }
        let headers = watched.places().iter().map(Place::header);
        let mut own_headers: Vec<HeaderName> = headers
            .filter(|name| **name != AUTHORIZATION)
            .cloned()
            .collect();
        // A token never travels on, whether or not some caller has one.
        own_headers.push(AUTHORIZATION);
        Self {
            flows,
            hosts: deps.hosts,
            challenge: challenge(&watched),
            watched,
            authenticators,
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
            self.look(&call, &found)
        };
        let outcome = match seen {
            Seen::Known(outcome) => outcome,
            // Boxed: rare, and the usual call should not carry its state about.
            Seen::Waits(waits, refused) => Box::pin(wait(waits, refused, &call.log.clone())).await,
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

    /// Asks every authenticator of the place where the call's credential is: readings of one credential, none of them a fallback.
    fn look(&self, call: &Call, found: &Found) -> Seen<'_> {
        let presented = match self.watched.look(&call.headers) {
            Ok(Some(presented)) => presented,
            Ok(None) => {
                let reason = self.watched.missing(&call.headers);
                return Seen::Known(Err(Failure::nobody(None, reason)));
            }
            Err(Ambiguous) => return Seen::Known(Err(Failure::Ambiguous)),
        };
        let now = self.clock.since_epoch();
        let evidence = Evidence::new(call, found, presented.credential, now);
        let of_place = self.authenticators.get(presented.place);
        let (mut waits, mut refused) = (Vec::new(), None);
        for authenticator in of_place.into_iter().flatten() {
            match authenticator.authenticate(&evidence) {
                Answer::Proven(identity) => return Seen::Known(Ok(identity)),
                Answer::Refused(failure) => refused = Some(closer(refused, failure)),
                Answer::Waits(wait) => waits.push(wait),
            }
        }
        if waits.is_empty() {
            Seen::Known(Err(unidentified(refused)))
        } else {
            Seen::Waits(waits, refused)
        }
    }
}

/// Waits for those who could not say at once whose credential it is.
async fn wait(
    waits: Vec<BoxFuture<'_, Result<Identity, Failure>>>,
    mut refused: Option<Failure>,
    log: &RequestLog,
) -> Result<Identity, Failure> {
    let started = Instant::now();
    let outcomes = join_all(waits).await;
    log.fields().key_set += started.elapsed();
    for outcome in outcomes {
        match outcome {
            Ok(identity) => return Ok(identity),
            Err(failure) => refused = Some(closer(refused, failure)),
        }
    }
    Err(unidentified(refused))
}

/// Of what two authenticators say of one credential the later counts, unless it could not read the credential at all.
fn closer(known: Option<Failure>, failure: Failure) -> Failure {
    let unread = matches!(
        failure,
        Failure::Nobody {
            reason: Reason::Malformed,
            ..
        }
    );
    known.filter(|_| unread).unwrap_or(failure)
}

fn unidentified(refused: Option<Failure>) -> Failure {
    refused.unwrap_or_else(|| Failure::nobody(None, Reason::NoCredential))
}

fn anyone() -> Identity {
    Identity::default()
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
    let places = match watched.places() {
        [] => &[Place::Bearer][..],
        places => places,
    };
    let ways: Vec<String> = places.iter().map(Place::challenge).collect();
    let ways = HeaderValue::try_from(ways.join(", "));
    ways.unwrap_or(HeaderValue::from_static(r#"Bearer realm="flowgate""#))
}
