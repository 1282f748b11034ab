//! The commonest AADSTS codes (facts B2.2): what they mean and what to change.
//!
//! In: a code of `error_codes`. Out: its [`Meaning`] for the log. Decides nothing: Microsoft asks programs not to branch on these
//! numbers but to show them to people.

/// One entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    codes: &'static [u32],
    /// What it means.
    pub meaning: &'static str,
    /// What to change.
    pub cure: &'static str,
}

const CATALOGUE: &[Meaning] = &[
    entry(
        &[7_000_215],
        "the client secret is wrong",
        "put the secret's *value* in place, not its ID, and nothing shortened or encoded",
    ),
    entry(
        &[7_000_222],
        "the client secret has expired",
        "make a new secret in the app registration and put it in place",
    ),
    entry(
        &[7_000_218, 70_002],
        "the client's proof is missing",
        "give the credential its secret",
    ),
    entry(
        &[700_016, 70_001],
        "the application does not exist in this tenant",
        "check `client_id` and `tenant` as a pair; a partner's application needs consent in the tenant",
    ),
    entry(
        &[7_000_229],
        "the application has no service principal in this tenant",
        "have an administrator consent to the application",
    ),
    entry(
        &[7_000_112],
        "the application is disabled",
        "enable its enterprise application",
    ),
    entry(
        &[90_002, 50_049],
        "the tenant does not exist in this cloud",
        "check `tenant` and `cloud`",
    ),
    entry(
        &[900_023, 90_019, 50_059, 50_128],
        "the tenant is not a GUID or domain",
        "set `tenant` to the tenant's id",
    ),
    entry(
        &[90_038, 900_382],
        "the tenant lives in another cloud",
        "set `cloud` to the tenant's",
    ),
    entry(
        &[500_011, 50_001],
        "the resource is unknown in this tenant",
        "check `scope` or `resource`; the flow service's ends with two slashes before .default",
    ),
    entry(
        &[1_002_012, 70_011],
        "the scope is not acceptable",
        "end the scope with /.default",
    ),
    entry(
        &[901_002],
        "the v2 endpoint takes no `resource`",
        "use `scope:`, or `endpoint: v1`",
    ),
    entry(
        &[501_051],
        "the application is not assigned to a role of the resource",
        "assign an app role, or switch \"assignment required\" off",
    ),
    entry(
        &[50_105],
        "the user is not assigned to the application",
        "assign the user in the enterprise application",
    ),
    entry(
        &[65_001],
        "nobody consented to the permission",
        "have an administrator grant consent",
    ),
    entry(
        &[65_005, 650_052, 650_056, 650_057],
        "the application does not list the resource",
        "add the API permission and grant consent",
    ),
    entry(
        &[50_034, 50_020],
        "the account is not in this tenant",
        "check `tenant` and the user name",
    ),
    entry(
        &[50_126, 50_056],
        "user name or password is wrong",
        "correct it; a federated account cannot use a password here",
    ),
    entry(
        &[50_053],
        "the account is locked",
        "wait, then reset the password; stop whatever retries",
    ),
    entry(&[50_055, 50_144], "the password has expired", "reset it"),
    entry(
        &[50_057],
        "the account is disabled",
        "enable it or use another",
    ),
    entry(
        &[50_076, 50_079, 50_072, 50_074, 50_014, 50_078],
        "multi-factor authentication is required",
        "an unattended program cannot answer it: use an application's own identity",
    ),
    entry(
        &[53_003, 53_000, 53_001, 50_131, 530_032, 530_035],
        "conditional access blocks the sign-in",
        "exclude the workload from the policy or name its location",
    ),
    entry(
        &[50_196],
        "the same request came too often",
        "tokens are not being kept: look for a second program with this client id; wait a minute",
    ),
    entry(
        &[50_012, 50_013, 700_027],
        "the client's assertion is not valid",
        "check certificate and clock",
    ),
    entry(
        &[700_024, 500_133],
        "the assertion is outside its time range",
        "check the clock",
    ),
    entry(
        &[700_025],
        "a public client may not send a secret",
        "remove the secret, or make the client confidential",
    ),
    entry(
        &[70_003],
        "the grant is not supported",
        "check the kind of the credential",
    ),
    entry(
        &[900_144, 90_014, 90_004, 9_002_313],
        "the request was malformed",
        "look for a proxy that rewrites bodies",
    ),
    entry(
        &[90_006, 90_012, 90_033, 90_036],
        "Entra ID has a temporary problem",
        "nothing to change: it is tried again",
    ),
];

const fn entry(codes: &'static [u32], meaning: &'static str, cure: &'static str) -> Meaning {
    Meaning {
        codes,
        meaning,
        cure,
    }
}

/// The entry for one AADSTS code.
#[must_use]
pub fn find(code: u32) -> Option<&'static Meaning> {
    CATALOGUE.iter().find(|entry| entry.codes.contains(&code))
}

/// Every code of the catalogue.
pub fn codes() -> impl Iterator<Item = u32> {
    CATALOGUE
        .iter()
        .flat_map(|entry| entry.codes.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_stands_twice() {
        let mut all: Vec<u32> = codes().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_wrong_secret_is_told_from_an_expired_one() {
        assert!(find(7_000_215).unwrap().meaning.contains("wrong"));
        assert!(find(7_000_222).unwrap().meaning.contains("expired"));
        assert_eq!(find(1), None);
    }
}
