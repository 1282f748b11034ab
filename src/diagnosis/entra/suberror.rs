//! What the `suberror` of an answer of Entra ID says about how to go on (facts B2.1).
//!
//! In: the word. Out: a word of our own catalogue, so that nothing of an answer is ever repeated, with what to do.

/// One word and what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Suberror {
    /// As the answer carries it.
    pub word: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Whether a sign-in is among what can help.
    pub sign_in_helps: bool,
}

/// Every word that is known.
pub const ALL: &[Suberror] = &[
    word(
        "basic_action",
        "a person can settle it in an ordinary sign-in",
        "run `flowgate sign-in`, or use an application's own identity",
    ),
    word(
        "additional_action",
        "a person can settle it, with something more than a sign-in",
        "sign in with a browser and follow what it says",
    ),
    Suberror {
        sign_in_helps: false,
        ..word(
            "message_only",
            "a policy refuses it and no sign-in helps",
            "have the tenant's administrator look at the policy that the sign-in log names",
        )
    },
    word(
        "consent_required",
        "consent is missing or was withdrawn",
        "have an administrator grant consent",
    ),
    word(
        "user_password_expired",
        "the account's password has expired",
        "set a new one and put it in place",
    ),
    word(
        "bad_token",
        "the refresh token is not valid any more",
        "run `flowgate sign-in`",
    ),
    word(
        "token_expired",
        "the refresh token has expired",
        "run `flowgate sign-in`",
    ),
    word(
        "client_mismatch",
        "the refresh token belongs to another application",
        "check `client_id`, then run `flowgate sign-in`",
    ),
    word(
        "protection_policy_required",
        "the application must be one that an app protection policy covers",
        "exclude the account from the policy, or use an application's own identity",
    ),
    word(
        "device_authentication_failed",
        "the device could not prove itself",
        "exclude the account from the policy, or use an application's own identity",
    ),
];

const fn word(word: &'static str, meaning: &'static str, fix: &'static str) -> Suberror {
    Suberror {
        word,
        meaning,
        fix,
        sign_in_helps: true,
    }
}

/// The entry for one word.
#[must_use]
pub fn find(word: &str) -> Option<&'static Suberror> {
    ALL.iter().find(|known| known.word == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_as_it_is_written_and_no_other_is_repeated() {
        assert_eq!(find("bad_token").unwrap().word, "bad_token");
        assert_eq!(find("Bad_Token"), None);
        assert_eq!(find(""), None);
    }
}
