//! Requests at a fixed rate, whatever the answers take: every connection is a thread with a timetable, shifted against the others'.
//!
//! An answer is timed from the moment its request was due, if the one before had made it late, else from the moment the thread woke:
//! a slow answer counts for those that queue behind it (no coordinated omission), the timer's own slack does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use url::Url;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Sends for `seconds` and returns the latencies as one line of JSON. The first second of each connection is not counted.
pub fn run(url: &str, ca: &str, tokens: &str, connections: u32, rate: u32, seconds: u64) -> String {
    let url = Url::parse(url).expect("a URL");
    let token = std::fs::read_to_string(tokens).expect("the tokens");
    let request = request(&url, token.lines().next().expect("a token"));
    let period = Duration::from_secs(1) * connections / rate;
    let start = Instant::now() + Duration::from_millis(500);
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let stream = connect(&url, ca);
            let request = request.clone();
            let first = start + period * number / connections;
            std::thread::spawn(move || {
                call(
                    stream,
                    &request,
                    first,
                    period,
                    Duration::from_secs(seconds + 1),
                )
            })
        })
        .collect();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for thread in threads {
        let (of_thread, failed_there) = thread.join().expect("a caller that ends");
        latencies.extend(of_thread);
        failed += failed_there;
    }
    latencies.sort_unstable();
    let at = |share: usize| {
        latencies
            .get(latencies.len() * share / 1000)
            .copied()
            .unwrap_or(0)
    };
    serde_json::json!({
        "requests": latencies.len(), "failed": failed, "p50_us": at(500), "p90_us": at(900), "p99_us": at(990), "p999_us": at(999),
    })
    .to_string()
}

fn request(url: &Url, token: &str) -> Vec<u8> {
    let body = format!("\"{}\"", "x".repeat(1022));
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        url.path(),
        url.authority(),
        body.len()
    )
    .into_bytes()
}

fn connect(url: &Url, ca: &str) -> Box<dyn Stream> {
    let host = url.host_str().expect("a host").to_owned();
    let tcp = TcpStream::connect((host.as_str(), url.port_or_known_default().expect("a port")))
        .expect("it listens");
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    if url.scheme() == "http" {
        return Box::new(tcp);
    }
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).expect("the private CA"))
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(host).unwrap()).unwrap();
    Box::new(StreamOwned::new(tls, tcp))
}

/// Microseconds of every answer after the first second, and how many were no success.
fn call(
    stream: Box<dyn Stream>,
    request: &[u8],
    first: Instant,
    period: Duration,
    span: Duration,
) -> (Vec<u64>, usize) {
    let mut stream = BufReader::new(stream);
    let (mut latencies, mut failed) = (Vec::new(), 0);
    let mut due = first;
    while due < first + span {
        let late = Instant::now() >= due;
        if !late {
            std::thread::sleep(due - Instant::now());
        }
        let sent = if late { due } else { Instant::now() };
        stream
            .get_mut()
            .write_all(request)
            .expect("the connection stays open");
        stream.get_mut().flush().expect("the connection stays open");
        let good = answered_well(&mut stream);
        if due >= first + Duration::from_secs(1) {
            latencies.push(u64::try_from(sent.elapsed().as_micros()).unwrap());
            failed += usize::from(!good);
        }
        due += period;
    }
    (latencies, failed)
}

/// Reads one answer with a `Content-Length`, whole.
fn answered_well(stream: &mut impl BufRead) -> bool {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a status line in time");
    let good = line.starts_with("HTTP/1.1 2");
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a header line in time");
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let copied =
        std::io::copy(&mut stream.take(length), &mut std::io::sink()).expect("a body in time");
    good && copied == length
}
