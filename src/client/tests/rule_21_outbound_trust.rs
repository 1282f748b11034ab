//! Rule 21: whom the gateway talks to, and how.

use super::*;
use simulator::{Fault, FaultPoint, Times, directory};

#[tokio::test]
async fn tls_is_verified_against_the_configured_authority_and_the_hosts_name() {
    let (simulator, trusting) = secure(&["h2", "http/1.1"]).await;
    let port = simulator.address().port();
    let url = format!("https://localhost:{port}/");
    assert_eq!(
        word(&Outbound::for_tests(), &url, Reach::Configured).await,
        "tls_unknown_authority"
    );
    let (_, other) = secure(&[]).await;
    let other = Outbound::new(&other).unwrap();
    assert_eq!(
        word(&other, &url, Reach::Configured).await,
        "tls_unknown_authority"
    );
    assert_eq!(simulator.received().len(), 0);
    let outbound = Outbound::new(&trusting).unwrap();
    assert!(fetch(&outbound, &url, Reach::Configured).await.is_ok());
    let unnamed = format!("https://127.0.0.2:{port}/");
    let answer = word(&outbound, &unnamed, Reach::Configured).await;
    // Not listening there, or listening with a certificate that does not name it.
    assert!(
        answer == "refused" || answer == "tls_wrong_name",
        "{answer}"
    );
}

#[tokio::test]
async fn a_certificate_that_does_not_name_the_host_is_refused() {
    let issued = rcgen::generate_simple_self_signed(["other.flowgate.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let options = Options {
        tls: Some(Arc::new(server)),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let settings = OutboundSettings {
        ca: vec![issued.cert.der().clone()],
        ..OutboundSettings::for_tests()
    };
    let outbound = Outbound::new(&settings).unwrap();
    let url = simulator.origin();
    assert_eq!(
        word(&outbound, &url, Reach::Configured).await,
        "tls_wrong_name"
    );
}

#[tokio::test]
async fn the_protocol_is_what_both_sides_offer() {
    for (offered, version) in [
        (&["h2", "http/1.1"][..], http::Version::HTTP_2),
        (&["http/1.1"], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let (simulator, settings) = secure(offered).await;
        let outbound = Outbound::new(&settings).unwrap();
        let answer = fetch(&outbound, &simulator.origin(), Reach::Configured)
            .await
            .unwrap();
        assert_eq!(answer.version(), version);
    }
}

#[tokio::test]
async fn no_redirect_is_followed_by_either_client() {
    let (simulator, elsewhere) = (plain().await, plain().await);
    let outbound = Outbound::for_tests();
    let flow = simulator.flow("legacy").unwrap();
    let tenant = directory::DEMO_TENANT;
    let metadata = format!(
        "{}/{tenant}/v2.0/.well-known/openid-configuration",
        simulator.origin()
    );
    simulator.fault(
        FaultPoint::Metadata,
        Fault::Redirect(elsewhere.origin()),
        Times::Once,
    );
    simulator.fault(
        FaultPoint::Flow("legacy".into()),
        Fault::Redirect(elsewhere.origin()),
        Times::Once,
    );
    assert_eq!(
        word(&outbound, &metadata, Reach::Configured).await,
        "redirected"
    );
    let url = format!("{}{}", simulator.origin(), flow.target());
    let answer = outbound
        .flows()
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn host_is_always_that_of_the_address() {
    let simulator = plain().await;
    let flow = simulator.flow("legacy").unwrap();
    let url = format!("{}{}", simulator.origin(), flow.target());
    Outbound::for_tests()
        .flows()
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap();
    let request = Request::get(&url)
        .header("host", "evil.example")
        .body(Bytes::new())
        .unwrap();
    let _ = Outbound::for_tests()
        .fetch(request, Reach::Configured, limits())
        .await
        .unwrap();
    for received in simulator.received() {
        let expected = simulator.address().to_string();
        assert_eq!(received.header("host"), Some(expected.as_str()));
    }
}

#[test]
fn equal_settings_keep_the_clients_and_any_change_makes_new_ones() {
    let before = Outbound::for_tests();
    assert!(before.same(&before.with(&OutboundSettings::for_tests()).unwrap()));
    for changed in [
        OutboundSettings {
            ca: vec![identity(&[]).certificate],
            ..OutboundSettings::for_tests()
        },
        OutboundSettings {
            proxy: Some(crate::secret::Secret::new("http://p:1/".parse().unwrap())),
            ..OutboundSettings::for_tests()
        },
        OutboundSettings {
            no_proxy: vec!["x".into()],
            ..OutboundSettings::for_tests()
        },
        OutboundSettings {
            insecure_hosts: vec!["x".into()],
            ..OutboundSettings::for_tests()
        },
        OutboundSettings {
            connect_timeout: Duration::from_secs(6),
            ..OutboundSettings::for_tests()
        },
        OutboundSettings {
            token_timeout: Duration::from_secs(6),
            ..OutboundSettings::for_tests()
        },
        OutboundSettings {
            believe_simulator: false,
            ..OutboundSettings::for_tests()
        },
    ] {
        assert!(!before.same(&before.with(&changed).unwrap()));
    }
}

#[test]
fn a_proxy_that_is_no_http_url_and_a_certificate_that_is_none_are_refused() {
    for url in ["ftp://p/", "socks5://p:1/", "unix:/run/p"] {
        let settings = OutboundSettings {
            proxy: Some(crate::secret::Secret::new(url.parse().unwrap())),
            ..OutboundSettings::for_tests()
        };
        assert!(Outbound::new(&settings).is_err(), "{url}");
    }
    let settings = OutboundSettings {
        ca: vec![CertificateDer::from(vec![1, 2, 3])],
        ..OutboundSettings::for_tests()
    };
    assert!(Outbound::new(&settings).is_err());
}
