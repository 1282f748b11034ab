//! Against the simulated Entra ID: the reasons the grant fails for are distinguished.

use super::*;
use crate::diagnosis::entra;
use simulator::directory::{DEMO_TENANT, DEMO_USER, DEMO_USER_NAME, GATEWAY_APP, PUBLIC_APP};
use simulator::{Options, Simulator, UserState};

async fn simulator() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

fn demo(simulator: &Simulator, v2: bool) -> PasswordSettings {
    PasswordSettings {
        application: Application {
            token_url: simulator.token_url(DEMO_TENANT, v2).parse().unwrap(),
            client_id: GATEWAY_APP.into(),
            proof: secret(&simulator.client_secret(GATEWAY_APP), ClientAuth::Post),
            parameters: BTreeMap::new(),
            entra: true,
            cae: false,
        },
        username: DEMO_USER_NAME.into(),
        password: value(&simulator.password(DEMO_TENANT, DEMO_USER)),
    }
}

#[tokio::test]
async fn a_user_token_comes_from_v1_and_v2_for_confidential_and_public_clients() {
    let simulator = simulator().await;
    let v2 = demo(&simulator, true);
    let mut public = v2.clone();
    public.application.client_id = PUBLIC_APP.into();
    public.application.proof = Proof::Nothing;
    let resource = Ask::Resource("https://graph.microsoft.com".into());
    let one = Ask::Scope("https://graph.microsoft.com/Tasks.ReadWrite".into());
    for (settings, ask) in [
        (&v2, &graph()),
        (&v2, &one),
        (&demo(&simulator, false), &resource),
        (&public, &graph()),
    ] {
        let grant = fetched(settings, ask).await;
        let grant = grant.unwrap_or_else(|error| panic!("{ask:?}: {error:?}"));
        let claims = grant.claims.unwrap();
        assert_eq!(claims["oid"], DEMO_USER);
        assert!(claims.contains_key("scp"), "{claims:?}");
    }
}

#[tokio::test]
async fn each_reason_of_a_refusal_has_its_own_number_meaning_and_fix() {
    let simulator = simulator().await;
    let mut meanings = Vec::new();
    for (state, code) in [
        (UserState::MfaRequired, 50_076),
        (UserState::MustEnrol, 50_079),
        (UserState::Federated, 50_126),
        (UserState::Guest, 50_020),
        (UserState::ConditionalAccess, 53_003),
        (UserState::PasswordExpired, 50_055),
        (UserState::Locked, 50_053),
        (UserState::Disabled, 50_057),
        (UserState::ConsentRequired, 65_001),
    ] {
        simulator.set_user(DEMO_TENANT, DEMO_USER, |user| user.state = state);
        let error = fetched(&demo(&simulator, true), &graph())
            .await
            .err()
            .unwrap();
        assert_eq!(error.failure.codes(), [code]);
        let known = entra::find(code).unwrap();
        assert!(!known.fix.is_empty());
        meanings.push(known.meaning);
    }
    let active = |user: &mut simulator::User| user.state = UserState::Active;
    simulator.set_user(DEMO_TENANT, DEMO_USER, active);
    let mut wrong = demo(&simulator, true);
    wrong.password = value("wrong");
    let error = fetched(&wrong, &graph()).await.err().unwrap();
    assert_eq!(error.failure.codes(), [50_126]);
    meanings.sort_unstable();
    meanings.dedup();
    assert!(meanings.len() >= 8, "{meanings:#?}");
}

#[tokio::test]
async fn a_missing_and_a_wrong_secret_are_the_applications_fault() {
    let simulator = simulator().await;
    let mut settings = demo(&simulator, true);
    settings.application.proof = Proof::Nothing;
    let error = fetched(&settings, &graph()).await.err().unwrap();
    assert_eq!(error.failure.codes(), [7_000_218]);
    settings.application.proof = secret("wrong", ClientAuth::Post);
    let error = fetched(&settings, &graph()).await.err().unwrap();
    assert_eq!(error.failure.codes(), [7_000_215]);
    assert_eq!(error.retry_after, None);
}
