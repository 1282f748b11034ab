//! A refresh token: a person signed in once, and the gateway renews on that person's behalf.
//!
//! In: an [`Application`], the store that `flowgate sign-in` filled, and what to ask for. Out: a [`Source`] that redeems the newest token and
//! writes the one it gets back *before* it hands out the access token (facts B1.8, security rule 24, RFC 6749 section 6). Everything
//! happens under the store's lock, so that two gateways, or two cache entries with different audiences, never redeem the same token. A store
//! in a vault ([`in_vault`]) has a lock for the cache entries of one process only, and a token that cannot be written there stays in memory.
//! Refuses with [`Failure::SignInRequired`] where only a person can help.
//!
//! A crash between the provider's answer and the write loses the new token. At Entra ID the old one still works; at a provider that
//! takes each token once the one before it is tried, and then a person has to sign in again.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::application::{Application, Client};
use super::grant::GrantType;
use super::source::{Attempt, AttemptError, Context, Grant, Source, Wish};
use super::{Ask, Failure, answer};
use crate::diagnosis::{Reason, Subject};
use crate::metrics::{About, Reporter};
use crate::secret::Secret;
use crate::vault::Address;

pub mod account;
pub mod configured;
pub mod error;
pub mod in_vault;
pub mod record;
pub mod seal;
pub mod sign_in;
pub mod store;

use account::entra_account;
pub use configured::{RefreshTokenSettings, StoreLocation};
use error::StoreError;
use in_vault::VaultLock;
use record::Record;
use seal::{Key, Owner, Seal};
use store::{PendingWrite, Stamp, Step, Store};

pub mod section;

/// How long Entra ID keeps an unused refresh token (facts B1.8).
pub const INACTIVE: Duration = Duration::from_hours(90 * 24);

/// After this much of it without a renewal, it is reported.
const WARN: Duration = Duration::from_hours(60 * 24);

/// Between two looks at a lock that somebody else holds, or at a store that somebody may fill.
const LOCK_LOOK: Duration = Duration::from_millis(25);
const STORE_LOOK: Duration = Duration::from_secs(1);

/// Between two looks at a vault that somebody may fill: each is two requests.
const VAULT_LOOK: Duration = Duration::from_secs(5);

/// How old a record in a vault may become where a token stays valid though it was redeemed, as at Entra ID (facts B1.8): vaults keep every
/// version there ever was.
const REWRITE: Duration = Duration::from_hours(24);

impl RefreshTokenSettings {
    /// The store's seal, with the key as it is now.
    async fn seal(&self, context: &Context) -> Result<Seal, AttemptError> {
        let unusable = |reason| AttemptError::from(Failure::Unusable { reason });
        let key = context
            .secrets
            .read(&self.store_key)
            .await
            .map_err(|_| unusable(Reason::StoreKeyUnreadable))?;
        let key = Key::parse(&key).ok_or_else(|| unusable(Reason::StoreKeyInvalid))?;
        let owner = Owner {
            credential: &self.credential,
            token_url: self.application.token_url.as_str(),
            client_id: &self.application.client_id,
            scope: &match &self.scope {
                Some(Ask::Scope(text) | Ask::Resource(text)) => text.clone(),
                // No scope has a line feed in it.
                Some(Ask::Both { scope, resource }) => format!("{scope}\n{resource}"),
                None => String::new(),
            },
        };
        Seal::new(&key, &owner).map_err(AttemptError::from)
    }
}

/// Obtains tokens with what a sign-in left.
fn source(settings: &RefreshTokenSettings, ask: &Ask, context: &Context) -> Arc<dyn Source> {
    let store = match &settings.store {
        StoreLocation::File(file) => RecordStore::File(Store::new(file)),
        StoreLocation::Vault(address) => RecordStore::Vault(address.clone()),
    };
    Arc::new(RefreshToken::new(settings, ask, context, store))
}

/// How long one attempt may take, at worst: to read a vault, to try a token, to read again, to try another one, and to write. Another
/// entry's may come first: a second attempt waits for as long again, and a caller that asks for a token gets it from a later attempt.
fn patience(token_timeout: Duration) -> Duration {
    token_timeout * 5
}

/// Where records are, at work.
enum RecordStore {
    File(Store),
    Vault(Address),
}

/// How a store looks from outside: it changes with every write.
#[derive(PartialEq, Eq)]
enum Mark {
    File(Option<Stamp>),
    Vault(Option<Secret<String>>),
}

