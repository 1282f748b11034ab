//! Requests as a token endpoint sees them, and its worst answers, over real sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::client::{Outbound, OutboundSettings};
use crate::clock::{Clock, Random};
use crate::credential::client_secret::{self, ClientAuth};
use crate::credential::proof::Proof;
use crate::credential::{Failure, source::AttemptError, source::Grant};
use crate::secret::Secret;
use crate::vault::{Secrets, Value};
use simulator::{App, Fault, FaultPoint, Options, Simulator, Times, directory};

mod assertions;
mod rolling_over;

const SCOPE: &str = "https://service.flow.microsoft.com//.default";

fn outbound(token_timeout: Duration) -> Outbound {
    Outbound::new(&OutboundSettings {
        token_timeout,
        ..OutboundSettings::for_tests()
    })
    .unwrap()
}

async fn simulator() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

fn context(token_timeout: Duration) -> Context {
    Context {
        credential: "flows".into(),
        outbound: outbound(token_timeout),
        clock: Clock::system(),
        random: Random::system(),
        secrets: Secrets::default(),
        secret_expiry: crate::metrics::Metrics::new().unwrap().secret_expiry,
        clock_skew: crate::metrics::Metrics::new()
            .unwrap()
            .clock_skew(&crate::clock::Clock::system()),
    }
}

fn settings(simulator: &Simulator) -> Application {
    let url = simulator.token_url(directory::DEMO_TENANT, true);
    Application {
        token_url: url.parse().unwrap(),
        client_id: directory::GATEWAY_APP.to_owned(),
        proof: proof(
            &simulator.client_secret(directory::GATEWAY_APP),
            ClientAuth::Post,
        ),
        parameters: BTreeMap::new(),
        entra: true,
        cae: false,
    }
}

fn proof(secret: &str, client_auth: ClientAuth) -> Proof {
    Proof::Secret(client_secret::ClientSecretSettings {
        secret: Value::Fixed(Secret::new(secret.to_owned())),
        next: None,
        client_auth,
    })
}

async fn fetched(settings: &Application, ask: Ask) -> Result<Grant, AttemptError> {
    let context = context(Duration::from_secs(10));
    source(settings, &ask, &context)
        .fetch(Wish::default())
        .await
}

fn scope() -> Ask {
    Ask::Scope(SCOPE.to_owned())
}

#[tokio::test]
async fn a_v2_endpoint_is_asked_by_scope_and_a_v1_endpoint_by_resource() {
    let simulator = simulator().await;
    let mut settings = settings(&simulator);
    let grant = fetched(&settings, scope()).await.ok().unwrap();
    let claims = grant.claims.unwrap();
    assert_eq!(claims["aud"], "https://service.flow.microsoft.com/");
    assert_eq!(grant.lifetime, Some(Duration::from_secs(3599)));
    let url = simulator.token_url(directory::DEMO_TENANT, false);
    settings.token_url = url.parse().unwrap();
    let resource = Ask::Resource("https://service.flow.microsoft.com/".to_owned());
    let grant = fetched(&settings, resource).await.ok().unwrap();
    assert_eq!(grant.lifetime, Some(Duration::from_secs(3599)));
    let requests = simulator.token_requests();
    assert_eq!(requests[0].field("scope"), Some(SCOPE));
    assert_eq!(requests[0].field("resource"), None);
    assert_eq!(requests[1].field("scope"), None);
}

#[tokio::test]
async fn secrets_with_any_character_arrive_intact_in_the_form_and_as_basic() {
    let simulator = simulator().await;
    for (number, secret) in [
        "~a+b/c&d%e=f",
        "100%25 sure? #1;:@",
        "plus+space and%20percent",
        "grüße-ß-日本語-🔑",
        "'\"\\<>{}|^`",
        "a:b:c",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("22220000-0000-0000-0000-00000000000{number}");
        let app = App::new(&id, "33330000-0000-0000-0000-000000000009").with_secret(secret);
        simulator.add_app(directory::DEMO_TENANT, app);
        for client_auth in [ClientAuth::Post, ClientAuth::Basic] {
            let settings = Application {
                client_id: id.clone(),
                proof: proof(secret, client_auth),
                ..settings(&simulator)
            };
            let outcome = fetched(&settings, scope()).await;
            assert!(
                outcome.is_ok(),
                "{secret} {client_auth:?}: {:?}",
                outcome.err()
            );
            let request = simulator.token_requests().pop().unwrap();
            let in_form = (client_auth == ClientAuth::Post).then_some(secret);
            assert_eq!(request.field("client_secret"), in_form);
            assert_eq!(request.basic, client_auth == ClientAuth::Basic);
        }
    }
}

