//! Client assertions: of certificates and of other identity providers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256};
use serde_json::json;

use super::token_endpoint::{claims, refused};
use super::*;
use crate::directory::{CLUSTER_ISSUER, DEMO_TENANT, EXCHANGE_AUDIENCE, GATEWAY_APP};

const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const POD: &str = "system:serviceaccount:flows:flowgate";

/// A key of the client's own, and a certificate for it.
struct Signing {
    pair: aws_lc_rs::rsa::KeyPair,
    der: Vec<u8>,
    pem: String,
}

fn signing(subject: &str) -> Signing {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    let certificate = params.self_signed(&pair).unwrap();
    Signing {
        der: certificate.der().to_vec(),
        pem: certificate.pem(),
        pair: aws_lc_rs::rsa::KeyPair::from_pkcs8(&pair.serialize_der()).unwrap(),
    }
}

impl Signing {
    fn thumbprint(&self, algorithm: &'static aws_lc_rs::digest::Algorithm) -> Vec<u8> {
        aws_lc_rs::digest::digest(algorithm, &self.der)
            .as_ref()
            .to_vec()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let padding: &dyn aws_lc_rs::signature::RsaEncoding = if header["alg"] == "PS256" {
            &aws_lc_rs::signature::RSA_PSS_SHA256
        } else {
            &aws_lc_rs::signature::RSA_PKCS1_SHA256
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.pair
            .sign(padding, &random, message.as_bytes(), &mut signature)
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// PS256 and `x5t#S256`, as recommended.
    fn header(&self) -> Value {
        let print = self.thumbprint(&aws_lc_rs::digest::SHA256);
        json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(print) })
    }
}

fn payload(simulator: &Simulator) -> Value {
    let now = simulator.0.state.now();
    json!({
        "aud": simulator.token_url(DEMO_TENANT, true), "iss": GATEWAY_APP, "sub": GATEWAY_APP, "jti": "1",
        "nbf": now, "exp": now + 600,
    })
}

async fn ask(simulator: &Simulator, assertion: &str, more: &[(&str, &str)]) -> Got {
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", GATEWAY_APP),
        ("client_assertion_type", KIND),
        ("client_assertion", assertion),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    fields.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    fields.extend_from_slice(more);
    form(&simulator.token_url(DEMO_TENANT, true), &fields).await
}

fn changed(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

#[tokio::test]
async fn a_registered_certificate_proves_the_client_in_every_usual_spelling() {
    let (simulator, key) = (simulator().await, signing("gateway"));
    let certificate = Certificate::from_pem(&key.pem).unwrap();
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.certificates.push(certificate);
    });
    let payload = payload(&simulator);
    let sha1 = key.thumbprint(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    let old = json!({ "alg": "RS256", "x5t": URL_SAFE_NO_PAD.encode(&sha1) });
    let standard = json!({ "alg": "RS256", "x5t": STANDARD.encode(&sha1) });
    let texts = changed(payload.clone(), "exp", payload["exp"].to_string().into());
    let texts = changed(texts, "nbf", payload["nbf"].to_string().into());
    for (header, payload) in [
        (key.header(), &payload),
        (old, &payload),
        (standard, &payload),
        (key.header(), &texts),
    ] {
        let got = ask(&simulator, &key.sign(&header, payload), &[]).await;
        assert_eq!(got.status, 200, "{}", got.json());
        let token = claims(got.json()["access_token"].as_str().unwrap());
        assert_eq!(token["appidacr"], "2");
        assert_eq!(token["roles"][0], "Tasks.ReadWrite.All");
    }
}

