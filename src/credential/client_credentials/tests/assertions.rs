//! Proof by certificate and by another issuer's token, as the endpoint sees it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;
use crate::credential::assertion::SigningOptions;
use crate::credential::certificate::Algorithm;
use crate::credential::{client_certificate, federated};
use simulator::{Certificate, Federated, OutsideToken};
use testkit::certificate::{KeyKind, application};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn certificate() -> String {
    application(KeyKind::Rsa)
}

fn certified(simulator: &Simulator, text: &str) -> Application {
    Application {
        proof: Proof::Certificate(client_certificate::ClientCertificateSettings {
            certificate: Value::Fixed(Secret::new(text.to_owned())),
            passphrase: None,
            signing: SigningOptions {
                algorithm: Algorithm::Ps256,
                send_chain: false,
            },
        }),
        ..settings(simulator)
    }
}

fn federated(simulator: &Simulator, file: &std::path::Path) -> Application {
    Application {
        proof: Proof::Federated(federated::FederatedSettings {
            file: file.to_owned(),
        }),
        ..settings(simulator)
    }
}

#[tokio::test]
async fn each_request_carries_an_assertion_of_its_own_for_the_very_endpoint() {
    let simulator = simulator().await;
    let certificate = certificate();
    let registered = Certificate::from_pem(&certificate).unwrap();
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.certificates.push(registered);
    });
    let settings = certified(&simulator, &certificate);
    let context = context(Duration::from_secs(10));
    let source = source(&settings, &scope(), &context);
    for _ in 0..2 {
        let outcome = source.fetch(Wish::default()).await;
        assert!(outcome.is_ok(), "{:?}", outcome.err());
    }
    let requests = simulator.token_requests();
    let [one, other] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    for request in [one, other] {
        let names: Vec<_> = request.form.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = [
            "grant_type",
            "client_id",
            "client_assertion_type",
            "client_assertion",
            "scope",
        ];
        assert_eq!(names, wanted);
        assert_eq!(request.field("client_assertion_type"), Some(TYPE));
        assert_eq!(request.field("client_id"), Some(directory::GATEWAY_APP));
        let claims = request.field("client_assertion").unwrap().split('.').nth(1);
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], settings.token_url.as_str());
    }
    assert_ne!(
        one.field("client_assertion"),
        other.field("client_assertion")
    );
}

#[tokio::test]
async fn a_certificate_that_cannot_be_opened_is_no_request() {
    let simulator = simulator().await;
    let error = fetched(&certified(&simulator, "no certificate"), scope()).await;
    assert_eq!(error.err().unwrap().failure.word(), "certificate_invalid");
    assert_eq!(simulator.token_requests().len(), 0);
}

#[tokio::test]
async fn another_issuers_token_is_read_from_its_file_for_each_request() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let context = context(Duration::from_secs(10));
    let source = source(&federated(&simulator, &file), &scope(), &context);
    let error = source.fetch(Wish::default()).await.err().unwrap();
    assert_eq!(error.failure.word(), "secret_unreadable");
    assert_eq!(simulator.token_requests().len(), 0);
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.federated.push(Federated::cluster("pod"));
    });
    for lifetime in [600, 1200] {
        let token = simulator.outside_token(&OutsideToken {
            lifetime,
            ..OutsideToken::new("pod")
        });
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let outcome = source.fetch(Wish::default()).await;
        assert!(outcome.is_ok(), "{:?}", outcome.err());
        let request = simulator.token_requests().pop().unwrap();
        assert_eq!(request.field("client_assertion"), Some(token.as_str()));
        assert_eq!(request.field("client_assertion_type"), Some(TYPE));
        assert_eq!(request.field("client_secret"), None);
    }
}

#[tokio::test]
async fn every_algorithm_with_and_without_its_chain_is_accepted() {
    let simulator = simulator().await;
    let certificate = certificate();
    let registered = Certificate::from_pem(&certificate).unwrap();
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.certificates.push(registered);
    });
    for algorithm in [Algorithm::Ps256, Algorithm::Rs256] {
        for send_chain in [false, true] {
            let mut settings = certified(&simulator, &certificate);
            let Proof::Certificate(own) = &mut settings.proof else {
                panic!("another proof");
            };
            own.signing = SigningOptions {
                algorithm,
                send_chain,
            };
            let outcome = fetched(&settings, scope()).await;
            assert!(outcome.is_ok(), "{algorithm:?} {:?}", outcome.err());
        }
    }
    let foreign = fetched(&certified(&simulator, &self::certificate()), scope()).await;
    assert_eq!(foreign.err().unwrap().failure.codes(), [700_027]);
}

#[tokio::test]
async fn a_public_client_sends_its_id_alone() {
    let simulator = simulator().await;
    let settings = Application {
        proof: Proof::Nothing,
        ..settings(&simulator)
    };
    let _ = fetched(&settings, scope()).await;
    let request = simulator.token_requests().pop().unwrap();
    let names: Vec<_> = request.form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "client_id", "scope"]);
}
