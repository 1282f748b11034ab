//! Managed identities on their three endpoints, and Key Vault.

use super::token_endpoint::claims;
use super::*;
use crate::directory::{MACHINE_IDENTITY, USER_IDENTITY};
use crate::vault::{Access, SecretVersion};

const VAULT: &str = "api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
const METADATA: (&str, &str) = ("metadata", "true");

async fn ask(url: &str, query: &str, headers: &[(&str, &str)]) -> Got {
    send(request("GET", &format!("{url}?{query}"), headers, ""))
        .await
        .unwrap()
}

async fn vault_token(simulator: &Simulator) -> String {
    let got = ask(&simulator.imds_url(), VAULT, &[METADATA]).await;
    bearer(got.json()["access_token"].as_str().unwrap())
}

async fn read(simulator: &Simulator, path: &str, token: Option<&str>) -> Got {
    let headers: Vec<_> = token
        .iter()
        .map(|token| ("authorization", *token))
        .collect();
    let url = format!("{}/secrets/{path}", simulator.vault_url());
    ask(&url, "api-version=7.6", &headers).await
}

#[tokio::test]
async fn imds_answers_strings_only_and_a_token_of_the_machines_own_identity() {
    let simulator = simulator().await;
    let answer = ask(&simulator.imds_url(), VAULT, &[METADATA]).await.json();
    assert!(
        answer.as_object().unwrap().values().all(Value::is_string),
        "{answer}"
    );
    assert_eq!(
        (&answer["expires_in"], &answer["refresh_token"]),
        (&"86400".into(), &"".into())
    );
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(token["appid"], MACHINE_IDENTITY);
    assert_eq!(token["aud"], "https://vault.azure.net");
    assert_eq!(simulator.requests_to(Service::Imds).len(), 1);
    assert!(simulator.received().is_empty());
}

#[tokio::test]
async fn a_user_assigned_identity_is_found_by_each_of_its_names() {
    let simulator = simulator().await;
    let known = simulator.identities().pop().unwrap();
    let id = url::form_urlencoded::byte_serialize(known.resource_id.as_deref().unwrap().as_bytes())
        .collect::<String>();
    let header = simulator.identity_header();
    for name in [
        format!("client_id={USER_IDENTITY}"),
        format!("object_id={}", known.object_id),
        format!("msi_res_id={id}"),
    ] {
        let imds = ask(
            &simulator.imds_url(),
            &format!("{VAULT}&{name}"),
            &[METADATA],
        )
        .await;
        assert_eq!(imds.json()["client_id"], USER_IDENTITY);
        let name = name.replace("msi_res_id", "mi_res_id");
        let service = ask(
            &simulator.app_service_url(),
            &format!("{VAULT}&{name}"),
            &[("x-identity-header", &header)],
        )
        .await;
        assert_eq!(service.json()["client_id"], USER_IDENTITY);
        assert!(service.json()["expires_on"].is_string());
    }
}