/// A record's place, ours until this is dropped.
enum Opened {
    File(PendingWrite),
    Vault(VaultLock),
}

/// Renews what a person's sign-in left in a store.
pub struct RefreshToken(Arc<Inner>);

impl GrantType for RefreshToken {
    type Settings = RefreshTokenSettings;
    type Memory = ();

    fn identity(settings: &RefreshTokenSettings) -> RefreshTokenSettings {
        settings.identity()
    }

    fn source(
        settings: &RefreshTokenSettings,
        ask: &Ask,
        context: &Context,
        (): &(),
    ) -> Arc<dyn Source> {
        source(settings, ask, context)
    }

    fn attempt_limit(request: Duration) -> Duration {
        patience(request)
    }

    fn application(settings: &RefreshTokenSettings) -> Option<&Application> {
        Some(&settings.application)
    }
}

struct Inner {
    settings: RefreshTokenSettings,
    ask: Ask,
    client: Client,
    store: RecordStore,
    /// How the store looked at the last attempt.
    seen: Mutex<Option<Mark>>,
    /// When a vault was last looked at for news, since the Unix epoch.
    looked: Mutex<Duration>,
    /// Whether the last attempt ended because somebody has to sign in.
    person: AtomicBool,
    /// When it was last reported that the sign-in runs out.
    warned: Mutex<Option<Duration>>,
    /// Shows when it does.
    end: Reporter,
}

impl RefreshToken {
    fn new(
        settings: &RefreshTokenSettings,
        ask: &Ask,
        context: &Context,
        store: RecordStore,
    ) -> Self {
        Self(Arc::new(Inner {
            ask: offline(ask, settings.application.entra),
            client: Client::new(&settings.application, context),
            settings: settings.clone(),
            store,
            seen: Mutex::default(),
            looked: Mutex::default(),
            person: AtomicBool::default(),
            warned: Mutex::default(),
            end: context
                .secret_expiry
                .reporter(&settings.credential, About::SignIn),
        }))
    }
}

/// Entra ID gives a new refresh token only to who asks for one; elsewhere the sign-in has settled it (RFC 6749 section 6).
fn offline(ask: &Ask, entra: bool) -> Ask {
    match ask {
        Ask::Scope(scope) if entra && !scope.split(' ').any(|word| word == "offline_access") => {
            Ask::Scope(format!("{scope} offline_access").trim_start().to_owned())
        }
        other => other.clone(),
    }
}

impl Source for RefreshToken {
    fn fetch(&self, wish: Wish) -> Attempt {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            // In a task of its own: a reload or a deadline must not fall between the provider's answer and the write.
            let renewal = tokio::spawn(Arc::clone(&inner).renew(wish)).await;
            let outcome =
                renewal.unwrap_or_else(|_| Err(AttemptError::unavailable(Reason::Panicked, None)));
            let person = matches!(&outcome, Err(error) if matches!(error.failure, Failure::SignInRequired { .. }));
            inner.person.store(person, Ordering::Relaxed);
            outcome
        })
    }

    fn news(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            match &inner.store {
                RecordStore::File(store) => {
                    while Some(Mark::File(store.stamp())) == *inner.seen() {
                        tokio::time::sleep(STORE_LOOK).await;
                    }
                }
                RecordStore::Vault(address) => inner.vault_changed(address).await,
            }
        })
    }
}

