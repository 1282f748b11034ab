//! Rule 17: an address out of a discovery document reaches nothing private, checked at connect time.

use super::*;

#[tokio::test]
async fn a_discovered_loopback_address_is_refused_by_literal_and_by_name_and_never_contacted() {
    let (simulator, settings) = secure(&["h2", "http/1.1"]).await;
    let outbound = Outbound::new(&settings).unwrap();
    let port = simulator.address().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
    ] {
        let url = format!("https://{host}:{port}/");
        assert_eq!(
            word(&outbound, &url, Reach::Discovered).await,
            "refused_address",
            "{host}"
        );
    }
    assert_eq!(simulator.connections(), 0);
    // The same address is fine where the operator wrote it down.
    let url = format!("https://localhost:{port}/");
    assert!(fetch(&outbound, &url, Reach::Configured).await.is_ok());
    // And a connection made for the one is not used for the other.
    assert_eq!(
        word(&outbound, &url, Reach::Discovered).await,
        "refused_address"
    );
}

#[tokio::test]
async fn a_discovered_address_is_never_fetched_by_plain_http() {
    let simulator = plain().await;
    let settings = OutboundSettings {
        insecure_hosts: vec!["idp.plant".into()],
        ..OutboundSettings::for_tests()
    };
    let outbound = Outbound::new(&settings).unwrap();
    for url in [
        simulator.origin(),
        "http://idp.plant/".to_owned(),
        "http://1.1.1.1/".to_owned(),
    ] {
        assert_eq!(
            word(&outbound, &url, Reach::Discovered).await,
            "refused_address",
            "{url}"
        );
    }
    assert_eq!(simulator.connections(), 0);
}