#[tokio::test]
async fn imds_says_what_is_missing() {
    let simulator = simulator().await;
    let url = simulator.imds_url();
    let forwarded = [METADATA, ("x-forwarded-for", "10.0.0.1")];
    for (query, headers, error) in [
        (VAULT, &[][..], "bad_request_102"),
        (VAULT, &forwarded[..], "bad_request"),
        ("api-version=2018-02-01", &[METADATA][..], "invalid_request"),
        (
            "api-version=2018-02-01&resource=https://nowhere.example",
            &[METADATA],
            "invalid_resource",
        ),
        (
            &format!("{VAULT}&client_id=nobody"),
            &[METADATA],
            "invalid_request",
        ),
    ] {
        let got = ask(&url, query, headers).await;
        assert_eq!(
            (got.status.as_u16(), got.json()["error"].as_str()),
            (400, Some(error))
        );
    }
    simulator.set_identities(Vec::new());
    let got = ask(&url, VAULT, &[METADATA]).await;
    assert_eq!(got.json()["error_description"], "Identity not found");
    let gone = Fault::Status {
        status: 410,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    simulator.fault(FaultPoint::At(Service::Imds), gone, Times::Once);
    assert_eq!(ask(&url, VAULT, &[METADATA]).await.status, 410);
}

#[tokio::test]
async fn app_service_wants_its_header() {
    let simulator = simulator().await;
    for headers in [&[][..], &[("x-identity-header", "wrong")], &[METADATA]] {
        assert_eq!(
            ask(&simulator.app_service_url(), VAULT, headers)
                .await
                .status,
            401
        );
    }
}

#[tokio::test]
async fn arc_gives_a_token_for_the_content_of_the_file_it_names() {
    let simulator = simulator().await;
    let directory = tempfile::tempdir().unwrap();
    simulator.arc_directory(directory.path());
    let query = "api-version=2020-06-01&resource=https://graph.microsoft.com";
    let got = ask(&simulator.arc_url(), query, &[METADATA]).await;
    assert_eq!(got.status, 401);
    let file = got
        .header("www-authenticate")
        .unwrap()
        .strip_prefix("Basic realm=")
        .unwrap();
    let content = std::fs::read_to_string(file).unwrap();
    let proof = format!("Basic {content}");
    let proved = [METADATA, ("authorization", proof.as_str())];
    let got = ask(&simulator.arc_url(), query, &proved).await;
    assert_eq!(got.json()["client_id"], MACHINE_IDENTITY);
    assert_eq!(ask(&simulator.arc_url(), query, &proved).await.status, 401);
    simulator.arc_announces(Some("/etc/passwd"));
    let got = ask(&simulator.arc_url(), query, &[METADATA]).await;
    assert_eq!(
        got.header("www-authenticate"),
        Some("Basic realm=/etc/passwd")
    );
}

#[tokio::test]
async fn a_vault_challenges_and_then_gives_the_latest_version_or_the_one_named() {
    let simulator = simulator().await;
    let version = SecretVersion::new("one");
    let first = version.id.clone();
    simulator.put_secret("flows", version);
    let mut second = SecretVersion::new("two");
    second.expires = Some(4_000_000_000);
    simulator.put_secret("flows", second);
    let got = read(&simulator, "flows", None).await;
    assert_eq!(got.refusal(), (401, "Unauthorized".into()));
    assert!(got.message().starts_with("AKV10000"));
    let challenge = got.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer authorization=\"http://127.0.0.1"),
        "{challenge}"
    );
    assert!(challenge.ends_with("resource=\"https://vault.azure.net\""));

    let token = vault_token(&simulator).await;
    let latest = read(&simulator, "flows", Some(&token)).await.json();
    assert_eq!(
        (&latest["value"], &latest["attributes"]["exp"]),
        (&"two".into(), &4_000_000_000_u64.into())
    );
    assert_eq!(latest["attributes"].get("nbf"), None);
    let got = read(&simulator, &format!("flows/{first}"), Some(&token))
        .await
        .json();
    assert_eq!(got["value"], "one");
    assert!(
        got["id"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/secrets/flows/{first}"))
    );
    assert_eq!(simulator.requests_to(Service::KeyVault).len(), 3);
}

