//! Whose answer is taken, over real sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

async fn said(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn get(port: u16, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")
}

#[tokio::test]
async fn only_a_get_of_the_root_with_our_host_and_state_is_an_answer() {
    let listener = Listener::bind(0).await.unwrap();
    let port = listener.port;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(listener.redirect(), format!("http://localhost:{port}"));
    let waiting =
        tokio::spawn(async move { listener.answer(&Secret::new("our-state".to_owned())).await });
    for (request, status) in [
        (get(port, "/?code=c&state=another"), 400),
        (get(port, "/?code=c"), 400),
        (get(port, "/?state=our-state"), 400),
        (get(port, "/?code=c&state=our-state&state=our-state"), 400),
        (get(port, "/?code=c&code=d&state=our-state"), 400),
        (get(port, "/favicon.ico"), 404),
        (get(port, "/x?code=c&state=our-state"), 404),
        (
            get(port, "/?code=c&state=our-state").replace("GET", "POST"),
            405,
        ),
        (
            get(port, "/?code=c&state=our-state").replace("localhost", "rebound.example"),
            400,
        ),
        (
            get(port, "/?code=c&state=our-state").replace("Host", "X-Host"),
            400,
        ),
    ] {
        let answer = said(address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request} {answer}"
        );
        assert!(!waiting.is_finished());
    }
    let answer = said(address, &get(port, "/?code=the-code&state=our-state")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(!answer.contains("the-code") && !answer.contains("our-state"));
    assert!(lower.contains("cache-control: no-store") && lower.contains("no-referrer"));
    match waiting.await.unwrap() {
        Answer::Code(code) => assert_eq!(code.expose(), "the-code"),
        Answer::Error { error, .. } => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_error_of_the_provider_comes_back_as_its_word_and_its_numbers_alone() {
    for (query, expected) in [
        (
            "error=access_denied&error_description=AADSTS65004%3A+User+declined.+AADSTS50076+x",
            ("access_denied", vec![65_004, 50_076]),
        ),
        (
            "error=%1b%5b31mred&error_description=AADSTS+none",
            ("unreadable", vec![]),
        ),
        ("error=server_error&code=c", ("server_error", vec![])),
    ] {
        let listener = Listener::bind(0).await.unwrap();
        let port = listener.port;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let waiting =
            tokio::spawn(async move { listener.answer(&Secret::new("s".to_owned())).await });
        said(address, &get(port, &format!("/?state=s&{query}"))).await;
        match waiting.await.unwrap() {
            Answer::Error { error, codes } => assert_eq!((error.as_str(), codes), expected),
            Answer::Code(_) => panic!("{query}"),
        }
    }
}

#[tokio::test]
async fn a_silent_connection_holds_nobody_up() {
    let listener = Listener::bind(0).await.unwrap();
    let port = listener.port;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let waiting = tokio::spawn(async move { listener.answer(&Secret::new("s".to_owned())).await });
    let _silent = TcpStream::connect(address).await.unwrap();
    said(address, &get(port, "/?state=s&code=c")).await;
    assert!(matches!(waiting.await.unwrap(), Answer::Code(_)));
}
