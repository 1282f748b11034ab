//! On-behalf-of: the caller's own token exchanged for one that the flow accepts (facts B1.11).
//!
//! In: an [`Application`] and what to ask for; then, call by call, a user's verified [`Assertion`]. Out: a [`TokenCacheEntry`] for each assertion, so
//! that concurrent calls with one token share one request, and one caller's failure is nobody else's. No token outlives its assertion;
//! none is renewed but for a call. Two assertions that differ in anything share nothing: the entry's key is the exchange itself and
//! the assertion's SHA-256 (security rule 22). What only the user can fix becomes a [`Need`], which the caller gets. A pause that the
//! provider asks for holds back every caller's exchange ([`Throttle`]), and no token that is still valid.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::application::{Application, Client};
use super::grant::GrantType;
use super::source::{Attempt, AttemptError, Context, Source, Wish};
use super::token_cache_entry::{Deps, Owner, TokenCacheEntry};
use super::{Ask, Failure, answer};
use crate::diagnosis::{ProviderError, Subject};
use crate::identity::Assertion;

pub mod need;
pub mod section;
#[cfg(test)]
mod tests;
mod throttle;

pub use need::Need;
pub use throttle::Throttle;

/// Most callers whose tokens one exchange keeps; those not used of late leave first. A user's token with its claims takes about 10 KB,
/// so this is 100 MB at most; a caller who has left costs one more request when they come back.
const CALLERS: u64 = 10_000;

/// An assertion with less life than this is not exchanged.
const SHORTEST: Duration = Duration::from_secs(1);

/// One credential's exchange of callers' tokens, for one audience.
pub struct Exchange {
    name: Arc<str>,
    /// As the application proves itself now. Shared with every caller's source.
    client: Arc<ArcSwap<Client>>,
    throttle: Arc<Throttle>,
    ask: Ask,
    /// Longest duration of one attempt.
    attempt: Duration,
    deps: Deps,
    /// By their assertions' digests; each leaves when its assertion ends.
    token_cache: Cache<[u8; 32], Arc<TokenCacheEntry>>,
}

impl Exchange {
    /// `throttle`: what it shares with the other exchanges of its credential.
    pub(super) fn new(
        application: &Application,
        ask: &Ask,
        context: &Context,
        throttle: Arc<Throttle>,
        attempt: Duration,
        deps: Deps,
    ) -> Self {
        Self::for_callers(CALLERS, application, ask, context, throttle, attempt, deps)
    }

    fn for_callers(
        callers: u64,
        application: &Application,
        ask: &Ask,
        context: &Context,
        throttle: Arc<Throttle>,
        attempt: Duration,
        deps: Deps,
    ) -> Self {
        Self {
            name: Arc::clone(&context.credential),
            client: Arc::new(ArcSwap::from_pointee(Client::new(application, context))),
            throttle,
            ask: ask.clone(),
            attempt,
            deps,
            token_cache: Cache::builder()
                .max_capacity(callers)
                // A newcomer always gets a place, so that their calls share one exchange.
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(ByAssertion)
                .build(),
        }
    }

    /// From now on the application proves itself so, or asks on this way. Callers keep the tokens they have (rule 30), and what was
    /// refused before is asked for again.
    pub(super) fn adopt(&self, application: &Application, context: &Context) {
        self.client
            .store(Arc::new(Client::new(application, context)));
        for (digest, _) in self.token_cache.iter().filter(|(_, entry)| entry.fails()) {
            self.token_cache.invalidate(&*digest);
        }
    }

    /// What it shares with the other exchanges of its credential.
    pub(super) fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }

    /// The entry of this caller's token, fetching already when it is new. Needs a tokio runtime.
    #[must_use]
    pub fn entry(&self, assertion: &Assertion) -> Arc<TokenCacheEntry> {
        // One for each assertion, however many calls bring it at once.
        self.token_cache
            .get_with(*assertion.digest(), || self.fresh(assertion))
    }

    fn fresh(&self, assertion: &Assertion) -> Arc<TokenCacheEntry> {
        let source = Arc::new(Caller {
            client: Arc::clone(&self.client),
            throttle: Arc::clone(&self.throttle),
            ask: self.ask.clone(),
            assertion: assertion.clone(),
        });
        TokenCacheEntry::new(
            Arc::clone(&self.name),
            source,
            self.attempt,
            self.deps.clone(),
            Owner::Caller {
                until: assertion.expires(),
            },
        )
    }
}

/// An entry can be of no use once its assertion has ended.
struct ByAssertion;