#[tokio::test]
async fn each_defect_of_an_assertion_has_its_number() {
    let (simulator, key, other) = (simulator().await, signing("gateway"), signing("other"));
    let certificate = Certificate::from_der(&key.der).unwrap();
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.certificates.push(certificate);
    });
    let (header, good) = (key.header(), payload(&simulator));
    let now = simulator.0.state.now();
    let with = |name: &str, to: Value| key.sign(&header, &changed(good.clone(), name, to));
    let v1 = simulator.token_url(DEMO_TENANT, false);
    for (assertion, number) in [
        (key.sign(&other.header(), &good), 700_027),
        (other.sign(&header, &good), 700_027),
        (with("aud", v1.into()), 50012),
        (with("sub", "another".into()), 700_023),
        (with("exp", (now + 601).into()), 700_024),
        (with("exp", (now - 301).into()), 700_024),
        (with("nbf", (now + 400).into()), 700_024),
        (with("exp", Value::Null), 700_024),
        ("a.b.c".into(), 50012),
    ] {
        let got = ask(&simulator, &assertion, &[]).await;
        assert_eq!(refused(&got), (401, "invalid_client".into(), number));
    }
    let good = key.sign(&header, &good);
    assert_eq!(
        refused(&ask(&simulator, &good, &[("client_assertion_type", "x")]).await).2,
        9_002_313
    );
    let secret = [("client_secret", "x")];
    assert_eq!(refused(&ask(&simulator, &good, &secret).await).2, 9_002_313);
}

#[tokio::test]
async fn a_subject_that_is_trusted_needs_no_registration() {
    let (simulator, key) = (simulator().await, signing("flows.example"));
    let header = changed(key.header(), "x5c", json!([STANDARD.encode(&key.der)]));
    let assertion = key.sign(&header, &payload(&simulator));
    assert_eq!(refused(&ask(&simulator, &assertion, &[]).await).2, 700_027);
    for (subject, status) in [("CN=elsewhere.example", 401), ("CN=flows.example", 200)] {
        simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
            app.trusted_subjects = vec![subject.into()];
        });
        assert_eq!(ask(&simulator, &assertion, &[]).await.status, status);
    }
}

#[tokio::test]
async fn an_assertion_proves_the_client_for_users_grants_too() {
    let (simulator, key) = (simulator().await, signing("gateway"));
    let certificate = Certificate::from_der(&key.der).unwrap();
    simulator.add_app(
        DEMO_TENANT,
        App::new(GATEWAY_APP, "o").with_certificate(certificate),
    );
    let token =
        simulator.refresh_token(DEMO_TENANT, GATEWAY_APP, directory::DEMO_USER, "User.Read");
    let assertion = key.sign(&key.header(), &payload(&simulator));
    let more = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
    ];
    assert_eq!(ask(&simulator, &assertion, &more).await.status, 200);
}

#[tokio::test]
async fn another_providers_token_speaks_for_the_client_it_is_registered_for() {
    let simulator = simulator().await;
    let token = OutsideToken::new(POD);
    assert_eq!(
        refused(&ask(&simulator, &simulator.outside_token(&token), &[]).await),
        (400, "invalid_request".into(), 70021)
    );
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.federated.push(Federated::cluster(POD));
    });
    let got = ask(&simulator, &simulator.outside_token(&token), &[]).await;
    assert_eq!(
        claims(got.json()["access_token"].as_str().unwrap())["appidacr"],
        "2"
    );
    let other = |change: &dyn Fn(&mut OutsideToken)| {
        let mut token = token.clone();
        change(&mut token);
        simulator.outside_token(&token)
    };
    for (token, number) in [
        (other(&|t| t.issuer.push('/')), 700_211),
        (other(&|t| t.subject = POD.to_uppercase()), 700_213),
        (other(&|t| t.audience = "api://else".into()), 700_212),
        (other(&|t| t.lifetime = -400), 700_024),
        (signing("x").sign(&json!({ "alg": "RS256" }), &json!({ "iss": CLUSTER_ISSUER, "sub": POD, "aud": EXCHANGE_AUDIENCE, "exp": u32::MAX })), 700_027),
    ] {
        assert_eq!(refused(&ask(&simulator, &token, &[]).await), (401, "invalid_client".into(), number));
    }
}