#[tokio::test]
async fn further_parameters_travel_and_an_empty_scope_does_not() {
    let simulator = simulator().await;
    let settings = Application {
        parameters: BTreeMap::from([("audience".to_owned(), "a b&c".to_owned())]),
        ..settings(&simulator)
    };
    let _ = fetched(&settings, Ask::Scope(String::new())).await;
    let request = simulator.token_requests().pop().unwrap();
    let names: Vec<_> = request.form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["grant_type", "client_id", "client_secret", "audience"]
    );
    assert_eq!(request.field("audience"), Some("a b&c"));
}

#[tokio::test]
async fn a_wrong_secret_is_a_refusal_with_the_providers_numbers() {
    let simulator = simulator().await;
    let settings = Application {
        proof: proof("wrong", ClientAuth::Post),
        ..settings(&simulator)
    };
    let denial = fetched(&settings, scope()).await.err().unwrap();
    let Failure::Rejected { provider, .. } = denial.failure else {
        panic!("{:?}", denial.failure);
    };
    assert_eq!(
        (provider.error.as_str(), provider.codes.as_slice()),
        ("invalid_client", [7_000_215].as_slice())
    );
    assert!(provider.trace_id.is_some());
}

#[tokio::test]
async fn every_way_an_endpoint_can_fail_ends_in_its_fixed_word() {
    let simulator = simulator().await;
    let settings = settings(&simulator);
    let throttled = Fault::Throttled {
        retry_after: Some("60".into()),
    };
    for (fault, word) in [
        (throttled, "throttled"),
        (Fault::Unavailable, "provider_error"),
        (Fault::Empty, "answer_invalid"),
        (
            Fault::Member("token_type".into(), Some("mac".into())),
            "token_type_mac",
        ),
        (Fault::Member("access_token".into(), None), "token_missing"),
        (Fault::Aadsts(700_016), "rejected"),
        (Fault::Aadsts(7_000_222), "rejected"),
        (Fault::Headers(10_000_000), "too_large"),
        (Fault::Garbage, "protocol"),
        (Fault::Truncated, "protocol"),
        (Fault::ResetBeforeHead, "protocol"),
        (Fault::ResetAfterHead, "protocol"),
        (Fault::CloseBeforeHead, "protocol"),
    ] {
        simulator.clear_records();
        simulator.fault(FaultPoint::Token, fault, Times::Once);
        let error = fetched(&settings, scope()).await.err().unwrap();
        assert_eq!(error.failure.word(), word);
        let requests = simulator.token_requests().len();
        assert_eq!(
            requests, 1,
            "{word}: a token request is never repeated by itself"
        );
    }
    simulator.fault(FaultPoint::Token, Fault::WrongType, Times::Once);
    assert!(
        fetched(&settings, scope()).await.is_ok(),
        "JSON is JSON, whatever it calls itself"
    );
}

#[tokio::test]
async fn an_endpoint_that_never_answers_or_never_ends_is_given_up_in_time() {
    let simulator = simulator().await;
    let settings = settings(&simulator);
    let context = context(Duration::from_millis(100));
    for fault in [Fault::Hang, Fault::Stalled] {
        simulator.fault(FaultPoint::Token, fault, Times::Once);
        let source = source(&settings, &scope(), &context);
        assert_eq!(
            source
                .fetch(Wish::default())
                .await
                .err()
                .unwrap()
                .failure
                .word(),
            "timeout"
        );
    }
}

mod rule_21_outbound_trust {
    use super::*;

    #[tokio::test]
    async fn a_redirect_of_the_token_endpoint_is_not_followed_with_the_secret() {
        let simulator = simulator().await;
        let elsewhere = super::simulator().await;
        let target = elsewhere.token_url(directory::DEMO_TENANT, true);
        for status in [301, 302, 303, 307, 308] {
            let fault = Fault::Status {
                status,
                headers: vec![("location".into(), target.clone())],
                body: Bytes::new(),
            };
            simulator.fault(FaultPoint::Token, fault, Times::Once);
            let error = fetched(&settings(&simulator), scope()).await.err().unwrap();
            assert_eq!(error.failure.word(), "redirected");
        }
        assert_eq!(elsewhere.connections(), 0);
    }

    #[tokio::test]
    async fn an_answer_over_one_mebibyte_is_an_error() {
        let simulator = simulator().await;
        simulator.fault(FaultPoint::Token, Fault::Padded(answer::LIMIT), Times::Once);
        let error = fetched(&settings(&simulator), scope()).await.err().unwrap();
        assert_eq!(error.failure.word(), "too_large");
    }

    #[tokio::test]
    async fn a_token_endpoint_by_plain_http_off_loopback_is_never_contacted() {
        let simulator = simulator().await;
        let mut settings = settings(&simulator);
        settings.token_url.set_host(Some("localhost")).unwrap();
        let error = fetched(&settings, scope()).await.err().unwrap();
        assert_eq!(error.failure.word(), "refused_address");
        assert_eq!(simulator.connections(), 0);
    }
}
