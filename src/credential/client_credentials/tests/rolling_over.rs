//! Two secrets, one of which the provider refuses.

use super::*;

const OLD: &str = "old~secret";
const NEW: &str = "new~secret";

/// An application that has two secrets configured.
fn rolling(simulator: &Simulator, first: &str, next: &str) -> Application {
    Application {
        proof: Proof::Secret(client_secret::ClientSecretSettings {
            secret: Value::Fixed(Secret::new(first.to_owned())),
            next: Some(Value::Fixed(Secret::new(next.to_owned()))),
            client_auth: ClientAuth::Post,
        }),
        ..settings(simulator)
    }
}

/// The simulator's application takes this secret from now on, and no other.
fn takes(simulator: &Simulator, secret: &str) {
    let app = App::new(
        directory::GATEWAY_APP,
        "33330000-0000-0000-0000-000000000009",
    );
    simulator.add_app(directory::DEMO_TENANT, app.with_secret(secret));
}

/// The secrets that were sent since the last time.
fn sent(simulator: &Simulator) -> Vec<String> {
    let requests = simulator.token_requests();
    simulator.clear_records();
    requests
        .iter()
        .map(|request| request.field("client_secret").unwrap().to_owned())
        .collect()
}

async fn outcome(source: &Arc<dyn Source>) -> Result<(), AttemptError> {
    source.fetch(Wish::default()).await.map(drop)
}

#[tokio::test]
async fn a_refused_secret_is_followed_by_the_other_once_and_that_one_comes_first_from_then_on() {
    let simulator = simulator().await;
    let context = context(Duration::from_secs(10));
    let source = source(&rolling(&simulator, OLD, NEW), &scope(), &context);
    takes(&simulator, OLD);
    assert!(outcome(&source).await.is_ok());
    assert_eq!(sent(&simulator), [OLD]);
    takes(&simulator, NEW);
    assert!(outcome(&source).await.is_ok());
    assert_eq!(sent(&simulator), [OLD, NEW]);
    for _ in 0..3 {
        assert!(outcome(&source).await.is_ok());
    }
    assert_eq!(sent(&simulator), [NEW, NEW, NEW], "remembered");
    takes(&simulator, OLD);
    assert!(outcome(&source).await.is_ok());
    assert!(outcome(&source).await.is_ok());
    assert_eq!(sent(&simulator), [NEW, OLD, OLD], "and back");
}

#[tokio::test]
async fn an_expired_secret_counts_as_a_refused_one() {
    let simulator = simulator().await;
    takes(&simulator, NEW);
    simulator.fault(FaultPoint::Token, Fault::Aadsts(7_000_222), Times::Once);
    let outcome = fetched(&rolling(&simulator, OLD, NEW), scope()).await;
    assert!(outcome.is_ok());
    assert_eq!(sent(&simulator), [OLD, NEW]);
}

#[tokio::test]
async fn two_refused_secrets_are_two_requests_and_the_first_ones_refusal_each_time() {
    let simulator = simulator().await;
    let context = context(Duration::from_secs(10));
    let source = source(&rolling(&simulator, OLD, NEW), &scope(), &context);
    takes(&simulator, "another");
    for _ in 0..3 {
        simulator.fault(FaultPoint::Token, Fault::Aadsts(7_000_222), Times::Once);
        let error = outcome(&source).await.unwrap_err();
        assert_eq!(error.failure.codes(), [7_000_222]);
        assert_eq!(sent(&simulator), [OLD, NEW], "no ping-pong");
    }
}

#[tokio::test]
async fn other_refusals_and_outages_do_not_try_the_other_secret() {
    let simulator = simulator().await;
    takes(&simulator, NEW);
    let throttled = Fault::Throttled { retry_after: None };
    for fault in [
        Fault::Aadsts(700_016),
        Fault::Aadsts(53_003),
        throttled,
        Fault::Unavailable,
    ] {
        simulator.fault(FaultPoint::Token, fault, Times::Once);
        let outcome = fetched(&rolling(&simulator, OLD, NEW), scope()).await;
        assert!(outcome.is_err());
        assert_eq!(sent(&simulator), [OLD]);
    }
}

#[tokio::test]
async fn invalid_client_without_a_number_is_a_refused_secret_whoever_says_it() {
    let simulator = simulator().await;
    takes(&simulator, NEW);
    let refusal = |status, body: &'static str| Fault::Status {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Bytes::from_static(body.as_bytes()),
    };
    let invalid_client = r#"{"error":"invalid_client"}"#;
    for (entra, fault, requests) in [
        (false, refusal(401, invalid_client), 2),
        (false, refusal(400, invalid_client), 2),
        (false, refusal(401, "nothing of use"), 2),
        (false, refusal(400, r#"{"error":"invalid_scope"}"#), 1),
        (true, refusal(401, invalid_client), 2),
    ] {
        simulator.fault(FaultPoint::Token, fault, Times::Once);
        let application = Application {
            entra,
            ..rolling(&simulator, OLD, NEW)
        };
        let outcome = fetched(&application, scope()).await;
        assert_eq!(outcome.is_ok(), requests == 2);
        assert_eq!(sent(&simulator).len(), requests);
    }
}
