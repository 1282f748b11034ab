//! One token per case against one caller's filters (facts B3.2 step 6 and B3.3; contract, "Configuration").

use flowgate::identity::Proof;
use flowgate::identity::entra::{EntraSettings, Require};

use crate::issuer::{RSA, changed};
use crate::world::{AUTHORITY, TENANT, World, bearer, caller, entra_settings, word};

/// What every token of this page has.
const COMMON: &[(&str, &str)] = &[
    (
        "iss",
        r#""https://login.example/8f3b0000-0000-0000-0000-000000000001/v2.0""#,
    ),
    ("aud", r#""api://flowgate""#),
    ("exp", "1800000600"),
    ("tid", r#""8f3b0000-0000-0000-0000-000000000001""#),
    ("oid", r#""33330000-0000-0000-0000-00000000000a""#),
    ("azp", r#""44440000-0000-0000-0000-00000000000a""#),
];

const HEADER: &str = r#"{"alg":"RS256","kid":"rsa"}"#;

/// A user's token.
const USER: &[(&str, &str)] = &[("scp", r#""read write""#)];
/// A user's token with a role and groups.
const USER_PLUS: &[(&str, &str)] = &[
    ("scp", r#""read write""#),
    ("roles", r#"["Flow.Run"]"#),
    (
        "groups",
        r#"["66660000-0000-0000-0000-00000000000a","66660000-0000-0000-0000-00000000000b"]"#,
    ),
];
/// An application's token, as any application of the tenant can have one.
const APP: &[(&str, &str)] = &[];
/// An application's token that says so.
const APP_TYPED: &[(&str, &str)] = &[("idtyp", r#""app""#)];
/// An application's token with a role.
const APP_ROLE: &[(&str, &str)] = &[("roles", r#"["Flow.Run"]"#)];
/// A user in more groups than a token holds.
const OVERAGE: &[(&str, &str)] = &[
    ("scp", r#""read""#),
    ("_claim_names", r#"{"groups":"src1"}"#),
    (
        "_claim_sources",
        r#"{"src1":{"endpoint":"http://169.254.169.254/groups"}}"#,
    ),
];
/// The same in the older way.
const HASGROUPS: &[(&str, &str)] = &[("scp", r#""read""#), ("hasgroups", "true")];

type Token = &'static [(&'static str, &'static str)];

fn list(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn any(mut settings: EntraSettings) -> EntraSettings {
    settings.require = Require::Any;
    settings
}

fn settings(change: impl FnOnce(&mut EntraSettings)) -> EntraSettings {
    let mut settings = entra_settings();
    change(&mut settings);
    settings
}

/// Checks tokens one by one against one caller: `0` is admitted.
async fn cases(settings: EntraSettings, cases: &[(Token, &str)]) {
    let world = World::new();
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("one", Proof::Entra(settings))])
        .await;
    for (token, expected) in cases {
        let signed = RSA.token("RS256", HEADER, &changed(COMMON, token));
        // Twice: the second time from memory, which must say the same.
        for _ in 0..2 {
            let outcome = word(&bearer(&callers, &signed).await);
            assert_eq!(outcome, *expected, "{token:?}");
        }
    }
    let elsewhere = |address: &str| !address.starts_with(AUTHORITY);
    assert!(
        !world
            .net
            .asked()
            .iter()
            .any(|(address, _)| elsewhere(address))
    );
}

#[tokio::test]
async fn no_filter_admits_users_only() {
    let refused = "no_caller_matches";
    cases(
        entra_settings(),
        &[
            (USER, "0"),
            (USER_PLUS, "0"),
            (APP, refused),
            (APP_TYPED, refused),
            (APP_ROLE, refused),
        ],
    )
    .await;
}

#[tokio::test]
async fn apps_admits_every_application_of_the_tenant_too() {
    cases(
        settings(|all| all.apps = true),
        &[(USER, "0"), (APP, "0"), (APP_TYPED, "0"), (APP_ROLE, "0")],
    )
    .await;
}

#[tokio::test]
async fn client_ids_alone_match_application_tokens_only() {
    let mine = || list(&["44440000-0000-0000-0000-00000000000A", "7"]);
    let refused = "no_caller_matches";
    for require_any in [false, true] {
        for apps in [false, true] {
            let one = settings(|one| {
                one.client_ids = mine();
                one.apps = apps;
            });
            let one = if require_any { any(one) } else { one };
            cases(
                one,
                &[
                    (APP, "0"),
                    (APP_TYPED, "0"),
                    (USER, refused),
                    (USER_PLUS, refused),
                ],
            )
            .await;
        }
    }
    let other = settings(|one| one.client_ids = list(&["44440000-0000-0000-0000-00000000000b"]));
    cases(other, &[(APP, refused), (USER, refused)]).await;
}

#[tokio::test]
async fn client_ids_beside_other_filters_narrow_them() {
    let both = settings(|one| {
        one.client_ids = list(&["44440000-0000-0000-0000-00000000000a"]);
        one.roles = list(&["Flow.Run"]);
    });
    let refused = "no_caller_matches";
    cases(
        both,
        &[
            (APP_ROLE, "0"),
            (USER_PLUS, "0"),
            (APP, refused),
            (USER, refused),
        ],
    )
    .await;
    let elsewhere = settings(|one| {
        one.client_ids = list(&["44440000-0000-0000-0000-00000000000b"]);
        one.roles = list(&["Flow.Run"]);
    });
    cases(elsewhere, &[(APP_ROLE, refused), (USER_PLUS, refused)]).await;
}

#[tokio::test]
async fn object_ids_admit_users_and_service_principals_whatever_their_case() {
    let refused = "no_caller_matches";
    let mine = settings(|one| one.object_ids = list(&["33330000-0000-0000-0000-00000000000A"]));
    cases(mine, &[(USER, "0"), (APP, "0"), (&[("oid", "")], refused)]).await;
    let other = settings(|one| one.object_ids = list(&["33330000-0000-0000-0000-00000000000b"]));
    cases(other, &[(USER, refused), (APP, refused)]).await;
}

#[tokio::test]
async fn roles_and_scopes_are_compared_exactly() {
    let refused = "no_caller_matches";
    let roles = settings(|one| one.roles = list(&["Flow.Read", "Flow.Run"]));
    cases(
        roles,
        &[
            (APP_ROLE, "0"),
            (USER_PLUS, "0"),
            (APP, refused),
            (&[("roles", r#"["flow.run"]"#)], refused),
        ],
    )
    .await;
    let scopes = settings(|one| one.scopes = list(&["write"]));
    cases(
        scopes,
        &[
            (USER, "0"),
            (APP, refused),
            (&[("scp", r#""read""#)], refused),
            (&[("scp", r#""Write""#)], refused),
            (&[("scp", r#""write.all""#)], refused),
            (&[("scp", r#""  write  ""#)], "0"),
        ],
    )
    .await;
    let phrase = settings(|one| one.scopes = list(&["read write"]));
    cases(phrase, &[(USER, refused)]).await;
}

#[tokio::test]
async fn group_overage_is_refused_as_such_and_never_fetched() {
    let refused = "no_caller_matches";
    let group = settings(|one| one.groups = list(&["66660000-0000-0000-0000-00000000000B"]));
    let both: Token = &[
        ("scp", r#""read""#),
        ("groups", r#"["66660000-0000-0000-0000-00000000000b"]"#),
        ("hasgroups", "true"),
    ];
    cases(
        group.clone(),
        &[
            (USER_PLUS, "0"),
            (USER, refused),
            (OVERAGE, "groups_overage"),
            (HASGROUPS, "groups_overage"),
            (both, "groups_overage"),
            (&[("scp", r#""read""#), ("hasgroups", "false")], refused),
            (&[("scp", r#""read""#), ("_claim_names", "{}")], refused),
        ],
    )
    .await;
    // What another filter decides needs no groups.
    let mut or_scope = any(group.clone());
    or_scope.scopes = list(&["read"]);
    cases(or_scope, &[(OVERAGE, "0"), (USER_PLUS, "0")]).await;
    let mut or_write = any(group.clone());
    or_write.scopes = list(&["write"]);
    cases(or_write, &[(OVERAGE, "groups_overage")]).await;
    let mut and_write = group;
    and_write.scopes = list(&["write"]);
    cases(and_write, &[(OVERAGE, refused), (USER_PLUS, "0")]).await;
}

#[tokio::test]
async fn every_filter_given_has_to_match_unless_any_one_is_enough() {
    let refused = "no_caller_matches";
    let both = settings(|one| {
        one.object_ids = list(&["33330000-0000-0000-0000-00000000000a"]);
        one.roles = list(&["Flow.Run"]);
    });
    cases(
        both.clone(),
        &[(USER_PLUS, "0"), (APP_ROLE, "0"), (USER, refused)],
    )
    .await;
    let strangers: Token = &[("oid", r#""33330000-0000-0000-0000-00000000000b""#)];
    cases(
        any(both),
        &[
            (USER, "0"),
            (APP, "0"),
            (APP_ROLE, "0"),
            (strangers, refused),
        ],
    )
    .await;
    // A client id as one of several alternatives still admits the application alone.
    let either = any(settings(|one| {
        one.client_ids = list(&["44440000-0000-0000-0000-00000000000a"]);
        one.roles = list(&["Flow.Other"]);
    }));
    cases(either, &[(APP, "0"), (USER, refused), (USER_PLUS, refused)]).await;
}

#[tokio::test]
async fn another_tenant_never_passes() {
    let world = World::new();
    let partner = "9f3b0000-0000-0000-0000-000000000002";
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    world.entra(AUTHORITY, partner, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let mut theirs = entra_settings();
    theirs.tenant = partner.into();
    let ours = caller("ours", Proof::Entra(entra_settings()));
    let theirs = caller("theirs", Proof::Entra(theirs));
    let issuer = format!(r#""https://login.example/{partner}/v2.0""#);
    let tid = format!(r#""{partner}""#);
    let scope = ("scp", r#""read""#);
    let token = |changes: &[(&str, &str)]| RSA.token("RS256", HEADER, &changed(COMMON, changes));
    let foreign = token(&[scope, ("iss", &issuer), ("tid", &tid)]);
    let mixed = [
        token(&[scope, ("iss", &issuer)]),
        token(&[scope, ("tid", &tid)]),
        token(&[scope, ("tid", r#""common""#)]),
        token(&[scope, ("tid", "")]),
    ];
    let alone = world.callers(std::slice::from_ref(&ours)).await;
    assert_eq!(word(&bearer(&alone, &foreign).await), "issuer");
    let both = world.callers(&[ours, theirs]).await;
    let outcome = bearer(&both, &foreign).await;
    assert_eq!(word(&outcome), "1");
    assert_eq!(outcome.unwrap().tenant.as_deref(), Some(partner));
    for token in mixed {
        assert_eq!(word(&bearer(&both, &token).await), "issuer");
    }
}

#[tokio::test]
async fn every_caller_whose_conditions_hold_matches_and_the_identity_is_the_tokens() {
    let world = World::new();
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let callers = [
        settings(|one| one.scopes = list(&["write"])),
        settings(|one| one.scopes = list(&["delete"])),
        settings(|_| {}),
        settings(|one| one.audience = list(&["api://other"])),
        settings(|one| one.groups = list(&["66660000-0000-0000-0000-00000000000a"])),
    ];
    let callers = callers.map(|one| caller("one", Proof::Entra(one)));
    let callers = world.callers(&callers).await;
    let token = RSA.token("RS256", HEADER, &changed(COMMON, USER_PLUS));
    let outcome = bearer(&callers, &token).await;
    assert_eq!(word(&outcome), "0+2+4");
    let identity = outcome.unwrap();
    assert_eq!(identity.method.word(), "entra");
    assert_eq!(
        identity.subject.as_deref(),
        Some("33330000-0000-0000-0000-00000000000a")
    );
    assert_eq!(
        identity.client_id.as_deref(),
        Some("44440000-0000-0000-0000-00000000000a")
    );
    assert_eq!(identity.tenant.as_deref(), Some(TENANT));
}