impl Inner {
    async fn renew(self: Arc<Self>, wish: Wish) -> Result<Grant, AttemptError> {
        let context = self.client.context();
        // Seen before anything can fail: what was there then is no news.
        if let RecordStore::File(store) = &self.store {
            self.see(Mark::File(store.stamp()));
        }
        let seal = Arc::new(self.settings.seal(context).await?);
        let (opened, last) = self.prepared(&seal).await?;
        self.warn_of_the_end(&last);
        let Redeemed {
            grant,
            refresh,
            used,
            last,
        } = match self.redeem(&last.newest, &last, &wish).await {
            Err(error) if worn_out(&error.failure) => {
                let other = self.with_another(&opened, &last, &wish).await;
                other.unwrap_or(Err(error)).map_err(for_a_person)?
            }
            outcome => outcome.map_err(for_a_person)?,
        };
        if let RecordStore::File(store) = &self.store {
            store.step(Step::Answered);
        }
        let now = context.clock.unix();
        if let (Some(had), Some(claims)) = (&last.account, &grant.claims)
            && let Some(got) = entra_account(claims)
            && !got.same(had)
        {
            return Err(person(Reason::AccountChanged));
        }
        let sequence = match &opened {
            Opened::File(pending) => pending.locked().next(Some(&last)),
            Opened::Vault(_) => last.sequence.saturating_add(1),
        };
        // A date ahead of the clock is not believed for ever.
        let young = now.abs_diff(last.last_used) < REWRITE.as_secs();
        let rotated = refresh.as_ref().is_some_and(|new| *new != used);
        let entra = self.settings.application.entra;
        let worth_a_version = (!entra && rotated) || !young || used != last.newest;
        let next = Record {
            sequence,
            // No new one: the old one stays good (facts B1.8).
            newest: refresh.unwrap_or_else(|| used.clone()),
            before: Some(used),
            last_used: now,
            ..last
        };
        match opened {
            Opened::File(pending) => {
                let written = blocking(move || pending.write(&next, &seal)).await;
                if let RecordStore::File(store) = &self.store {
                    self.see(Mark::File(store.stamp()));
                }
                written?;
            }
            // What is in memory only is replaced as well: it is tried again anyway.
            Opened::Vault(lock) if worth_a_version || lock.unwritten() => {
                lock.keep(&next).await?;
                self.see(Mark::Vault(lock.mark()));
            }
            Opened::Vault(_) => {}
        }
        self.show_the_end(now);
        Ok(grant)
    }

