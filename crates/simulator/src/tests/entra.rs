//! Metadata, key sets, the marker and the page.

use super::*;
use crate::directory::{DEMO_TENANT, GATEWAY_APP, PARTNER_APP, PARTNER_TENANT};

#[tokio::test]
async fn v1_metadata_names_the_sts_issuer_and_the_common_keys() {
    let simulator = simulator().await;
    let origin = simulator.origin();
    let document = get(&format!(
        "{origin}/{DEMO_TENANT}/.well-known/openid-configuration"
    ))
    .await
    .json();
    assert_eq!(
        document["issuer"],
        format!("https://sts.windows.net/{DEMO_TENANT}/")
    );
    assert_eq!(
        document["jwks_uri"],
        format!("{origin}/common/discovery/keys")
    );
    assert_eq!(
        document["token_endpoint"],
        simulator.token_url(DEMO_TENANT, false)
    );
    assert_eq!(document["flowgate_simulator"], true);
}

#[tokio::test]
async fn v2_metadata_names_its_own_origin_and_the_tenants_keys() {
    let simulator = simulator().await;
    let origin = simulator.origin();
    let document = get(&format!(
        "{origin}/{DEMO_TENANT}/v2.0/.well-known/openid-configuration"
    ))
    .await
    .json();
    assert_eq!(document["issuer"], format!("{origin}/{DEMO_TENANT}/v2.0"));
    assert_eq!(
        document["jwks_uri"],
        format!("{origin}/{DEMO_TENANT}/discovery/v2.0/keys")
    );
    assert_eq!(
        document["token_endpoint"],
        simulator.token_url(DEMO_TENANT, true)
    );
    assert_eq!(simulator.metadata_requests(), 1);
}

#[tokio::test]
async fn metadata_of_common_has_issuer_templates_and_a_domain_names_its_tenant() {
    let simulator = simulator().await;
    let origin = simulator.origin();
    let common = get(&format!(
        "{origin}/common/v2.0/.well-known/openid-configuration"
    ))
    .await
    .json();
    assert_eq!(common["issuer"], format!("{origin}/{{tenantid}}/v2.0"));
    let domain = get(&format!(
        "{origin}/flowgate.example/.well-known/openid-configuration"
    ))
    .await
    .json();
    assert_eq!(
        domain["issuer"],
        format!("https://sts.windows.net/{DEMO_TENANT}/")
    );
}

#[tokio::test]
async fn only_v2_key_sets_carry_the_issuer_of_their_keys() {
    let simulator = simulator().await;
    let origin = simulator.origin();
    let v2 = get(&format!("{origin}/{DEMO_TENANT}/discovery/v2.0/keys"))
        .await
        .json();
    assert_eq!(
        v2["keys"][0]["issuer"],
        format!("{origin}/{{tenantid}}/v2.0")
    );
    assert_eq!(v2["keys"][0]["kid"], simulator.current_key_id());
    let v1 = get(&format!("{origin}/common/discovery/keys")).await.json();
    assert_eq!(v1["keys"][0]["issuer"], Value::Null);
    assert_eq!(v1["keys"][0]["e"], "AQAB");
    assert_eq!(simulator.key_set_requests(), 2);
}

#[tokio::test]
async fn a_rotation_publishes_both_keys_until_the_old_one_is_retired() {
    let simulator = simulator().await;
    let keys = format!("{}/common/discovery/keys", simulator.origin());
    simulator.rotate_keys();
    assert_eq!(get(&keys).await.json()["keys"].as_array().unwrap().len(), 2);
    simulator.retire_old_keys();
    let left = get(&keys).await.json();
    assert_eq!(left["keys"].as_array().unwrap().len(), 1);
    assert_eq!(left["keys"][0]["kid"], simulator.current_key_id());
}

#[tokio::test]
async fn every_answer_carries_the_marker_and_two_starts_share_no_key_secret_or_signature() {
    let (one, two) = (simulator().await, simulator().await);
    for url in [
        one.token_url(DEMO_TENANT, true),
        one.flow_url("legacy"),
        one.origin(),
    ] {
        assert_eq!(get(&url).await.header(MARKER), Some("1"));
    }
    assert_ne!(one.current_key_id(), two.current_key_id());
    assert_ne!(
        one.client_secret(GATEWAY_APP),
        two.client_secret(GATEWAY_APP)
    );
    assert_ne!(
        one.flow("legacy").unwrap().sig,
        two.flow("legacy").unwrap().sig
    );
    assert!(one.address().ip().is_loopback());
}

#[tokio::test]
async fn the_page_names_everything_but_secrets() {
    let simulator = simulator().await;
    let page = String::from_utf8(get(&simulator.origin()).await.body.to_vec()).unwrap();
    for shown in [
        DEMO_TENANT,
        PARTNER_TENANT,
        GATEWAY_APP,
        "order-created",
        "legacy",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    for app in [GATEWAY_APP, PARTNER_APP] {
        assert!(!page.contains(&simulator.client_secret(app)));
    }
    assert!(!page.contains(&simulator.flow("legacy").unwrap().sig));
}
