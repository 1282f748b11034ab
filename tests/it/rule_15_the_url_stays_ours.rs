//! Whatever subpath and query a caller sends, scheme, host, port, path prefix and reserved parameters stay as configured, byte for byte
//! (security rule 15; design decision 8). The property over the builder itself is beside it in `src/flow/url`.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use simulator::{Flow, Mode};

use crate::house::{Answer, House, KEY};
use crate::wire::Line;

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
callers:
  erp:
    api_key: { plain: { env: ERP_KEY } }
flows:
  open:
    url: { env: OPEN_URL }
    who_can_trigger: [erp]
    subpaths: true
    query: [$filter, top, sigma, "a b"]
    methods: [GET, POST]
"#;

async fn house() -> House {
    let simulator = House::simulator().await;
    let mut flow = Flow::new("open", Mode::Anyone);
    flow.relative_path = true;
    simulator.add_flow(flow);
    House::around(simulator, YAML, &[]).await
}

async fn send(line: &mut Line, target: &str) -> Answer {
    line.write(format!(
        "POST {target} HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    line.answer().await.unwrap()
}

/// The configured path and query.
fn configured(house: &House) -> (String, String) {
    let target = house.simulator.flow("open").unwrap().target();
    let (path, query) = target.split_once('?').unwrap();
    (path.to_owned(), query.to_owned())
}

/// What the flow saw last begins with what was configured; the caller's part of path and query.
fn added(house: &House) -> (String, String) {
    let (path, query) = configured(house);
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert_eq!(seen.flow, "open");
    assert_eq!(
        seen.header("host").unwrap(),
        house.simulator.address().to_string()
    );
    let (seen_path, seen_query) = seen.target.split_once('?').unwrap();
    let below = seen_path
        .strip_prefix(&path)
        .expect("the path begins as configured");
    let more = seen_query
        .strip_prefix(&query)
        .expect("the query begins as configured");
    assert!(below.is_empty() || below.starts_with('/'), "{below}");
    assert!(more.is_empty() || more.starts_with('&'), "{more}");
    (below.to_owned(), more.to_owned())
}

#[tokio::test]
async fn what_could_climb_split_or_hide_is_refused() {
    let house = house().await;
    let mut line = Line::open(house.address).await;
    for below in [
        "/..",
        "/../x",
        "/x/..",
        "/x/../y",
        "/.",
        "/./x",
        "/%2e%2e",
        "/%2E%2e/x",
        "/%252e%252e",
        "/%25252e%25252e",
        "/..;/x",
        "/..;a=b/x",
        "/%2e%2e;/x",
        "/x;y",
        "/x%3by",
        "/a%2fb",
        "/a%2Fb",
        "/a%252fb",
        "/a%5cb",
        "/a\\b",
        "//",
        "/x//y",
        "/x/",
        "/",
        "/%00",
        "/x%00y",
        "/%0d%0aX: y",
        "/%0a",
        "/%7f",
        "/%c0%ae%c0%ae",
        "/%c0%af",
        "/%ff",
        "/%e0%80%ae",
        "/...",
        "/..x",
        // For servers that take blanks away first.
        "/%20..",
        "/x/%C2%A0..%20/y",
        "/.%20",
        "/%20",
        "/%25%32%65%25%32%65",
    ] {
        if below.contains(' ') {
            continue;
        }
        let answer = send(&mut line, &format!("/open{below}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{below} {answer:?}");
        assert_eq!(answer.code(), "forbidden_path", "{below}");
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn what_is_reserved_or_unlisted_is_refused() {
    let house = house().await;
    let mut line = Line::open(house.address).await;
    for query in [
        "sig=x",
        "SIG=x",
        "Sig=x",
        "%73ig=x",
        "s%69g=x",
        "sp=x",
        "sv=1",
        "se=9",
        "api-version=2",
        "API-Version=2",
        "%61pi-version=2",
        "sig",
        "sig=",
        "&sig=x",
        "top=1&sig=x",
        "unlisted=1",
        "top=1&top=2&sig=x",
        "top=1&api%2Dversion=2",
        "TOP=1",
        "top;sig=x",
        "top=1;sig=x&sig=y",
        "=x",
        "%73%69%67=x",
        "top%00=1",
        "sig%20=x",
        "+sig=x",
        "%ff=x",
        "%2573ig=x",
    ] {
        let answer = send(&mut line, &format!("/open/x?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query} {answer:?}");
        assert_eq!(answer.code(), "forbidden_query", "{query}");
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn what_is_harmless_arrives_and_means_the_same() {
    let house = house().await;
    let mut line = Line::open(house.address).await;
    for (sent, below, more) in [
        ("/open", "", ""),
        ("/open?", "", ""),
        ("/open/users/1", "/users/1", ""),
        ("/open/a%20b/%C3%A9", "/a%20b/%C3%A9", ""),
        ("/open/a%23b", "/a%23b", ""),
        ("/open/a%3Fb", "/a%3Fb", ""),
        ("/open/50%25", "/50%25", ""),
        ("/open/50%", "/50%25", ""),
        ("/open/test%2546.txt", "/test%2546.txt", ""),
        ("/open/a%2520b/%2525", "/a%2520b/%2525", ""),
        ("/open/%2541%2542/50%2525", "/%2541%2542/50%2525", ""),
        ("/open/%41%c3%a9", "/A%C3%A9", ""),
        ("/open?top=test%2546.txt", "", "&top=test%2546.txt"),
        ("/open?top=1&top=2", "", "&top=1&top=2"),
        (
            "/open?top=1&sigma=3&t%6fp=2&top",
            "",
            "&top=1&sigma=3&top=2&top=",
        ),
        ("/open?top=%ff", "", "&top=%FF"),
        ("/open?top=%c0%ae%00%fe", "", "&top=%C0%AE%00%FE"),
        ("/open?top=M%FCller", "", "&top=M%FCller"),
        ("/open/x?top=1", "/x", "&top=1"),
        ("/open?top=%26sig%3dx", "", "&top=%26sig%3Dx"),
        ("/open?top=1+2", "", "&top=1%202"),
        (
            "/open?$filter=a%20eq%20'b'",
            "",
            "&$filter=a%20eq%20%27b%27",
        ),
        ("/open?%24filter=x", "", "&$filter=x"),
        ("/open?sigma=1", "", "&sigma=1"),
        ("/open?a+b=1&top", "", "&a%20b=1&top="),
    ] {
        let answer = send(&mut line, sent).await;
        assert_eq!(answer.status, StatusCode::OK, "{sent} {answer:?}");
        assert_eq!(added(&house), (below.to_owned(), more.to_owned()), "{sent}");
    }
}

/// Pieces that parsers disagree about.
const PIECES: &[&str] = &[
    "a",
    "b",
    "..",
    ".",
    "/",
    "//",
    "%2f",
    "%2e",
    "%252e",
    "%2541",
    "%41",
    "%e4",
    "%25",
    "%5c",
    ";",
    "%3b",
    "?",
    "&",
    "=",
    "+",
    "%26",
    "%3d",
    "%23",
    "sig",
    "SIG",
    "%73ig",
    "sp",
    "sv",
    "se",
    "api-version",
    "top",
    "$filter",
    "%00",
    "%0a",
    "%c0%ae",
    "%ff",
    "%",
    "%2",
    ":",
    "@",
    "[",
    "~",
    "'",
    "*",
    "!",
];

/// What the flow's server decodes once is what the caller's target decodes to once: segment by segment, parameter by parameter, as bytes.
fn meant_the_same(target: &str, below: &str, more: &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let once = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let segments = |path: &str| path.split('/').map(once).collect::<Vec<_>>();
    let asked = path.strip_prefix("/open").unwrap();
    assert_eq!(segments(asked), segments(below), "{target}");
    let pairs = |query: &str| {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| [name, value].map(|text| once(&text.replace('+', " "))))
            .collect::<Vec<_>>()
    };
    assert_eq!(pairs(query), pairs(more), "{target}");
}

#[tokio::test]
async fn no_target_whatever_moves_the_configured_part() {
    let house = house().await;
    let mut line = Line::open(house.address).await;
    let (path, query) = configured(&house);
    let mut runner = TestRunner::deterministic();
    let targets = prop::collection::vec(prop::sample::select(PIECES), 0..10)
        .prop_map(|pieces| pieces.concat());
    let mut passed = 0;
    for _ in 0..600 {
        let target = format!("/open{}", targets.new_tree(&mut runner).unwrap().current());
        let before = house.simulator.received().len();
        let answer = send(&mut line, &target).await;
        if answer.status != StatusCode::OK {
            assert!(
                matches!(
                    answer.code().as_str(),
                    "forbidden_path" | "forbidden_query" | "no_such_flow"
                ),
                "{target} {answer:?}"
            );
            assert_eq!(house.simulator.received().len(), before, "{target}");
            continue;
        }
        passed += 1;
        let (below, more) = added(&house);
        let seen = format!("{path}{below}?{query}{more}");
        for segment in below.split('/').skip(1) {
            let plain = percent_decode_str(segment).decode_utf8().unwrap();
            assert!(
                !plain.is_empty()
                    && plain != "."
                    && plain != ".."
                    && !plain.contains(['/', '\\', ';']),
                "{target}: {seen}"
            );
        }
        meant_the_same(&target, &below, &more);
        for pair in more.split('&').skip(1) {
            let name = percent_decode_str(pair.split('=').next().unwrap())
                .decode_utf8()
                .unwrap();
            assert!(
                ["$filter", "top", "sigma", "a b"].contains(&&*name),
                "{target}: {seen}"
            );
        }
    }
    assert!(
        passed > 20,
        "only {passed} targets were acceptable: the property says little"
    );
}
