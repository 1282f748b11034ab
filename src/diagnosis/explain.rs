//! One explanation for everybody who asks why there is no token, no secret or no key set.
//!
//! In: a [`Reason`], what the provider said, where it said something, and the [`Evidence`]. Out: an [`Explanation`]. It is for
//! operators: it names hosts and repeats errors of the network and of TLS, never a path, a query, a secret or an answer's text.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use super::entra;
use super::{ProviderError, Reason};

/// Longest text of an error that is repeated, in characters: a certificate's names are whatever its owner wrote.
const LONGEST: usize = 400;

/// The command that fixes of the tables name, up to its closing backtick.
const SIGN_IN: &str = "`flowgate sign-in";

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever writes the gateway's configuration and its secrets.
    Configuration,
    /// Whoever administers the tenant: registrations, consent, policies, users.
    Tenant,
    /// Whoever the account of a delegated credential belongs to.
    Account,
    /// Microsoft: it passes.
    Entra,
    /// Whoever calls: only where the caller's own token is exchanged (`on_behalf_of`).
    Caller,
    /// Whoever runs the identity provider.
    Provider,
    /// Whoever runs what lies between: names, routes, firewalls, proxies, certificates.
    Network,
    /// Whoever administers the vault.
    Vault,
    /// Whoever runs the gateway's machine, or wrote this program.
    Gateway,
}

impl Fault {
    /// As log, status page and documents carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Tenant => "tenant_administrator",
            Self::Account => "user_account",
            Self::Entra => "entra",
            Self::Caller => "caller",
            Self::Provider => "identity_provider",
            Self::Network => "network",
            Self::Vault => "vault",
            Self::Gateway => "gateway",
        }
    }
}

/// With whom it went wrong, and how, as far as that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Host, and port where it is not the scheme's own.
    pub host: String,
    /// The chain of errors, or the status that was answered.
    pub cause: String,
}

impl Evidence {
    /// Of an error and its sources.
    #[must_use]
    pub fn of(host: &str, error: &(dyn Error + 'static)) -> Arc<Self> {
        Self::said(host, &chain(error))
    }

    /// Of an answer that was not what was wanted.
    #[must_use]
    pub fn answered(host: &str, status: u16) -> Arc<Self> {
        Self::said(host, &format!("it answered {status}"))
    }

    /// In words of our own.
    #[must_use]
    pub fn said(host: &str, cause: &str) -> Arc<Self> {
        Arc::new(Self {
            host: printable(host),
            cause: printable(cause),
        })
    }
}

/// Why something did not come, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Why.
    pub reason: Reason,
    /// Who has to change something.
    pub fault: Fault,
    /// What it means.
    pub meaning: Cow<'static, str>,
    /// What to change.
    pub fix: Cow<'static, str>,
    /// With whom, and how.
    pub evidence: Option<Arc<Evidence>>,
    /// Whether it is about a credential that a person signs in for.
    pub signs_in: bool,
}

impl Explanation {
    /// With whom it went wrong.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.evidence.as_ref().map(|seen| &*seen.host)
    }

    /// How, as it was seen.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.evidence.as_ref().map(|seen| &*seen.cause)
    }

    /// What to change, with the whole command line in place of `flowgate sign-in`, where that is for this very credential: to others it
    /// is said that there is such a kind.
    #[must_use]
    pub fn fix_with(&self, sign_in: &str) -> String {
        if self.signs_in {
            self.fix.replace(SIGN_IN, &format!("`{sign_in}"))
        } else {
            self.fix.to_string()
        }
    }

    /// Host and cause, in words; empty where nobody was reached for.
    #[must_use]
    pub fn place(&self) -> String {
        self.evidence.as_ref().map_or_else(String::new, |seen| {
            format!("host {}: {}", seen.host, seen.cause)
        })
    }
}

/// Explains a reason. Where a provider gave numbers, the first one that is known says most, then its `suberror`; of numbers that nobody
/// here knows the provider's own page says it.
#[must_use]
pub fn explain(
    reason: Reason,
    provider: Option<&ProviderError>,
    evidence: Option<Arc<Evidence>>,
) -> Explanation {
    let codes = provider.map_or(&[][..], |said| &said.codes);
    let suberror = provider.and_then(|said| said.suberror);
    let entry = reason.entry();
    let mut explanation = Explanation {
        reason,
        fault: entry.fault,
        meaning: entry.meaning.into(),
        fix: entry.fix.into(),
        evidence,
        signs_in: reason.is_of_a_sign_in(),
    };
    if let Some(known) = entra::first(codes) {
        explanation.fault = known.fault;
        explanation.meaning = known.meaning.into();
        // Who signed in once does so again; advice to passwords, such as to use this very kind of credential, would help nobody.
        let helps = suberror.is_none_or(|word| word.sign_in_helps);
        if reason != Reason::SignInEnded || known.by_sign_in || !helps {
            explanation.fix = known.fix.into();
        }
    } else if let Some(known) = suberror {
        explanation.meaning = known.meaning.into();
        explanation.fix = known.fix.into();
    } else if let Some(code) = codes.first() {
        explanation.meaning = format!("{}, with AADSTS{code}", entry.meaning).into();
        explanation.fix = format!("look the number up: {}", entra::look_up(*code)).into();
    }
    explanation
}

/// An error and its sources, outermost first, on one line and not too long.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Transparent errors repeat their source.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    printable(&text)
}

/// What a terminal, a log and a page can show: one line, not too long.
fn printable(text: &str) -> String {
    let plain = text.chars().filter(|letter| !letter.is_control());
    let mut short: String = plain.take(LONGEST + 1).collect();
    if let Some((end, _)) = short.char_indices().nth(LONGEST) {
        short.truncate(end);
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_nobody_knows_leads_to_the_providers_own_page() {
        let said = ProviderError {
            codes: vec![9_999_991],
            ..ProviderError::default()
        };
        let explanation = explain(Reason::Rejected, Some(&said), None);
        assert!(
            explanation
                .fix
                .ends_with("https://login.microsoftonline.com/error?code=9999991")
        );
    }

    #[test]
    fn what_is_repeated_is_one_line_and_short() {
        let seen = Evidence::said("a", &format!("x\ny\u{1b}[31m{}", "z".repeat(9999)));
        assert!(seen.cause.starts_with("xy[31mz") && seen.cause.chars().count() == LONGEST + 1);
    }

    #[test]
    fn a_sign_in_with_the_same_credential_is_marked_as_one() {
        for known in entra::entries() {
            let other = known.fix.contains("`refresh_token`");
            assert_eq!(
                known.by_sign_in,
                known.fix.contains(SIGN_IN) && !other,
                "{:?}",
                known.codes
            );
        }
    }

    #[test]
    fn no_fix_names_the_sign_in_without_its_backtick() {
        let fixes = Reason::ALL.iter().map(|reason| reason.entry().fix);
        let fixes = fixes.chain(entra::entries().map(|known| known.fix));
        for fix in fixes.chain(entra::suberror::ALL.iter().map(|known| known.fix)) {
            assert_eq!(
                fix.matches("flowgate sign-in").count(),
                fix.matches(SIGN_IN).count()
            );
        }
    }
}
