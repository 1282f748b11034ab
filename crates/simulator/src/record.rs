//! What did the simulator receive?
//!
//! Every request at a flow (or at an unknown path) as it arrived, every request at a token endpoint, and counts of the rest. A record
//! exists from the moment the head has been read and grows with the body, so that a caller who hangs up leaves one too. Values
//! are secrets: the types print none of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::directory::Version;
use crate::service::Service;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not answered yet.
    Waiting,
    /// The answer's head has been handed over; its body may still be on its way.
    Answering(u16),
    /// Answered to the end, with this status.
    Answered(u16),
    /// The other side went away (or the answer was broken off on purpose) before that.
    Abandoned,
}

/// A request as it arrived at a flow, or at a service other than the token endpoints.
#[derive(Clone)]
pub struct Received {
    /// Counts up over all records.
    pub id: u64,
    /// Counts up over the connections.
    pub connection: u64,
    /// The service.
    pub service: Service,
    /// Name of the flow; empty if the path is no flow's.
    pub flow: String,
    /// Method.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// `:authority`, or the authority of an absolute-form target.
    pub authority: Option<String>,
    /// HTTP version.
    pub version: http::Version,
    /// Headers in order of arrival, names in lower case; lines of one name are together.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body as far as it arrived.
    pub body: Bytes,
    /// Whether the body arrived to its end.
    pub complete: bool,
    /// Trailers.
    pub trailers: Vec<(HeaderName, HeaderValue)>,
    /// Whether a run was started.
    pub ran: bool,
    /// The run's id; also set when a fault only pretends a run.
    pub run_id: Option<String>,
    /// How it ended.
    pub fate: Fate,
}

impl Received {
    /// The first value of that header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key.as_str().eq_ignore_ascii_case(name));
        values.find_map(|(_, value)| value.to_str().ok())
    }

    /// All values of that header that are text.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.as_str().eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| value.to_str().ok())
    }
}

impl fmt::Debug for Received {
    // Neither the target (a `sig`) nor header values (tokens) nor the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Received")
            .field("flow", &self.flow)
            .field("method", &self.method)
            .field("version", &self.version)
            .field("header_names", &names)
            .field("body_bytes", &self.body.len())
            .field("complete", &self.complete)
            .field("ran", &self.ran)
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}

/// A request as it arrived at a token endpoint.
#[derive(Clone)]
pub struct TokenRequest {
    /// Counts up over all records.
    pub id: u64,
    /// The tenant segment of the URL.
    pub tenant: String,
    /// Which endpoint.
    pub version: Version,
    /// Form fields, decoded, in order.
    pub form: Vec<(String, String)>,
    /// Whether HTTP Basic was used.
    pub basic: bool,
    /// Headers in order of arrival.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Status of the answer; `None` while there is none, or when the client left before.
    pub status: Option<u16>,
    /// AADSTS number of a refusal.
    pub code: Option<u32>,
}

impl TokenRequest {
    /// The first form field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for TokenRequest {
    // Field names only: the values hold the client secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.form.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TokenRequest")
            .field("tenant", &self.tenant)
            .field("version", &self.version)
            .field("field_names", &names)
            .field("basic", &self.basic)
            .field("status", &self.status)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// A record and its growing body, which is copied once, when somebody looks.
struct Entry {
    record: Received,
    body: BytesMut,
}

/// Everything recorded so far.
pub(crate) struct Records {
    keep: usize,
    next: AtomicU64,
    requests: Mutex<VecDeque<Entry>>,
    tokens: Mutex<VecDeque<TokenRequest>>,
    runs: Mutex<BTreeMap<String, usize>>,
    pub(crate) key_sets: AtomicUsize,
    pub(crate) metadata: AtomicUsize,
    pub(crate) connections: AtomicU64,
    changed: watch::Sender<()>,
}

impl Records {
    /// Keeps the newest `keep` of each kind.
    pub(crate) fn new(keep: usize) -> Arc<Self> {
        Arc::new(Self {
            keep,
            next: AtomicU64::new(0),
            requests: Mutex::default(),
            tokens: Mutex::default(),
            runs: Mutex::default(),
            key_sets: AtomicUsize::new(0),
            metadata: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        })
    }

    /// The requests to the services that are wanted.
    pub(crate) fn requests(&self, wanted: impl Fn(Service) -> bool) -> Vec<Received> {
        let requests = lock(&self.requests);
        let wanted = requests.iter().filter(|entry| wanted(entry.record.service));
        let whole = wanted.map(|entry| Received {
            body: Bytes::copy_from_slice(&entry.body),
            ..entry.record.clone()
        });
        whole.collect()
    }

