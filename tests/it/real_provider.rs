//! An OpenID provider that nobody here wrote, as the issuer of callers' tokens and as the token endpoint of credentials.

use std::fmt::Write as _;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use serde_json::Value;
use simulator::Simulator;

use crate::house::{Answer, House};
use crate::provider::{ES256, OTHER_AUDIENCE, PS256, Provider, RS256};

const CALLERS: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}" }
  flow: { credential: flows }
callers:
  partner:
    jwt: { issuer: "${ISSUER}", audience: flowgate }
credentials:
  flows:
    client_secret: { authority: "${AUTHORITY}", client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }
flows:
  order-created:
    url: { env: ORDER_CREATED_URL }
    who_can_trigger: [partner]
"#;

/// One provider for the tests that do not count what it was asked: it takes its time to start. It ends with this process.
fn shared() -> Option<&'static Provider> {
    static SHARED: OnceLock<Option<Provider>> = OnceLock::new();
    SHARED.get_or_init(Provider::start).as_ref()
}

async fn call(house: &House, token: &str) -> Answer {
    let request =
        Request::post("/order-created").header("authorization", format!("Bearer {token}"));
    house.send(request.body("{}").unwrap()).await
}

async fn house(provider: &Provider, yaml: &str) -> House {
    let simulator = House::simulator().await;
    House::around(simulator, yaml, &[("ISSUER", provider.issuer())]).await
}

#[tokio::test]
async fn its_access_tokens_of_every_algorithm_admit_their_caller() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let house = house(&provider, CALLERS).await;
    for resource in [RS256, ES256, PS256] {
        let token = provider.caller_token(resource).await;
        for _ in 0..2 {
            let answer = call(&house, &token).await;
            assert_eq!(answer.status, StatusCode::OK, "{resource} {answer:?}");
        }
        let received = house.simulator.received();
        let seen = received.last().unwrap();
        assert_eq!(seen.header("flowgate-caller"), Some("partner"));
        assert_eq!(seen.header("flowgate-method"), Some("jwt"));
        assert_eq!(seen.header("flowgate-client-id"), Some("plain-basic"));
        assert_eq!(seen.header("flowgate-tenant"), None);
    }
    assert_eq!(provider.count("/.well-known/openid-configuration").await, 1);
    assert_eq!(
        provider.count("/jwks").await,
        1,
        "one key set serves every token"
    );
}

