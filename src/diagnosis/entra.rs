//! The AADSTS codes of Entra ID (facts B2.2): what each means, who has to change something, and what.
//!
//! In: a code of `error_codes`, or a word of `suberror`. Out: its [`Meaning`] or [`Suberror`], for log, status page and commands.
//! Decides nothing: Microsoft asks programs not to branch on these numbers but to show them to people. The tables are data, one file
//! for each theme; `docs/entra-errors.md` is printed from them.

mod account;
mod application;
mod request;
mod service;
mod sign_in;
pub mod suberror;

pub use super::Fault;
pub use suberror::Suberror;

/// One entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The numbers it represents.
    pub codes: &'static [u32],
    /// OAuth's `error` that they come with.
    pub error: &'static str,
    /// Whether `error` was seen on the wire; otherwise it is the usual one.
    pub observed: bool,
    /// The `suberror` that usually comes with them.
    pub suberror: Option<&'static str>,
    /// Who has to change something.
    pub fault: Fault,
    /// What it means.
    pub meaning: &'static str,
    /// What to change.
    pub fix: &'static str,
    /// Whether that is a sign-in with the same credential.
    pub by_sign_in: bool,
}

/// What the tables are written with.
const fn entry(
    codes: &'static [u32],
    error: &'static str,
    fault: Fault,
    meaning: &'static str,
    fix: &'static str,
) -> Meaning {
    Meaning {
        codes,
        error,
        observed: false,
        suberror: None,
        fault,
        meaning,
        fix,
        by_sign_in: false,
    }
}

impl Meaning {
    /// Its fix is a sign-in with the same credential.
    const fn by_sign_in(self) -> Self {
        Self {
            by_sign_in: true,
            ..self
        }
    }

    /// Its `error` was seen on the wire.
    const fn observed(self) -> Self {
        Self {
            observed: true,
            ..self
        }
    }

    /// It usually comes with this `suberror`.
    const fn suberror(self, word: &'static str) -> Self {
        Self {
            suberror: Some(word),
            ..self
        }
    }
}

/// The whole catalogue, theme by theme.
pub fn entries() -> impl Iterator<Item = &'static Meaning> {
    [
        application::TABLE,
        request::TABLE,
        account::TABLE,
        sign_in::TABLE,
        service::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The entry for one AADSTS code.
#[must_use]
pub fn find(code: u32) -> Option<&'static Meaning> {
    entries().find(|entry| entry.codes.contains(&code))
}

/// The entry for the first code that has one.
#[must_use]
pub fn first(codes: &[u32]) -> Option<&'static Meaning> {
    codes.iter().find_map(|code| find(*code))
}

/// Where the provider itself explains a number.
#[must_use]
pub fn look_up(code: u32) -> String {
    format!("https://login.microsoftonline.com/error?code={code}")
}

/// Every code of the catalogue.
pub fn codes() -> impl Iterator<Item = u32> {
    entries().flat_map(|entry| entry.codes.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_occurs_twice() {
        let mut all: Vec<u32> = codes().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(count > 100, "{count}");
    }

    #[test]
    fn a_wrong_secret_is_distinguished_from_an_expired_one() {
        assert!(find(7_000_215).unwrap().meaning.contains("wrong"));
        assert!(find(7_000_222).unwrap().meaning.contains("expired"));
        assert_eq!(find(1), None);
        assert_eq!(first(&[1, 7_000_222]), find(7_000_222));
        assert_eq!(first(&[]), None);
    }

    #[test]
    fn each_reason_why_a_password_fails_has_its_own_meaning_and_fix() {
        let reasons = [
            50_126, 50_055, 50_144, 50_053, 50_057, 50_034, 50_020, 50_014, 50_076, 50_079, 50_078,
            53_003, 53_000, 50_158, 80_012,
        ];
        let mut reported: Vec<_> = reasons.iter().map(|code| find(*code).unwrap()).collect();
        reported.sort_unstable_by_key(|entry| entry.codes);
        reported.dedup_by_key(|entry| entry.fix);
        assert_eq!(reported.len(), reasons.len());
    }

    #[test]
    fn what_a_password_cannot_answer_recommends_a_kind_that_can() {
        for code in [50_076, 50_079, 50_158, 53_003, 50_126, 50_020, 50_014] {
            let fix = find(code).unwrap().fix;
            assert!(
                fix.contains("`refresh_token`") && fix.contains("flowgate sign-in"),
                "{code}: {fix}"
            );
        }
        // A password that has run out or is locked needs a new password, not another kind.
        for code in [50_053, 50_055, 50_057, 50_144] {
            let fix = find(code).unwrap().fix;
            assert!(!fix.contains("refresh_token"), "{code}: {fix}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_entras_fault_and_nobody_elses() {
        for entry in entries() {
            let passes = matches!(entry.error, "temporarily_unavailable" | "server_error");
            if passes {
                assert_ne!(entry.fault, Fault::Configuration, "{:?}", entry.codes);
                assert_ne!(entry.fault, Fault::Caller, "{:?}", entry.codes);
            }
        }
    }

    #[test]
    fn every_suberror_of_the_table_has_words_of_its_own() {
        for word in entries().filter_map(|entry| entry.suberror) {
            assert!(suberror::find(word).is_some(), "{word}");
        }
    }
}