    /// After the newest token was refused. In a vault there may be a newer one: another gateway has renewed since we looked. And the one
    /// before it may still be good: an answer was lost before it was written, or the provider never learned that we have the newest. Not
    /// so where there is a newer one, or may be: where each token is taken once, an older one would end the sign-in. `None`: no other.
    async fn with_another(
        &self,
        opened: &Opened,
        last: &Record,
        wish: &Wish,
    ) -> Option<Result<Redeemed, AttemptError>> {
        if let Opened::Vault(lock) = opened {
            match lock.read().await {
                Ok(Some(now)) if now.newest != last.newest => {
                    return Some(self.redeem(&now.newest, &now, wish).await);
                }
                Err(unusable) if !self.settings.application.entra => {
                    return Some(Err(unusable.into()));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let redeemed = self.redeem(last.before.as_ref()?, last, wish).await;
        redeemed.ok().map(Ok)
    }

    /// The lock, the record, and a place for the next one.
    async fn prepared(&self, seal: &Arc<Seal>) -> Result<(Opened, Record), AttemptError> {
        match &self.store {
            RecordStore::File(store) => self.prepared_file(store, seal).await,
            RecordStore::Vault(address) => self.prepared_lock(address, seal).await,
        }
    }

    async fn prepared_lock(
        &self,
        address: &Address,
        seal: &Arc<Seal>,
    ) -> Result<(Opened, Record), AttemptError> {
        let context = self.client.context();
        let patience = patience(context.outbound.token_timeout());
        let lock = VaultLock::at(address, seal, context, patience).await?;
        let read = lock.read().await;
        self.see(Mark::Vault(lock.mark()));
        let record = match read {
            // Where a token stays valid though it was redeemed, one from memory does no harm, whatever others have done meanwhile. Where
            // each is taken once, somebody may have redeemed it, and a second try would end the sign-in for everybody.
            Err(in_vault::Unusable::Vault(error)) => match lock.held() {
                Some(held) if self.settings.application.entra || lock.unwritten() => Some(held?),
                _ => return Err(AttemptError::secret(error)),
            },
            outcome => outcome?,
        };
        let record = record.ok_or_else(|| person(Reason::NeverSignedIn))?;
        Ok((Opened::Vault(lock), record))
    }

    async fn prepared_file(
        &self,
        store: &Store,
        seal: &Arc<Seal>,
    ) -> Result<(Opened, Record), AttemptError> {
        let patience = self.client.context().outbound.token_timeout();
        let locking = locked(store);
        let locked = match tokio::time::timeout(patience, locking).await {
            Ok(locked) => locked?,
            Err(_) => return Err(StoreError::Busy.into()),
        };
        // Under the lock, and before it is read: whoever writes next changes it.
        self.see(Mark::File(store.stamp()));
        let seal = Arc::clone(seal);
        let prepared = blocking(move || {
            let record = locked.read(&seal)?;
            record
                .map(|record| Ok((locked.pending()?, record)))
                .transpose()
        });
        // A file system that does not answer is ours, and not the silence of the provider.
        let prepared = tokio::time::timeout(patience, prepared).await;
        let prepared = prepared.unwrap_or(Err(StoreError::Io))?;
        let (pending, record) = prepared.ok_or_else(|| person(Reason::NeverSignedIn))?;
        Ok((Opened::File(pending), record))
    }

    /// Returns when there is another value in the vault than at the last attempt; never, where nobody has to sign in.
    async fn vault_changed(&self, address: &Address) {
        if !self.person.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let context = self.client.context();
        loop {
            let last = *self.looked();
            context.clock.sleep_until(last + VAULT_LOOK).await;
            *self.looked() = context.clock.since_epoch();
            let Ok(seal) = self.settings.seal(context).await else {
                continue;
            };
            let patience = patience(context.outbound.token_timeout());
            let Ok(lock) = VaultLock::at(address, &Arc::new(seal), context, patience).await else {
                continue;
            };
            let unread = matches!(lock.read().await, Err(in_vault::Unusable::Vault(_)));
            if !unread && *self.seen() != Some(Mark::Vault(lock.mark())) {
                return;
            }
        }
    }

    /// Redeems one token of a record.
    async fn redeem(
        &self,
        token: &Secret<String>,
        of: &Record,
        wish: &Wish,
    ) -> Result<Redeemed, AttemptError> {
        let grant = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose().as_str()),
        ];
        let response = self.client.ask(&grant, &self.ask, wish).await?;
        let now = self.client.context().clock.since_epoch();
        Ok(Redeemed {
            grant: answer::read(&response, now)?,
            refresh: answer::text_of(&response, "refresh_token"),
            used: token.clone(),
            last: of.clone(),
        })
    }

    /// When the sign-in ends unless it is used, as far as that is known.
    fn show_the_end(&self, last_used: u64) {
        if self.settings.application.entra {
            self.end.report(Some(last_used + INACTIVE.as_secs()));
        }
    }

    /// Says once a day that a sign-in has not been used for long.
    fn warn_of_the_end(&self, record: &Record) {
        self.show_the_end(record.last_used);
        let now = self.client.context().clock.since_epoch();
        let last_used = Duration::from_secs(record.last_used);
        if !self.settings.application.entra || now < last_used + WARN {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|last| now < last + Duration::from_hours(24)) {
            return;
        }
        *warned = Some(now);
        let left = (last_used + INACTIVE).saturating_sub(now);
        tracing::warn!(
            credential = &*self.settings.credential,
            days_left = left.as_secs() / 86_400,
            "the sign-in has not been renewed for long and will end"
        );
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Mark>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, mark: Mark) {
        *self.seen() = Some(mark);
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Redeemed {
    grant: Grant,
    refresh: Option<Secret<String>>,
    /// The token it cost.
    used: Secret<String>,
    /// The record that is from.
    last: Record,
}

/// The lock, as soon as it is free.
async fn locked(store: &Store) -> Result<store::Locked, StoreError> {
    loop {
        if let Some(locked) = store.lock()? {
            return Ok(locked);
        }
        tokio::time::sleep(LOCK_LOOK).await;
    }
}

/// Work on files, off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::Io),
    }
}

/// The token itself is refused: used up, expired, revoked.
fn worn_out(failure: &Failure) -> bool {
    matches!(failure, Failure::Rejected { provider, .. }
        if provider.subject() == Subject::Grant && !provider.codes.contains(&LOOP))
}

/// AADSTS50196: asked too often, which passes by itself.
const LOOP: u32 = 50_196;

/// A refusal that only a person can fix (facts B1.8, B2.2): the token is refused, or the account has to do something first.
fn for_a_person(refused: AttemptError) -> AttemptError {
    let fixable = [Subject::Grant, Subject::Person, Subject::Consent];
    match refused.failure {
        Failure::Rejected { provider, evidence }
            if !provider.codes.contains(&LOOP) && fixable.contains(&provider.subject()) =>
        {
            AttemptError {
                failure: Failure::SignInRequired {
                    reason: Reason::SignInEnded,
                    provider: Some(provider),
                    evidence,
                },
                retry_after: refused.retry_after,
            }
        }
        failure => AttemptError { failure, ..refused },
    }
}

fn person(reason: Reason) -> AttemptError {
    AttemptError::from(Failure::SignInRequired {
        reason,
        provider: None,
        evidence: None,
    })
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        if error.fixed_by_sign_in() {
            person(error.reason())
        } else {
            Self::from(Failure::Unusable {
                reason: error.reason(),
            })
        }
    }
}

#[cfg(test)]
mod tests;