    pub(crate) fn tokens(&self) -> Vec<TokenRequest> {
        lock(&self.tokens).iter().cloned().collect()
    }

    pub(crate) fn runs(&self, flow: &str) -> usize {
        lock(&self.runs).get(flow).copied().unwrap_or_default()
    }

    pub(crate) fn clear(&self) {
        lock(&self.requests).clear();
        lock(&self.tokens).clear();
        lock(&self.runs).clear();
        self.key_sets.store(0, Ordering::SeqCst);
        self.metadata.store(0, Ordering::SeqCst);
        self.touch();
    }

    /// Notified at every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn count(&self, counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
        self.touch();
    }

    /// Records a request's head.
    pub(crate) fn arrived<B>(
        self: &Arc<Self>,
        connection: u64,
        service: Service,
        flow: &str,
        request: &http::Request<B>,
    ) -> Recording {
        let target = request.uri().path_and_query();
        // Under the lock, so that ids ascend in the list.
        let mut requests = lock(&self.requests);
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        let record = Received {
            id,
            connection,
            service,
            flow: flow.into(),
            method: request.method().to_string(),
            target: target.map(ToString::to_string).unwrap_or_default(),
            authority: request.uri().authority().map(ToString::to_string),
            version: request.version(),
            headers: lines(request.headers()),
            body: Bytes::new(),
            complete: false,
            trailers: Vec::new(),
            ran: false,
            run_id: None,
            fate: Fate::Waiting,
        };
        let entry = Entry {
            record,
            body: BytesMut::new(),
        };
        push(&mut requests, entry, self.keep);
        drop(requests);
        self.touch();
        Recording {
            records: self.clone(),
            id,
            ended: false,
        }
    }

    /// Records a token request; the id is for [`Records::token_answered`].
    pub(crate) fn token_arrived(&self, mut request: TokenRequest) -> u64 {
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        request.id = id;
        push(&mut lock(&self.tokens), request, self.keep);
        self.touch();
        id
    }

    pub(crate) fn token_answered(&self, id: u64, status: u16, code: Option<u32>) {
        let mut tokens = lock(&self.tokens);
        if let Some(request) = tokens.iter_mut().rev().find(|request| request.id == id) {
            request.status = Some(status);
            request.code = code;
        }
        drop(tokens);
        self.touch();
    }

    fn touch(&self) {
        self.changed.send_replace(());
    }
}

/// A record in the making. Dropped before its end, it says so.
pub(crate) struct Recording {
    records: Arc<Records>,
    id: u64,
    ended: bool,
}

impl Recording {
    /// More of the body has arrived.
    pub(crate) fn data(&self, data: &[u8]) {
        self.edit_entry(|entry| entry.body.extend_from_slice(data));
    }

    /// The body has arrived to its end.
    pub(crate) fn complete(&self) {
        self.edit(|record| record.complete = true);
    }

    pub(crate) fn trailers(&self, trailers: &HeaderMap) {
        self.edit(|record| record.trailers = lines(trailers));
    }

    /// A run of `flow` has been started.
    pub(crate) fn ran(&self, flow: &str, run: &str) {
        *lock(&self.records.runs).entry(flow.into()).or_default() += 1;
        self.edit(|record| {
            record.ran = true;
            record.run_id = Some(run.into());
        });
    }

    /// An answer names a run that was never started.
    pub(crate) fn pretends(&self, run: &str) {
        self.edit(|record| record.run_id = Some(run.into()));
    }

    pub(crate) fn answering(&self, status: u16) {
        self.edit(|record| record.fate = Fate::Answering(status));
    }

    /// The answer has been handed over to its end.
    pub(crate) fn delivered(&mut self) {
        self.ended = true;
        self.edit(|record| {
            if let Fate::Answering(status) = record.fate {
                record.fate = Fate::Answered(status);
            }
        });
    }

    fn edit(&self, change: impl FnOnce(&mut Received)) {
        self.edit_entry(|entry| change(&mut entry.record));
    }

    fn edit_entry(&self, change: impl FnOnce(&mut Entry)) {
        let mut requests = lock(&self.records.requests);
        // Ids ascend, so the record is found by halving; it may have been cleared away.
        if let Ok(at) = requests.binary_search_by_key(&self.id, |entry| entry.record.id)
            && let Some(entry) = requests.get_mut(at)
        {
            change(entry);
        }
        drop(requests);
        self.records.touch();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.ended {
            self.edit(|record| record.fate = Fate::Abandoned);
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T, keep: usize) {
    while list.len() >= keep.max(1) {
        list.pop_front();
    }
    if keep > 0 {
        list.push_back(item);
    }
}

pub(crate) fn lines(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
