//! Which refresh tokens are out, and which are still good?
//!
//! In: who signed in through which application. Out: refresh tokens, and what they mean when they come back. As Entra's do (facts
//! B1.8), each redemption gives a new token and leaves the old one valid; [`Rotation::Strict`] is the other world, where a token
//! that comes back a second time ends its whole family. Tokens die of inactivity and of revocation, each with its own number.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::aadsts::Refusal;
use crate::random;

/// What becomes of a refresh token that has been redeemed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// It stays valid (Entra).
    #[default]
    Lenient,
    /// Its second use is taken for theft: it and all tokens of the same sign-in die. Not Entra's behaviour.
    Strict,
}

/// Why refresh tokens are to be refused from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// AADSTS700082: unused for too long.
    Inactive,
    /// AADSTS50173: revoked, as after a change of password.
    Revoked,
    /// AADSTS70043: conditional access wants the user to sign in again.
    SignInFrequency,
    /// AADSTS700084: the fixed life of a single-page application's token is over.
    SinglePage,
}

impl Ended {
    fn code(self) -> u32 {
        match self {
            Self::Inactive => 700_082,
            Self::Revoked => 50173,
            Self::SignInFrequency => 70043,
            Self::SinglePage => 700_084,
        }
    }
}

/// One user's sign-in through one application.
#[derive(Clone)]
pub(crate) struct SignIn {
    pub(crate) tenant: String,
    pub(crate) client: String,
    /// Object id.
    pub(crate) user: String,
    /// How: `pwd`, `mfa`.
    pub(crate) methods: Vec<&'static str>,
    /// The password it was made with. A refresh token does not outlive its change.
    pub(crate) password: Option<String>,
    /// The resource or the scopes it was first asked for, which count when a later request names none.
    pub(crate) asked: String,
    pub(crate) nonce: Option<String>,
}

#[derive(Clone)]
struct Token {
    sign_in: SignIn,
    family: u64,
    issued: u64,
    used: bool,
    ended: Option<Ended>,
}

/// All refresh tokens.
pub(crate) struct Sessions(Mutex<Inner>);

struct Inner {
    tokens: HashMap<String, Token>,
    families: u64,
    rotation: Rotation,
    /// Seconds without use after which a token dies.
    inactivity: u64,
}

/// 90 days (facts B1.8).
const INACTIVITY: u64 = 90 * 86_400;

impl Default for Sessions {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            tokens: HashMap::new(),
            families: 0,
            rotation: Rotation::default(),
            inactivity: INACTIVITY,
        }))
    }
}

impl Sessions {
    pub(crate) fn set_rotation(&self, rotation: Rotation) {
        self.inner().rotation = rotation;
    }

    pub(crate) fn set_inactivity(&self, seconds: u64) {
        self.inner().inactivity = seconds;
    }

    /// Refuses all tokens of that user that are out now.
    pub(crate) fn end(&self, user: &str, ended: Ended) {
        for token in self.inner().tokens.values_mut() {
            if token.sign_in.user == user {
                token.ended = Some(ended);
            }
        }
    }

    /// The first refresh token of a sign-in.
    pub(crate) fn begin(&self, sign_in: SignIn, now: u64) -> String {
        let mut inner = self.inner();
        inner.families += 1;
        let family = inner.families;
        inner.put(sign_in, family, now)
    }

    /// The tenant of a token, for requests to a URL that names none.
    pub(crate) fn tenant(&self, token: &str) -> Option<String> {
        let inner = self.inner();
        inner
            .tokens
            .get(token)
            .map(|token| token.sign_in.tenant.clone())
    }

    /// What a refresh token represents, if it is good and `client`'s.
    pub(crate) fn look(
        &self,
        token: &str,
        tenant: &str,
        client: &str,
        now: u64,
    ) -> Result<SignIn, Refusal> {
        let mut inner = self.inner();
        let (inactivity, rotation) = (inner.inactivity, inner.rotation);
        let known = inner
            .tokens
            .get(token)
            .ok_or_else(Refusal::unknown_refresh_token)?
            .clone();
        if known.sign_in.tenant != tenant || !known.sign_in.client.eq_ignore_ascii_case(client) {
            return Err(Refusal::anothers_refresh_token());
        }
        if let Some(ended) = known.ended {
            return Err(Refusal::ended_refresh_token(ended.code()));
        }
        if now.saturating_sub(known.issued) >= inactivity {
            return Err(Refusal::ended_refresh_token(Ended::Inactive.code()));
        }
        if rotation == Rotation::Strict && known.used {
            inner.end_family(known.family);
            return Err(Refusal::reused_refresh_token());
        }
        Ok(known.sign_in)
    }

    /// The token that follows `token`.
    pub(crate) fn rotate(&self, token: &str, now: u64) -> Result<String, Refusal> {
        let mut inner = self.inner();
        let rotation = inner.rotation;
        let known = inner
            .tokens
            .get_mut(token)
            .ok_or_else(Refusal::unknown_refresh_token)?;
        // Two at the same time: the second one is the reuse.
        let reused = rotation == Rotation::Strict && known.used;
        known.used = true;
        let (sign_in, family) = (known.sign_in.clone(), known.family);
        if reused {
            inner.end_family(family);
            return Err(Refusal::reused_refresh_token());
        }
        Ok(inner.put(sign_in, family, now))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, sign_in: SignIn, family: u64, issued: u64) -> String {
        let token = format!("1.{}.{}", random::secret(), random::secret());
        self.tokens.insert(
            token.clone(),
            Token {
                sign_in,
                family,
                issued,
                used: false,
                ended: None,
            },
        );
        token
    }

    fn end_family(&mut self, family: u64) {
        for token in self.tokens.values_mut() {
            if token.family == family {
                token.ended = Some(Ended::Revoked);
            }
        }
    }
}