#[tokio::test]
async fn a_vault_refuses_each_for_its_reason() {
    let simulator = simulator().await;
    simulator.put_secret("flows", SecretVersion::new("one"));
    let token = vault_token(&simulator).await;
    let inner = |got: &Got| {
        got.json()["error"]["innererror"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };

    let other = bearer(&flow_token(&simulator, true).await);
    assert!(
        read(&simulator, "flows", Some(&other))
            .await
            .message()
            .starts_with("AKV10022")
    );
    let expired = bearer(&simulator.issue(&TokenSpec::app().lifetime(-1000)));
    assert!(
        read(&simulator, "flows", Some(&expired))
            .await
            .message()
            .starts_with("[TokenExpired]")
    );
    let url = format!("{}/secrets/flows", simulator.vault_url());
    assert_eq!(
        ask(&url, "", &[("authorization", &token)]).await.status,
        400
    );
    assert_eq!(
        read(&simulator, "absent", Some(&token)).await.refusal(),
        (404, "SecretNotFound".into())
    );
    assert_eq!(read(&simulator, "flows/0", Some(&token)).await.status, 404);

    for (access, reason) in [
        (Access::Rbac(Vec::new()), "ForbiddenByRbac"),
        (Access::Policy(vec!["somebody".into()]), "ForbiddenByPolicy"),
        (Access::Firewall, "ForbiddenByFirewall"),
    ] {
        simulator.vault_access(access);
        let got = read(&simulator, "flows", Some(&token)).await;
        assert_eq!((got.status.as_u16(), inner(&got).as_str()), (403, reason));
    }
    let machine = simulator.identities()[0].object_id.clone();
    simulator.vault_access(Access::Rbac(vec![machine]));
    assert_eq!(read(&simulator, "flows", Some(&token)).await.status, 200);
    simulator.set_secret("flows", |secret| {
        secret.versions[0].enabled = false;
    });
    assert_eq!(
        inner(&read(&simulator, "flows", Some(&token)).await),
        "SecretDisabled"
    );
    simulator.set_secret("flows", |secret| {
        secret.deleted = true;
    });
    assert_eq!(read(&simulator, "flows", Some(&token)).await.status, 404);
    simulator.fault(
        FaultPoint::At(Service::KeyVault),
        Fault::vault_throttled(),
        Times::Once,
    );
    assert_eq!(
        read(&simulator, "flows", Some(&token)).await.refusal(),
        (429, "Throttled".into())
    );
}

#[tokio::test]
async fn a_certificate_is_a_secret_of_its_name() {
    let simulator = simulator().await;
    let token = vault_token(&simulator).await;
    simulator.put_secret("p12", SecretVersion::pkcs12(b"\x30\x00"));
    simulator.put_secret("pem", SecretVersion::pem("-----BEGIN PRIVATE KEY-----"));
    let p12 = read(&simulator, "p12", Some(&token)).await.json();
    assert_eq!(
        (&p12["contentType"], &p12["value"]),
        (&"application/x-pkcs12".into(), &"MAA=".into())
    );
    assert_eq!(p12["managed"], true);
    let pem = read(&simulator, "pem", Some(&token)).await.json();
    assert_eq!(pem["contentType"], "application/x-pem-file");
}

async fn set(simulator: &Simulator, path: &str, token: Option<&str>, body: &str) -> Got {
    let headers: Vec<_> = token
        .iter()
        .map(|token| ("authorization", *token))
        .collect();
    let url = format!("{}/secrets/{path}?api-version=7.6", simulator.vault_url());
    send(request("PUT", &url, &headers, body)).await.unwrap()
}

#[tokio::test]
async fn a_vault_takes_a_new_version_from_whoever_may_write() {
    let simulator = simulator().await;
    let token = vault_token(&simulator).await;
    let body = r#"{"value":"one","contentType":"text","attributes":{"exp":4000000000}}"#;
    let got = set(&simulator, "new", None, body).await;
    assert_eq!(got.refusal(), (401, "Unauthorized".into()));
    assert!(simulator.secret("new").is_none());
    let got = set(&simulator, "new", Some(&token), body).await.json();
    assert_eq!(
        (&got["value"], &got["contentType"]),
        (&"one".into(), &"text".into())
    );
    let second = set(&simulator, "new", Some(&token), r#"{"value":"two"}"#).await;
    assert_eq!(second.status, 200);
    let latest = read(&simulator, "new", Some(&token)).await.json();
    assert_eq!(
        (&latest["value"], &latest["id"]),
        (&"two".into(), &second.json()["id"])
    );
    assert_eq!(simulator.secret("new").unwrap().versions.len(), 2);
}

#[tokio::test]
async fn a_vault_refuses_to_be_written_each_time_for_its_reason() {
    let simulator = simulator().await;
    let token = vault_token(&simulator).await;
    let good = r#"{"value":"one"}"#;
    for (path, body, status) in [
        ("new", "no JSON", 400),
        ("new", "{}", 400),
        (
            "new",
            &format!(r#"{{"value":"{}"}}"#, "x".repeat(25_601)),
            400,
        ),
        ("n_w", good, 400),
        ("new/0", good, 405),
    ] {
        let got = set(&simulator, path, Some(&token), body).await;
        assert_eq!(got.status, status, "{path} {body}");
    }
    simulator.vault_writers(Access::Rbac(Vec::new()));
    let got = set(&simulator, "new", Some(&token), good).await;
    assert_eq!(got.refusal(), (403, "Forbidden".into()));
    simulator.vault_writers(Access::Policy(Vec::new()));
    let got = set(&simulator, "new", Some(&token), good).await;
    assert!(got.message().contains("secrets set permission"));
    simulator.vault_writers(Access::Everyone);
    assert!(simulator.secret("new").is_none(), "nothing was written");
    simulator.put_secret("old", SecretVersion::new("one"));
    simulator.set_secret("old", |secret| secret.deleted = true);
    let got = set(&simulator, "old", Some(&token), good).await;
    assert_eq!(got.refusal(), (409, "Conflict".into()));
    // A fault for writing leaves reading alone, and the challenge too.
    simulator.fault(FaultPoint::SetSecret, Fault::Unavailable, Times::Once);
    assert_eq!(set(&simulator, "new", None, good).await.status, 401);
    assert_eq!(read(&simulator, "new", Some(&token)).await.status, 404);
    assert_eq!(set(&simulator, "new", Some(&token), good).await.status, 503);
    assert_eq!(set(&simulator, "new", Some(&token), good).await.status, 200);
    simulator.fault(FaultPoint::SetSecret, Fault::Lost, Times::Once);
    let lost = format!("{}/secrets/new?api-version=7.6", simulator.vault_url());
    let lost = request("PUT", &lost, &[("authorization", &token)], good);
    assert!(send(lost).await.is_err());
    let versions = simulator.secret("new").unwrap().versions.len();
    assert_eq!(versions, 2, "carried out, though nobody was told");
}
