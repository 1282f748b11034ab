//! What a method of authenticating callers is.
//!
//! In: nothing. Out: two traits that each method implements in its own folder: [`CallerSettings`], its section and the checks of it, and
//! [`CallerMethod`], what recognises its callers and what the operator is told. `methods.rs` has the list of all. Refuses nothing.

use settings::problem::Name;
use settings::read::At;

use super::authenticator::{Authenticator, Configured, Deps};
use super::tokens::{Issuer, TokenSettings};
use crate::validation::ValidationContext;
use crate::vault::Address;

/// How a method is configured; implemented beside its section by what a caller that uses it has configured.
pub(crate) trait CallerSettings: Sized {
    /// Its section of the grammar.
    type Section;

    /// What `defaults` has for it: a section, or nothing.
    type Defaults;

    /// What the checks of all callers that use it share.
    type Seen: Default;

    /// Whether any caller that uses it can be a user of Entra ID.
    const IS_FOR_USERS: bool = false;

    /// Checks the defaults: what is wrong there is wrong before any caller takes it.
    fn validate_defaults(_: &mut ValidationContext<'_>, _: &Self::Defaults) {}

    /// Checks the section of one caller.
    fn validate(
        context: &mut ValidationContext<'_>,
        name: &Name,
        at: At<Self::Section>,
        defaults: &Self::Defaults,
        seen: &mut Self::Seen,
    ) -> Option<Self>;
}

/// What a method does; implemented by the same settings.
pub(crate) trait CallerMethod {
    /// What recognises the callers that use it, unless tokens do.
    fn authenticators(_: &[Configured<'_, Self>], _: &Deps) -> Vec<Box<dyn Authenticator>>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// Whose tokens recognise the callers that use it.
    fn issuers(_: &[Configured<'_, Self>]) -> Vec<Issuer>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// What the caller presents, with its article.
    fn credential(&self) -> &'static str;

    /// The same settings, where that is a token.
    fn token(&self) -> Option<&dyn TokenSettings> {
        None
    }

    /// Whether this caller may be a user of Entra ID.
    fn admits_users(&self) -> bool {
        false
    }

    /// The `aud` of the Entra ID tokens that recognise this caller.
    fn audiences(&self) -> &[String] {
        &[]
    }

    /// The secrets of the caller that are in vaults.
    fn kept(&self) -> Vec<Kept<'_>> {
        Vec::new()
    }

    /// When the last of its secrets expires; `None` while one of them never does.
    fn end(&self) -> Option<End> {
        None
    }
}

/// A caller's secret in a vault.
pub(crate) struct Kept<'a> {
    /// What it is, with its article: `the API key`.
    pub(crate) what: &'static str,
    /// Where it is.
    pub(crate) address: &'a Address,
    /// Why nobody is recognised by what the vault holds.
    pub(crate) flaw: FlawOf<'a>,
}

/// What is wrong with the text that a vault holds.
type FlawOf<'a> = Box<dyn Fn(&str) -> Option<&'static Flaw> + Send + Sync + 'a>;

/// Why nobody is recognised by a secret.
pub(crate) struct Flaw {
    /// What is wrong, after the secret's name.
    pub(crate) message: &'static str,
    /// What to put there instead.
    pub(crate) fix: &'static str,
}

/// The end of a caller's last secret.
pub(crate) struct End {
    /// Unix seconds.
    pub(crate) at: u64,
    /// What it is: `key`.
    pub(crate) what: &'static str,
    /// What to do when it is past.
    pub(crate) fix: &'static str,
}
