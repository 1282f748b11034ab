//! The way out, over real sockets.

mod answers;
mod flows;
mod handshakes;
mod proxy;
mod rule_01_never_twice;
mod rule_17_discovered_addresses;
mod rule_21_outbound_trust;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{FetchError, Limits, Outbound, OutboundSettings, Reach};
use crate::body::Body;
use simulator::{Options, Simulator};

/// A name no resolver knows: it is reached through a proxy or not at all.
const ELSEWHERE: &str = "idp.flowgate.test";

/// The flow that calls.
const FLOW: &str = "order-created";

/// For calls whose time to answer does not matter.
const PATIENCE: Duration = Duration::from_mins(2);

/// A certificate of its own for loopback and [`ELSEWHERE`], and a server that has it.
struct Identity {
    certificate: CertificateDer<'static>,
    server: rustls::ServerConfig,
}

fn identity(protocols: &[&str]) -> Identity {
    let names = ["localhost", "127.0.0.1", ELSEWHERE].map(str::to_owned);
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Identity {
        certificate: issued.cert.der().clone(),
        server,
    }
}

async fn plain() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

/// A simulator behind TLS, and settings that trust it.
async fn secure(protocols: &[&str]) -> (Simulator, OutboundSettings) {
    let identity = identity(protocols);
    let options = Options {
        tls: Some(Arc::new(identity.server)),
        ..Options::default()
    };
    let settings = OutboundSettings {
        ca: vec![identity.certificate],
        ..OutboundSettings::for_tests()
    };
    (Simulator::start(options).await.unwrap(), settings)
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

fn limits() -> Limits {
    Limits {
        within: Duration::from_secs(10),
        bytes: 64 * 1024,
    }
}

async fn fetch(
    outbound: &Outbound,
    url: &str,
    reach: Reach,
) -> Result<Response<Bytes>, FetchError> {
    outbound.fetch(get(url), reach, limits()).await
}

/// The fixed word of what came of it.
async fn word(outbound: &Outbound, url: &str, reach: Reach) -> String {
    match fetch(outbound, url, reach).await {
        Ok(answer) => answer.status().to_string(),
        Err(error) => error.reason().word().to_owned(),
    }
}

fn post(url: &str) -> Request<Body> {
    Request::post(url).body(Body::full("{}")).unwrap()
}
