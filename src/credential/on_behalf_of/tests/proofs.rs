//! Every way in which the application can prove itself when it exchanges a token, and either endpoint.

use super::*;
use crate::credential::assertion::SigningOptions;
use crate::credential::certificate::Algorithm;
use crate::credential::{client_certificate, federated};
use simulator::{Certificate, Federated, OutsideToken};
use testkit::certificate::{KeyKind, application};

const RIGHT: &str = "api~secret+/%&=";

fn secrets(first: &str, next: &str) -> Proof {
    let value = |text: &str| Value::Fixed(Secret::new(text.to_owned()));
    Proof::Secret(client_secret::ClientSecretSettings {
        secret: value(first),
        next: Some(value(next)),
        client_auth: ClientAuth::Post,
    })
}

impl Bench {
    /// A new caller's exchange: of which user the token is, or the word for why there is none.
    async fn exchanged(&self, caller: &str) -> String {
        let assertion = self.assertion(|spec| spec.claim("jti", caller));
        match self.exchange.entry(&assertion).token().await {
            Ok(token) => token.claims.as_ref().unwrap()["oid"]
                .as_str()
                .unwrap()
                .to_owned(),
            Err(failure) => failure.word().to_owned(),
        }
    }

    fn last(&self) -> simulator::TokenRequest {
        self.simulator.token_requests().pop().unwrap()
    }
}

#[tokio::test]
async fn a_certificate_proves_the_application() {
    let text = application(KeyKind::Rsa);
    for (algorithm, send_chain) in [(Algorithm::Ps256, false), (Algorithm::Rs256, true)] {
        let bench = bench(|application| {
            application.proof = Proof::Certificate(client_certificate::ClientCertificateSettings {
                certificate: Value::Fixed(Secret::new(text.clone())),
                passphrase: None,
                signing: SigningOptions {
                    algorithm,
                    send_chain,
                },
            });
        })
        .await;
        // Not registered yet: the gateway's fault, not the caller's.
        assert_eq!(bench.exchanged("1").await, "rejected");
        let registered = Certificate::from_pem(&text).unwrap();
        bench.simulator.set_app(DEMO_TENANT, API_APP, |app| {
            app.certificates.push(registered);
        });
        assert_eq!(bench.exchanged("2").await, DEMO_USER);
        let first = bench.last();
        assert_eq!(first.field("client_secret"), None);
        assert_eq!(first.field("requested_token_use"), Some("on_behalf_of"));
        assert_eq!(bench.exchanged("3").await, DEMO_USER);
        let second = bench.last();
        assert_ne!(
            first.field("client_assertion").unwrap(),
            second.field("client_assertion").unwrap(),
            "each exchange has a proof of its own"
        );
        assert_ne!(first.field("assertion"), second.field("assertion"));
    }
}

#[tokio::test]
async fn another_issuers_token_proves_the_application_and_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let bench = bench(|application| {
        application.proof = Proof::Federated(federated::FederatedSettings { file: file.clone() });
    })
    .await;
    bench.simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.federated.push(Federated::cluster("pod"));
    });
    assert_eq!(bench.exchanged("1").await, "secret_unreadable");
    assert_eq!(bench.requests(), 0);
    for (caller, lifetime) in [("2", 600), ("3", 1200)] {
        let token = bench.simulator.outside_token(&OutsideToken {
            lifetime,
            ..OutsideToken::new("pod")
        });
        std::fs::write(&file, &token).unwrap();
        assert_eq!(bench.exchanged(caller).await, DEMO_USER);
        let asked = bench.last();
        assert_eq!(asked.field("client_assertion"), Some(token.as_str()));
        assert_eq!(asked.field("client_secret"), None);
    }
    let foreign = bench.simulator.outside_token(&OutsideToken::new("other"));
    std::fs::write(&file, foreign).unwrap();
    assert_eq!(bench.exchanged("4").await, "rejected");
}

#[tokio::test]
async fn a_secret_is_rolled_over_for_all_callers_at_once() {
    let bench = bench(|application| application.proof = secrets("of-old", RIGHT)).await;
    assert_eq!(bench.exchanged("1").await, DEMO_USER);
    let sent = |bench: &Bench| -> Vec<String> {
        let all = bench.simulator.token_requests();
        let secret = |one: &simulator::TokenRequest| one.field("client_secret").unwrap().to_owned();
        all.iter().map(secret).collect()
    };
    assert_eq!(sent(&bench), ["of-old", RIGHT]);
    assert_eq!(bench.exchanged("2").await, DEMO_USER);
    assert_eq!(sent(&bench), ["of-old", RIGHT, RIGHT], "remembered");
}

#[tokio::test]
async fn neither_secret_is_the_gateways_to_fix() {
    let bench = bench(|application| application.proof = secrets("of-old", "older")).await;
    assert_eq!(bench.exchanged("1").await, "rejected");
    assert_eq!(bench.requests(), 2);
}

#[tokio::test]
async fn a_v1_endpoint_is_asked_by_resource() {
    let resource = Ask::Resource("https://graph.microsoft.com".into());
    let bench = bench_asking(resource, CALLERS, |application| {
        let url = application.token_url.as_str().replace("/v2.0/", "/");
        application.token_url = url.parse().unwrap();
    })
    .await;
    for spec in [TokenSpec::user().v1(), TokenSpec::user().v2()] {
        let assertion = bench.assertion(|_| spec);
        let token = bench.exchange.entry(&assertion).token().await.unwrap();
        let claims = token.claims.as_ref().unwrap();
        assert_eq!(claims["oid"], DEMO_USER);
        assert_eq!(claims["aud"], "https://graph.microsoft.com");
        let asked = bench.last();
        assert_eq!(asked.version, simulator::directory::Version::V1);
        let wanted = Some("https://graph.microsoft.com");
        assert_eq!(
            (asked.field("resource"), asked.field("scope")),
            (wanted, None)
        );
        // Numbers in text, as v1 answers.
        assert!(token.expires.unwrap() > bench.clock.unix() + 3000);
    }
}
