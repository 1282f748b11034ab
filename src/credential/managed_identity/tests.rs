//! Managed identities as the platforms' endpoints see them, what they answer, and where the gateway never goes.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::client::{Outbound, OutboundSettings};
use crate::clock::{Clock, Random};
use crate::credential::Failure;
use crate::vault::Secrets;
use testkit::{Reply, Server};

mod rule_21_outbound_trust;

const START: u64 = 1_800_000_000;
const FLOWS: &str = "https://service.flow.microsoft.com/";

fn context() -> Context {
    let settings = OutboundSettings {
        // Nobody listens there: whoever asked it would fail.
        proxy: Some(Secret::new("http://127.0.0.1:9".parse().unwrap())),
        ..OutboundSettings::for_tests()
    };
    Context {
        credential: "c".into(),
        outbound: Outbound::new(&settings).unwrap(),
        clock: Clock::manual(START),
        random: Random::system(),
        secrets: Secrets::default(),
        secret_expiry: crate::metrics::Metrics::new().unwrap().secret_expiry,
        clock_skew: crate::metrics::Metrics::new()
            .unwrap()
            .clock_skew(&crate::clock::Clock::system()),
    }
}

async fn fetched(platform: Platform, identity: Identity) -> Result<Grant, AttemptError> {
    let settings = ManagedIdentitySettings { platform, identity };
    source(&settings, &Ask::Resource(FLOWS.into()), &context())
        .fetch(Wish::default())
        .await
}

fn metadata(provider: &Server) -> Platform {
    Platform::Metadata {
        base: provider.url.clone(),
    }
}

fn app_service(provider: &Server) -> Platform {
    Platform::AppService {
        endpoint: provider.at("msi/token"),
        header: Secret::new("the-header".into()),
    }
}

/// As the metadata service gives one: all strings.
fn token() -> Reply {
    testkit::json(
        200,
        &json!({
            "access_token": "token", "client_id": "c", "expires_in": "86399", "expires_on": "1800086399",
            "ext_expires_in": "86399", "not_before": "1799999700", "resource": FLOWS, "token_type": "Bearer",
            "refresh_token": "",
        }),
    )
}

fn named() -> [(Identity, &'static str, &'static str); 4] {
    let id = || "22220000-0000-0000-0000-000000000001".to_owned();
    [
        (Identity::System, "", ""),
        (Identity::ClientId(id()), "client_id", "client_id"),
        (Identity::ObjectId(id()), "object_id", "object_id"),
        (Identity::ResourceId(id()), "msi_res_id", "mi_res_id"),
    ]
}

#[tokio::test]
async fn the_metadata_service_and_app_service_are_asked_each_in_its_own_words() {
    let provider = Server::start(|_, _| token()).await;
    for (identity, at_metadata, at_app_service) in named() {
        let grant = fetched(metadata(&provider), identity.clone()).await;
        assert_eq!(
            grant.ok().unwrap().lifetime,
            Some(Duration::from_secs(86_399))
        );
        fetched(app_service(&provider), identity)
            .await
            .ok()
            .unwrap();
        let [first, second] =
            <[_; 2]>::try_from(provider.seen().split_off(provider.seen().len() - 2)).unwrap();
        for (seen, own) in [(&first, at_metadata), (&second, at_app_service)] {
            let mut names = vec!["api-version", "resource"];
            names.extend((!own.is_empty()).then_some(own));
            assert_eq!(
                (seen.method(), seen.names()),
                ("GET", names.iter().map(|&name| name.to_owned()).collect())
            );
            assert_eq!(seen.field("resource").as_deref(), Some(FLOWS));
            assert!(
                seen.target()
                    .contains("resource=https%3A%2F%2Fservice.flow.microsoft.com%2F")
            );
            assert_eq!(seen.header("x-forwarded-for"), None);
        }
        assert!(
            first
                .target()
                .starts_with("/metadata/identity/oauth2/token?api-version=2018-02-01&")
        );
        assert_eq!(
            (first.header("metadata"), first.header("x-identity-header")),
            (Some("true"), None)
        );
        assert!(
            second
                .target()
                .starts_with("/msi/token?api-version=2019-08-01&")
        );
        assert_eq!(
            (
                second.header("metadata"),
                second.header("x-identity-header")
            ),
            (None, Some("the-header"))
        );
    }
}

