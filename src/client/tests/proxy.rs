//! Rule 21: what goes through the corporate proxy, and what never does.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::secret::Secret;

/// A proxy that answers every CONNECT with `answer` and leads every tunnel to one address.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(answer: &'static str, target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(caller.read_u8().await.unwrap());
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                caller.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains(" 200 ") {
                    tokio::spawn(async move {
                        let mut target = TcpStream::connect(target).await.unwrap();
                        let _ = copy_bidirectional(&mut caller, &mut target).await;
                    });
                }
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn settings(&self, trusting: &OutboundSettings, no_proxy: &[&str]) -> OutboundSettings {
        let url = format!("http://gate:p%40ss%3Aword@{}", self.address);
        OutboundSettings {
            proxy: Some(Secret::new(url.parse().unwrap())),
            no_proxy: no_proxy.iter().map(|&entry| entry.to_owned()).collect(),
            ..trusting.clone()
        }
    }
}

const TUNNEL: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn https_goes_through_the_proxy_with_its_credentials_and_is_verified_end_to_end() {
    let (simulator, trusting) = secure(&["h2", "http/1.1"]).await;
    let proxy = Proxy::start(TUNNEL, simulator.address()).await;
    let outbound = Outbound::new(&proxy.settings(&trusting, &[])).unwrap();
    let url = format!("https://{ELSEWHERE}/");
    let answer = fetch(&outbound, &url, Reach::Configured).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let heads = proxy.heads();
    assert!(
        heads[0].starts_with("CONNECT idp.flowgate.test:443 HTTP/1.1\r\n"),
        "{heads:?}"
    );
    // base64 of `gate:p@ss:word`.
    assert!(heads[0].contains("Proxy-Authorization: Basic Z2F0ZTpwQHNzOndvcmQ=\r\n"));
    // Whoever sits behind the tunnel has to have the host's certificate.
    let untrusting = Outbound::new(&proxy.settings(&OutboundSettings::for_tests(), &[])).unwrap();
    assert_eq!(
        word(&untrusting, &url, Reach::Configured).await,
        "tls_unknown_authority"
    );
}

#[tokio::test]
async fn loopback_and_plain_http_never_see_the_proxy() {
    let (simulator, trusting) = secure(&["h2", "http/1.1"]).await;
    let plain = plain().await;
    let proxy = Proxy::start(TUNNEL, simulator.address()).await;
    let settings = OutboundSettings {
        insecure_hosts: vec![ELSEWHERE.into()],
        ..proxy.settings(&trusting, &[])
    };
    let outbound = Outbound::new(&settings).unwrap();
    let port = simulator.address().port();
    for url in [
        format!("https://localhost:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        plain.origin(),
    ] {
        assert!(
            fetch(&outbound, &url, Reach::Configured).await.is_ok(),
            "{url}"
        );
    }
    // Plain http to a listed host goes there itself, where no resolver knows it.
    let url = format!("http://{ELSEWHERE}/");
    assert_eq!(word(&outbound, &url, Reach::Configured).await, "dns");
    assert!(proxy.heads().is_empty());
}

#[tokio::test]
async fn no_proxy_matches_whole_labels_only() {
    let (simulator, trusting) = secure(&[]).await;
    let proxy = Proxy::start(TUNNEL, simulator.address()).await;
    let url = format!("https://{ELSEWHERE}/");
    for (entry, tunnels) in [
        ("flowgate.test", false),
        (".flowgate.test", false),
        ("IDP.flowgate.test", false),
        ("*", false),
        ("gate.test", true),
        ("x.idp.flowgate.test", true),
        ("idp.flowgate", true),
        ("10.0.0.0/8", true),
    ] {
        let outbound = Outbound::new(&proxy.settings(&trusting, &[entry])).unwrap();
        let before = proxy.heads().len();
        let _ = fetch(&outbound, &url, Reach::Configured).await;
        assert_eq!(proxy.heads().len() > before, tunnels, "{entry}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_cause() {
    let (simulator, trusting) = secure(&[]).await;
    for (answer, reason) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "proxy_authentication",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "proxy_refused"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
            "proxy_refused",
        ),
        ("SSH-2.0-OpenSSH_9.9\r\n", "proxy_refused"),
    ] {
        let proxy = Proxy::start(answer, simulator.address()).await;
        let outbound = Outbound::new(&proxy.settings(&trusting, &[])).unwrap();
        let url = format!("https://{ELSEWHERE}/");
        assert_eq!(word(&outbound, &url, Reach::Configured).await, reason);
    }
    assert_eq!(simulator.connections(), 0);
}

#[tokio::test]
async fn the_proxy_is_not_asked_for_a_discovered_private_address() {
    let (simulator, trusting) = secure(&[]).await;
    let proxy = Proxy::start(TUNNEL, simulator.address()).await;
    let outbound = Outbound::new(&proxy.settings(&trusting, &[])).unwrap();
    for host in ["10.0.0.1", "[fd00::1]", "169.254.169.254", "localhost"] {
        let url = format!("https://{host}/");
        assert_eq!(
            word(&outbound, &url, Reach::Discovered).await,
            "refused_address",
            "{host}"
        );
    }
    assert!(proxy.heads().is_empty());
    // A name is the proxy's to resolve.
    let url = format!("https://{ELSEWHERE}/");
    assert!(fetch(&outbound, &url, Reach::Discovered).await.is_ok());
}