impl Expiry<[u8; 32], Arc<TokenCacheEntry>> for ByAssertion {
    fn expire_after_create(
        &self,
        _: &[u8; 32],
        entry: &Arc<TokenCacheEntry>,
        _: Instant,
    ) -> Option<Duration> {
        entry.left()
    }
}

/// Obtains tokens for one caller's assertion.
struct Caller {
    client: Arc<ArcSwap<Client>>,
    throttle: Arc<Throttle>,
    ask: Ask,
    assertion: Assertion,
}

impl Source for Caller {
    fn fetch(&self, wish: Wish) -> Attempt {
        let (client, ask) = (self.client.load_full(), self.ask.clone());
        let (assertion, throttle) = (self.assertion.clone(), Arc::clone(&self.throttle));
        Box::pin(async move {
            let clock = &client.context().clock;
            let ended = || clock.since_epoch() + SHORTEST > assertion.expires();
            if ended() {
                return Err(needed(Need::Fresh));
            }
            let turn = client.context().outbound.token_timeout();
            let _permit = throttle.admit(clock, turn).await?;
            // It may have waited.
            if ended() {
                return Err(needed(Need::Fresh));
            }
            let token = assertion.token().ok_or_else(|| needed(Need::Fresh))?;
            let grant = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("requested_token_use", "on_behalf_of"),
                ("assertion", *token.expose()),
            ];
            let response = client.ask(&grant, &ask, &wish).await?;
            answer::read(&response, clock.since_epoch()).map_err(|error| {
                throttle.heed(&error, clock);
                explained(error, &response, ended())
            })
        })
    }
}

/// The grant without a caller, as when a command asks: there is nothing to exchange.
pub struct OnBehalfOf;

impl GrantType for OnBehalfOf {
    type Settings = Application;
    type Memory = ();

    fn identity(settings: &Application) -> Application {
        settings.identity()
    }

    fn source(_: &Application, _: &Ask, _: &Context, (): &()) -> Arc<dyn Source> {
        Arc::new(Self)
    }

    fn application(settings: &Application) -> Option<&Application> {
        Some(settings)
    }

    fn exchanger(settings: &Application) -> Option<&Application> {
        Some(settings)
    }
}

impl Source for OnBehalfOf {
    fn fetch(&self, _: Wish) -> Attempt {
        Box::pin(std::future::ready(Err(needed(Need::User))))
    }
}

/// Without asking anybody.
fn needed(need: Need) -> AttemptError {
    AttemptError {
        failure: Failure::Caller {
            need,
            provider: None,
        },
        retry_after: None,
    }
}

/// An error that the caller can fix as such; every other as it is. `ended`: whether the assertion has run out by now.
fn explained(refused: AttemptError, response: &Response<Bytes>, ended: bool) -> AttemptError {
    let Failure::Rejected { provider, .. } = &refused.failure else {
        return refused;
    };
    match need(provider, ended) {
        None => refused,
        Some(need) => AttemptError {
            failure: Failure::Caller {
                need: match need {
                    Need::SignIn(_) => Need::SignIn(answer::demand(response)),
                    other => other,
                },
                provider: Some(ProviderError {
                    // It advises whoever runs the gateway, and this is the caller's to mend.
                    suberror: None,
                    ..provider.clone()
                }),
            },
            retry_after: refused.retry_after,
        },
    }
}

/// Whether the caller can fix a refusal. By `error` and `suberror` where they say it, by number where `invalid_grant` says nothing
/// (facts B1.11, B2.1). What is not named here is the gateway's: 500131 (the assertion is for another application than the credential's
/// client id) and 50013 (the provider does not know the assertion we verified) come from a configuration that names two applications
/// or two tenants.
fn need(provider: &ProviderError, ended: bool) -> Option<Need> {
    let any = |numbers: &[u32]| provider.codes.iter().any(|code| numbers.contains(code));
    let consent =
        provider.subject() == Subject::Consent || provider.suggests(&["consent_required"]);
    // 65004: the user declined; 90094: an administrator's consent is needed; 50105: the user is not assigned to the application.
    if consent || any(&[65_001, 65_004, 90_094, 50_105]) {
        return Some(Need::Consent);
    }
    if any(&[7_000_114]) {
        return Some(Need::User);
    }
    if any(&[500_133]) || (any(&[50_013]) && ended) {
        return Some(Need::Fresh);
    }
    let interactive = provider.subject() == Subject::Person
        || provider.suggests(&["basic_action", "additional_action"]);
    // The account is locked, disabled or gone, its password has expired, or its sessions were ended: a sign-in tells the user.
    let account = [
        50_034, 50_053, 50_055, 50_057, 50_132, 50_133, 50_144, 50_173,
    ];
    (interactive || any(&account)).then_some(Need::SignIn(None))
}