#[tokio::test]
async fn app_services_answer_without_expires_in_lives_until_expires_on() {
    let provider = Server::start(|_, _| {
        let body = json!({"access_token": "t", "expires_on": "1800003600", "resource": FLOWS, "token_type": "Bearer"});
        testkit::json(200, &body)
    })
    .await;
    let grant = fetched(app_service(&provider), Identity::System).await;
    assert_eq!(grant.ok().unwrap().lifetime, Some(Duration::from_hours(1)));
}

#[tokio::test]
async fn every_way_a_platform_can_fail_ends_in_its_fixed_word_after_one_attempt() {
    let said = |error: &str, text: &str| json!({"error": error, "error_description": text});
    let plain = |text: &str| json!({"statusCode": 400, "message": text});
    for (status, body, word) in [
        (
            400,
            said("invalid_request", "Identity not found"),
            "no_managed_identity",
        ),
        (
            400,
            plain("No User Assigned or Delegated Managed Identity found for specified ClientId"),
            "no_managed_identity",
        ),
        (
            400,
            said("invalid_resource", "AADSTS500011: not found"),
            "rejected",
        ),
        (
            400,
            said("bad_request_102", "Required metadata header not specified"),
            "rejected",
        ),
        (401, said("unknown_source", "unknown"), "rejected"),
        (403, plain("forbidden"), "rejected"),
        (404, plain("updating"), "identity_updating"),
        (410, plain("gone"), "identity_updating"),
        (429, plain("slower"), "throttled"),
        (500, plain("broken"), "provider_error"),
        (503, plain("broken"), "provider_error"),
        (302, plain("elsewhere"), "redirected"),
        (200, plain("no token"), "token_missing"),
    ] {
        let provider = Server::start(move |_, _| testkit::json(status, &body)).await;
        for platform in [metadata(&provider), app_service(&provider)] {
            let error = fetched(platform, Identity::System).await.err().unwrap();
            assert_eq!(error.failure.word(), word, "{status}");
        }
        assert_eq!(
            provider.seen().len(),
            2,
            "{status}: repetition is the cell's"
        );
    }
}

#[tokio::test]
async fn where_nothing_answers_there_is_no_managed_identity_and_the_fix_says_so() {
    let closed = {
        let provider = Server::start(|_, _| token()).await;
        provider.url.clone()
    };
    let platform = Platform::Metadata {
        base: closed.clone(),
    };
    // The listener is gone a moment after its task was asked to end.
    tokio::task::yield_now().await;
    let error = fetched(platform, Identity::System).await.err().unwrap();
    assert_eq!(error.failure.word(), "no_managed_identity");
    let fix = error.failure.explain().fix;
    assert!(fix.contains("169.254.169.254") && fix.contains("another kind"));
    let platform = Platform::AppService {
        endpoint: closed,
        header: Secret::new("h".into()),
    };
    let error = fetched(platform, Identity::System).await.err().unwrap();
    assert_eq!(
        error.failure.word(),
        "refused",
        "an app has the endpoint it names"
    );
}

#[tokio::test]
async fn the_simulated_agent_of_an_arc_server_takes_the_key_it_wrote() {
    use simulator::{Options, Service, Simulator};
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    simulator.arc_directory(folder.path());
    let platform = || Platform::Arc {
        endpoint: simulator.arc_url().parse().unwrap(),
        keys: folder.path().to_owned(),
    };
    let grant = fetched(platform(), Identity::System).await;
    let grant = grant.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(grant.claims.unwrap()["aud"], FLOWS);
    let requests = simulator.requests_to(Service::Arc);
    let proved: Vec<bool> = requests
        .iter()
        .map(|one| one.header("authorization").is_some())
        .collect();
    assert_eq!(proved, [false, true]);
    simulator.arc_announces(Some("/etc/passwd"));
    let error = fetched(platform(), Identity::System).await.err().unwrap();
    assert_eq!(error.failure.word(), "identity_challenge");
}