#[tokio::test]
async fn its_tokens_for_others_and_damaged_ones_admit_nobody() {
    let Some(provider) = shared() else {
        return;
    };
    let house = house(provider, CALLERS).await;
    let token = provider.caller_token(RS256).await;
    let mut parts = token.split('.');
    let (header, payload, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let other = provider.caller_token(ES256).await;
    let others = other.rsplit('.').next().unwrap();
    let mut claims = claims(&token);
    claims["client_id"] = "somebody".into();
    let forged = URL_SAFE_NO_PAD.encode(claims.to_string());
    for bad in [
        provider.caller_token(OTHER_AUDIENCE).await,
        format!("{header}.{payload}.{others}"),
        format!("{header}.{forged}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
    ] {
        assert_eq!(call(&house, &bad).await.code(), "unauthenticated");
    }
    assert_eq!(house.simulator.received().len(), 0);
    assert_eq!(call(&house, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn algorithms_claims_and_a_key_set_of_ones_own_narrow_it() {
    let Some(provider) = shared() else {
        return;
    };
    for (options, resource, admitted) in [
        ("algorithms: [ES256]", ES256, true),
        ("algorithms: [ES256]", RS256, false),
        ("algorithms: [PS256]", RS256, false),
        ("algorithms: [RS256]", PS256, false),
        ("claims: { scope: [call] }", RS256, true),
        ("claims: { scope: [read, write] }", RS256, false),
        ("claims: { department: [finance] }", RS256, false),
        ("jwks_url: \"${JWKS}\"", RS256, true),
    ] {
        let yaml = CALLERS.replace(
            "audience: flowgate",
            &format!("audience: flowgate, {options}"),
        );
        let more = [("ISSUER", provider.issuer()), ("JWKS", provider.jwks_url())];
        let house = House::around(House::simulator().await, &yaml, &more).await;
        let answer = call(&house, &provider.caller_token(resource).await).await;
        assert_eq!(
            answer.status.is_success(),
            admitted,
            "{options} {resource} {answer:?}"
        );
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// One flow and one credential for each of the provider's clients, named by number.
fn credentials(provider: &Provider) -> (String, Vec<(String, String)>) {
    let mut yaml = "server: { listen: \"127.0.0.1:8080\" }\ncallers:\n  erp: { api_key: { plain: { env: ERP_KEY } } }\ncredentials:\n".to_owned();
    let mut flows = "flows:\n".to_owned();
    let mut secrets = Vec::new();
    for (number, client) in provider.clients().iter().enumerate() {
        let auth = client.auth.trim_start_matches("client_secret_");
        let (url, id) = (provider.token_url(), &client.id);
        let settings = format!(
            "{{ token_url: \"{url}\", client_auth: {auth}, client_id: '{id}', secret: {{ env: S{number} }}, scope: call }}"
        );
        let _ = writeln!(yaml, "  c{number}: {{ client_secret: {settings} }}");
        let _ = writeln!(
            flows,
            "  f{number}: {{ url: \"${{AUTHORITY}}/elsewhere/{number}\", who_can_trigger: [erp], credential: c{number} }}"
        );
        secrets.push((format!("S{number}"), client.secret.clone()));
    }
    (yaml + &flows, secrets)
}

async fn with_credentials(simulator: Simulator, yaml: &str, secrets: &[(String, String)]) -> House {
    let secrets: Vec<(&str, &str)> = secrets
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    House::around(simulator, yaml, &secrets).await
}

async fn fire(house: &House, number: usize) -> Answer {
    let request = Request::post(format!("/f{number}")).header("x-api-key", crate::house::KEY);
    house.send(request.body("{}").unwrap()).await
}

#[tokio::test]
async fn it_gives_tokens_to_credentials_whatever_is_in_id_and_secret() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let (yaml, secrets) = credentials(&provider);
    let house = with_credentials(House::simulator().await, &yaml, &secrets).await;
    for (number, client) in provider.clients().iter().enumerate() {
        for _ in 0..2 {
            // The simulator knows no such path and says so; what counts is what it got.
            assert_eq!(fire(&house, number).await.status, StatusCode::NOT_FOUND);
        }
        let received = house.simulator.received();
        let seen = received.last().unwrap();
        assert_eq!(seen.target, format!("/elsewhere/{number}"));
        let token = seen
            .header("authorization")
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap();
        let claims = claims(token);
        assert_eq!(claims["iss"], provider.issuer());
        assert_eq!(claims["client_id"], client.id, "{}", client.auth);
        assert_eq!(claims["aud"], "flowgate");
        assert_eq!(claims["scope"], "call");
    }
    let asked = provider.count("/token").await;
    assert_eq!(asked, provider.clients().len() as u64, "one token each");
}

#[tokio::test]
async fn a_wrong_secret_is_a_rejected_credential() {
    let Some(provider) = shared() else {
        return;
    };
    let (yaml, mut secrets) = credentials(provider);
    for (_, secret) in &mut secrets {
        secret.push('x');
    }
    let house = with_credentials(House::simulator().await, &yaml, &secrets).await;
    for number in 0..provider.clients().len() {
        let answer = fire(&house, number).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (502, "credential_rejected"),
            "{number}"
        );
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn it_gives_a_token_of_the_scope_for_the_resource_that_a_credential_names_beside_it() {
    let Some(provider) = shared() else {
        return;
    };
    let (yaml, secrets) = credentials(provider);
    let yaml = yaml.replace(
        "scope: call }",
        &format!("scope: read, resource: \"{ES256}\" }}"),
    );
    let house = with_credentials(House::simulator().await, &yaml, &secrets).await;
    assert_eq!(fire(&house, 0).await.status, StatusCode::NOT_FOUND);
    let received = house.simulator.received();
    let seen = received.last().unwrap().header("authorization");
    let token = seen.unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(claims(token)["scope"], "read");
    let header = token.split('.').next().unwrap();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "ES256");
}
