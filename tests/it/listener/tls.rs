//! TLS towards callers: ALPN, deadlines, client certificates, reload.

use std::sync::Arc;
use std::time::Duration;

use flowgate::server::tls::{Error, Material, server_config};
use http::Request;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{
    AsyncReadExt, AsyncWriteExt, Body, BodyExt, Listener, ListenerSettings, TcpStream,
    TokioExecutor, TokioIo, limits, settings, soon,
};

fn identity() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn config(server: &CertifiedKey<rcgen::KeyPair>, client_ca: Option<&str>) -> ListenerSettings {
    let tls = server_config(&Material {
        certificates: server.cert.pem().as_bytes(),
        private_key: server.signing_key.serialize_pem().as_bytes(),
        client_ca: client_ca.map(str::as_bytes),
    })
    .unwrap();
    ListenerSettings {
        tls: Some(tls),
        ..settings()
    }
}

async fn connect(
    listener: &Listener,
    server: &CertifiedKey<rcgen::KeyPair>,
    client: Option<&CertifiedKey<rcgen::KeyPair>>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(server.cert.der().clone()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivatePkcs8KeyDer::from(client.signing_key.serialize_der());
            builder
                .with_client_auth_cert(vec![client.cert.der().clone()], key.into())
                .unwrap()
        }
    };
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = listener.connect().await.0;
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// One request in HTTP/1.1: the answer, or why there is none.
async fn ask(stream: std::io::Result<TlsStream<TcpStream>>) -> std::io::Result<String> {
    let mut stream = stream?;
    let request = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

#[tokio::test]
async fn alpn_chooses_the_protocol_and_silence_means_http_1() {
    let server = identity();
    let listener = Listener::with(config(&server, None), limits()).await;
    let stream = connect(&listener, &server, None, &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut http2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://localhost/echo")
        .body(Body::full("hi"))
        .unwrap();
    let answer = soon(http2.send_request(request)).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hi");
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = connect(&listener, &server, None, protocols).await;
        assert!(ask(stream).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    assert!(listener.service.tls.load(super::Ordering::SeqCst));
}

#[tokio::test]
async fn rule_28_few_strangers_hold_much_of_a_handshake() {
    let server = identity();
    let patient = ListenerSettings {
        head_timeout: Duration::from_mins(10),
        ..config(&server, None)
    };
    let listener = Listener::with(patient, limits()).await;
    // 16,000 bytes of a ClientHello of 60,000.
    let mut hello = vec![0x16, 3, 1, 0x3e, 0x80, 1, 0, 0xea, 0x60, 3, 3];
    hello.resize(5 + 16_000, b'x');
    let mut crowd = Vec::new();
    for _ in 0..300 {
        let mut stranger = listener.connect().await;
        stranger.send(&hello).await;
        crowd.push(stranger);
    }
    listener
        .until(|listener| listener.errors("tls") == 44)
        .await;
    let stream = connect(&listener, &server, None, &["http/1.1"]).await;
    assert!(ask(stream).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn rule_10_half_a_handshake_is_closed_and_cleartext_is_refused() {
    let server = identity();
    let listener = Listener::with(config(&server, None), limits()).await;
    let mut silent = listener.connect().await;
    let mut half = listener.connect().await;
    // A handshake record of 512 bytes, of which three come.
    half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01").await;
    let mut clear = listener.connect().await;
    clear.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut done = connect(&listener, &server, None, &[]).await.unwrap();
    let mut begun = connect(&listener, &server, None, &[]).await.unwrap();
    begun.write_all(b"GET / HT").await.unwrap();
    for caller in [&mut silent, &mut half, &mut clear] {
        let _ = caller.rest().await;
    }
    // The same deadline again for what should follow the handshake.
    let mut bytes = Vec::new();
    soon(done.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"");
    soon(begun.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 408 "));
    listener
        .until(|listener| listener.errors("handshake") == 2)
        .await;
    listener
        .until(|listener| listener.errors("timeout") == 2)
        .await;
    assert_eq!(listener.errors("tls"), 1);
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_not_demanded() {
    let (server, client, stranger) = (identity(), identity(), identity());
    let config = config(&server, Some(&client.cert.pem()));
    let listener = Listener::with(config, limits()).await;
    let none = connect(&listener, &server, None, &[]).await;
    assert!(ask(none).await.unwrap().starts_with("HTTP/1.1 200"));
    let unknown = connect(&listener, &server, Some(&stranger), &[]).await;
    assert!(ask(unknown).await.is_err());
    listener.until(|listener| listener.errors("tls") == 1).await;
}

#[tokio::test]
async fn new_connections_take_the_certificate_of_a_reload() {
    let (old, new) = (identity(), identity());
    let listener = Listener::with(config(&old, None), limits()).await;
    let open = connect(&listener, &old, None, &[]).await;
    listener.settings.store(Arc::new(ListenerSettings {
        head_timeout: Duration::from_secs(5),
        ..config(&new, None)
    }));
    assert!(connect(&listener, &old, None, &[]).await.is_err());
    let fresh = connect(&listener, &new, None, &[]).await;
    for stream in [open, fresh] {
        assert!(ask(stream).await.unwrap().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn material_that_does_not_fit_is_refused_by_name() {
    let (one, other) = (identity(), identity());
    let (certificates, private_key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let foreign = other.signing_key.serialize_pem();
    let given = |certificates: &str, private_key: &str, client_ca: Option<&str>| {
        server_config(&Material {
            certificates: certificates.as_bytes(),
            private_key: private_key.as_bytes(),
            client_ca: client_ca.map(str::as_bytes),
        })
        .map(drop)
    };
    assert!(given(&certificates, &private_key, None).is_ok());
    assert!(matches!(
        given("", &private_key, None),
        Err(Error::Certificate)
    ));
    assert!(matches!(
        given(&certificates, "x", None),
        Err(Error::PrivateKey)
    ));
    assert!(matches!(
        given(&certificates, &foreign, None),
        Err(Error::Mismatch(_))
    ));
    assert!(matches!(
        given(&certificates, &private_key, Some("x")),
        Err(Error::ClientCa)
    ));
}
