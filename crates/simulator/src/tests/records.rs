//! Records, protocols and the end of a simulator.

use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const BODY: &str = "{\"order\":7}";

#[tokio::test]
async fn a_record_holds_the_request_as_it_arrived() {
    let simulator = simulator().await;
    let target = format!("{}&x=%2e%2E", simulator.flow("legacy").unwrap().target());
    let mut socket = TcpStream::connect(simulator.address()).await.unwrap();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: odd\r\nX-B: 1\r\nX-A: 2\r\nX-B: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let record = simulator.received().pop().unwrap();
    assert_eq!(
        (record.flow.as_str(), record.method.as_str()),
        ("legacy", "POST")
    );
    assert_eq!(record.target, target);
    assert_eq!(record.version, http::Version::HTTP_11);
    assert_eq!(record.header("host"), Some("odd"));
    assert_eq!(record.header_values("X-B").collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(record.body, "abcde");
    assert_eq!(record.trailers[0].0, "x-trailer");
    assert!(record.complete && record.ran);
    assert_eq!(record.fate, Fate::Answered(200));
    let shown = format!("{record:?}");
    assert!(!shown.contains(&simulator.flow("legacy").unwrap().sig) && !shown.contains("odd"));
}

#[tokio::test]
async fn an_unknown_path_is_recorded_without_a_flow() {
    let simulator = simulator().await;
    assert_eq!(
        post(&format!("{}/nowhere", simulator.origin()), &[], BODY)
            .await
            .status,
        404
    );
    let record = &simulator.received()[0];
    assert_eq!(
        (record.flow.as_str(), record.target.as_str(), record.ran),
        ("", "/nowhere", false)
    );
    simulator.clear_records();
    assert!(simulator.received().is_empty());
}

#[tokio::test]
async fn a_body_that_breaks_off_starts_no_run() {
    let simulator = simulator().await;
    let target = simulator.flow("legacy").unwrap().target();
    let mut socket = TcpStream::connect(simulator.address()).await.unwrap();
    let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    socket.write_all(request.as_bytes()).await.unwrap();
    simulator
        .until(|s| s.received().first().is_some_and(|r| r.body == "half"))
        .await;
    drop(socket);
    simulator
        .until(|s| s.received()[0].fate != Fate::Waiting)
        .await;
    let record = &simulator.received()[0];
    assert!(!record.complete && !record.ran);
    assert_eq!(simulator.runs("legacy"), 0);
}

#[tokio::test]
async fn http2_is_spoken_in_the_clear_with_prior_knowledge() {
    let simulator = simulator().await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let body = futures_util::stream::iter([Ok::<_, io::Error>(Frame::data(Bytes::from_static(
        BODY.as_bytes(),
    )))]);
    let request = Request::post(simulator.flow_url("legacy"))
        .body(StreamBody::new(body))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    answer.into_body().collect().await.unwrap();
    simulator
        .until(|s| s.received()[0].fate == Fate::Answered(200))
        .await;
    let record = &simulator.received()[0];
    assert_eq!(record.version, http::Version::HTTP_2);
    assert_eq!(record.authority, Some(simulator.address().to_string()));
    assert_eq!(record.body, BODY);
}

#[tokio::test]
async fn tls_offers_both_protocols() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let simulator = Simulator::start(Options {
        tls: Some(Arc::new(tls)),
        ..Options::default()
    })
    .await
    .unwrap();
    assert!(simulator.origin().starts_with("https://127.0.0.1:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for both in [true, false] {
        let builder = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config.clone())
            .https_only();
        let connector = if both {
            builder.enable_all_versions().build()
        } else {
            builder.enable_http1().build()
        };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let target = simulator.flow("legacy").unwrap().target();
        let url = format!("https://localhost:{}{target}", simulator.address().port());
        let answer = client
            .request(request("POST", &url, &[], BODY))
            .await
            .unwrap();
        let expected = if both {
            http::Version::HTTP_2
        } else {
            http::Version::HTTP_11
        };
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, expected)
        );
    }
    assert_eq!(simulator.connections(), 2);
}

#[tokio::test]
async fn a_verbatim_answer_keeps_every_header_and_sends_trailers() {
    let simulator = simulator().await;
    let mut headers = HeaderMap::new();
    headers.append("set-cookie", "a=b".parse().unwrap());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    simulator.set_flow("legacy", |flow| {
        flow.response = Reply::Verbatim {
            status: 207,
            headers,
            body: "ok".into(),
            trailers: Some(trailers),
        };
    });
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let answer = client
        .request(request("POST", &simulator.flow_url("legacy"), &[], BODY))
        .await
        .unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["set-cookie"].as_bytes()
        ),
        (207, &b"a=b"[..])
    );
    assert_eq!(answer.headers().get("x-ms-workflow-run-id"), None);
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-end"], "1");
}

#[tokio::test]
async fn a_streamed_answer_has_no_length_and_comes_to_its_end() {
    let simulator = simulator().await;
    simulator.set_flow("legacy", |flow| {
        flow.response = Reply::Streamed {
            chunk: Bytes::from(vec![b'x'; 1000]),
            count: 100,
        };
    });
    let got = post(&simulator.flow_url("legacy"), &[], BODY).await;
    assert_eq!(got.header("content-length"), None);
    assert_eq!(got.body.len(), 100_000);
    simulator
        .until(|s| s.received()[0].fate == Fate::Answered(200))
        .await;
}

#[tokio::test]
async fn a_flow_s_gate_holds_its_answer_after_the_run_has_started() {
    let simulator = simulator().await;
    let gate = Gate::closed();
    simulator.set_flow("legacy", |flow| flow.gate = Some(gate.clone()));
    let waiting = tokio::spawn({
        let simulator = simulator.clone();
        async move { post(&simulator.flow_url("legacy"), &[], BODY).await }
    });
    simulator.until(|s| s.runs("legacy") == 1).await;
    gate.open();
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn only_so_many_records_are_kept_and_runs_are_counted_all_the_same() {
    let simulator = Simulator::start(Options {
        keep: 2,
        ..Options::default()
    })
    .await
    .unwrap();
    for _ in 0..3 {
        post(&simulator.flow_url("legacy"), &[], BODY).await;
    }
    assert_eq!(simulator.received().len(), 2);
    assert_eq!(simulator.runs("legacy"), 3);
}

#[tokio::test]
async fn the_log_has_a_line_per_request_and_no_secret() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = lines.clone();
    let simulator = Simulator::start(Options {
        log: Some(Arc::new(move |line: &str| {
            sink.lock().unwrap().push(line.to_owned());
        })),
        ..Options::default()
    })
    .await
    .unwrap();
    flow_token(&simulator, true).await;
    post(&simulator.flow_url("legacy"), &[], BODY).await;
    form(&simulator.token_url(directory::DEMO_TENANT, true), &[]).await;
    let lines = lines.lock().unwrap().clone();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], "flow legacy POST 200");
    assert!(lines[2].ends_with("400 AADSTS900144"), "{}", lines[2]);
    assert!(
        !lines
            .join("")
            .contains(&simulator.flow("legacy").unwrap().sig)
    );
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_port_and_its_connections() {
    let simulator = simulator().await;
    let address = simulator.address();
    let mut socket = TcpStream::connect(address).await.unwrap();
    simulator
        .until(|s| s.connections() == 1 || s.received().is_empty())
        .await;
    let other = simulator.clone();
    drop(simulator);
    assert!(TcpStream::connect(address).await.is_ok());
    drop(other);
    let mut buffer = [0];
    assert!(matches!(socket.read(&mut buffer).await, Ok(0) | Err(_)));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
