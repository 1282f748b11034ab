//! Who can sign in, and what blocks it?
//!
//! A [`User`] has a password and one [`UserState`]: the reason why a sign-in without a person at a keyboard fails, each with its
//! number of facts B2.2. A person at the simulated sign-in page satisfies multi-factor authentication by pressing a button.

use crate::random;

/// What blocks a user's sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserState {
    /// Nothing.
    Active,
    /// Multi-factor authentication: AADSTS50076 without a person.
    MfaRequired,
    /// Has to register for multi-factor authentication first: AADSTS50079.
    MustEnrol,
    /// The password is kept by another identity provider: AADSTS50126 whatever the password (inferred).
    Federated,
    /// A guest, whose home is another directory: AADSTS50020 (inferred for the password grant).
    Guest,
    /// Conditional access forbids it, to persons too: AADSTS53003.
    ConditionalAccess,
    /// The password has expired: AADSTS50055.
    PasswordExpired,
    /// Locked after too many wrong passwords: AADSTS50053.
    Locked,
    /// Turned off: AADSTS50057.
    Disabled,
    /// Not assigned to the application: AADSTS50105.
    NotAssigned,
    /// Has not consented and may not: AADSTS65001.
    ConsentRequired,
}

/// A user.
#[derive(Clone)]
pub struct User {
    /// The token's `oid`.
    pub object_id: String,
    /// User principal name.
    pub name: String,
    /// Password; random if not set.
    pub password: String,
    /// What blocks it.
    pub state: UserState,
    /// `groups` in the user's tokens.
    pub groups: Vec<String>,
}

impl User {
    /// A user without groups, with a random password, whom nothing hinders.
    #[must_use]
    pub fn new(object_id: &str, name: &str) -> Self {
        Self {
            object_id: object_id.into(),
            name: name.into(),
            password: random::secret(),
            state: UserState::Active,
            groups: Vec::new(),
        }
    }

    /// The same user with this password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = password.into();
        self
    }

    /// The same user in this state.
    #[must_use]
    pub fn in_state(mut self, state: UserState) -> Self {
        self.state = state;
        self
    }
}
