//! Callers' tokens over real sockets: the simulator's Entra ID, and an OpenID provider nobody here wrote.

use std::time::Duration;

use flowgate::clock::Clock;
use http::{Request, StatusCode};
use simulator::TokenSpec;
use simulator::directory::{API_APP, CALLER_OBJECT, DEMO_TENANT, PARTNER_TENANT};
use simulator::token::Signer;

use crate::house::{Answer, BASE, House};
use crate::provider::{self, Provider};

async fn call(house: &House, flow: &str, token: &str) -> Answer {
    let request = Request::post(flow)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    house.send(request.body("{}").unwrap()).await
}

/// A caller of `issuer`, beside the base configuration.
fn with_openid(issuer: &str, jwks: &str) -> String {
    let partner =
        format!("  partner:\n    jwt: {{ issuer: \"{issuer}\", audience: flowgate{jwks} }}\n");
    BASE.replace("credentials:\n", &format!("{partner}credentials:\n"))
        .replace(
            "who_can_trigger: [erp, billing]",
            "who_can_trigger: [partner]",
        )
}

#[tokio::test]
async fn tokens_of_a_real_openid_provider_admit_its_caller_and_no_other() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let jwks = format!(", jwks_url: \"{}\"", provider.jwks_url());
    for (jwks, fetches) in [("", 1), (jwks.as_str(), 2)] {
        let house = House::open(&with_openid(provider.issuer(), jwks)).await;
        for resource in [provider::RS256, provider::ES256, provider::PS256] {
            let token = provider.caller_token(resource).await;
            // Twice: verified, then remembered.
            for _ in 0..2 {
                let answer = call(&house, "/order-created", &token).await;
                assert_eq!(answer.status, StatusCode::OK, "{resource} {answer:?}");
            }
            let received = house.simulator.received();
            let seen = received.last().unwrap();
            assert_eq!(seen.header("flowgate-caller"), Some("partner"));
            assert_eq!(seen.header("flowgate-client-id"), Some("plain-basic"));
        }
        let runs = house.simulator.runs("order-created");
        let token = provider.caller_token(provider::OTHER_AUDIENCE).await;
        let answer = call(&house, "/order-created", &token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(house.simulator.runs("order-created"), runs);
        assert_eq!(
            provider.count("/jwks").await,
            fetches,
            "one fetch for all of them"
        );
    }
}

#[tokio::test]
async fn entra_tokens_of_both_versions_admit_whom_the_filters_say() {
    let house = House::standard().await;
    for (flow, token, status) in [
        ("/order-created", TokenSpec::app().v2(), StatusCode::OK),
        ("/order-created", TokenSpec::app().v1(), StatusCode::OK),
        ("/report", TokenSpec::user().v2(), StatusCode::OK),
        ("/report", TokenSpec::user().v1(), StatusCode::OK),
        // Known callers, wrong flow.
        ("/report", TokenSpec::app(), StatusCode::FORBIDDEN),
        ("/order-created", TokenSpec::user(), StatusCode::FORBIDDEN),
        // Nobody.
        (
            "/order-created",
            TokenSpec::app().client("other"),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().tenant(PARTNER_TENANT),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().audience("https://graph.microsoft.com"),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().lifetime(-600),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().signed_by(Signer::Foreign),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().signed_by(Signer::Pss),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().signed_by(Signer::PublicKeyAsSecret),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/order-created",
            TokenSpec::app().signed_by(Signer::Nobody),
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let claims = house.simulator.claims(&token);
        let answer = call(&house, flow, &house.simulator.issue(&token)).await;
        assert_eq!(answer.status, status, "{flow} {claims} {answer:?}");
    }
    assert_eq!(
        house.simulator.key_set_requests(),
        2,
        "v1 and v2, once each"
    );
}

#[tokio::test]
async fn a_key_rollover_is_followed_without_a_failed_call() {
    let simulator = House::simulator().await;
    let clock = Clock::manual(now());
    let house = House::at(simulator, BASE, &[], clock.clone()).await;
    let old = house.token(|spec| spec.object(CALLER_OBJECT));
    assert_eq!(
        call(&house, "/order-created", &old).await.status,
        StatusCode::OK
    );
    clock.advance(Duration::from_secs(31));
    house.simulator.rotate_keys();
    let new = house.token(|spec| spec);
    assert_eq!(
        call(&house, "/order-created", &new).await.status,
        StatusCode::OK
    );
    assert_eq!(
        call(&house, "/order-created", &old).await.status,
        StatusCode::OK
    );
    // Withdrawn: what it signed and what was remembered of it end with the next refresh.
    house.simulator.retire_old_keys();
    clock.advance(Duration::from_secs(31));
    let unknown = house.token(|spec| spec.header("kid", "unknown"));
    assert_eq!(
        call(&house, "/order-created", &unknown).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        call(&house, "/order-created", &old).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        call(&house, "/order-created", &new).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn rule_03_two_authorities_that_share_a_tenant_share_no_keys() {
    let (ours, theirs) = (House::simulator().await, House::simulator().await);
    let yaml = BASE
        .replace(
            "  billing:\n    entra: { authority: \"${AUTHORITY}\"",
            "  billing:\n    entra: { authority: \"${THEIRS}\"",
        )
        .replace("who_can_trigger: [staff]", "who_can_trigger: [erp]")
        .replace(
            "audience: [\"api://${API}\", \"${API}\"] }",
            "audience: [\"api://${API}\", \"${API}\"], apps: true }",
        );
    let house = House::around(ours, &yaml, &[("THEIRS", &theirs.origin())]).await;
    for _ in 0..2 {
        // Ours are `staff`, who may not; theirs are `billing`, who may. The v1 issuer is the same.
        let spec = TokenSpec::app()
            .v1()
            .tenant(DEMO_TENANT)
            .audience(&format!("api://{API_APP}"));
        let mine = call(&house, "/order-created", &house.simulator.issue(&spec)).await;
        assert_eq!(mine.status, StatusCode::FORBIDDEN, "{mine:?}");
        let other = call(&house, "/order-created", &theirs.issue(&spec)).await;
        assert_eq!(other.status, StatusCode::OK, "{other:?}");
    }
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}
