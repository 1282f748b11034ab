//! Rule 7: nothing of the caller's passes that the contract does not list, in heads and trailers, in any spelling, through any
//! `Connection` value, over either HTTP on either side. What should pass passes, with duplicates and order kept; what is ours is exactly
//! ours.
//!
//! The check below is written from the contract's page "What a flow gets", not from the gateway.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use simulator::{Fault, FaultPoint, Flow, Mode, Received, Reply, Times, TokenSpec, directory};
use tokio::runtime::Runtime;

use crate::house::{Answer, BASE, House, KEY};
use crate::wire::{self, h2_with};
use testkit::Authority;
use testkit::soon;

/// What the contract keeps back, besides the families of [`FAMILIES`] and what `Connection` names. `accept-encoding`: because an error that
/// is compressed cannot be checked. `host` and lengths are each hop's own.
const KEPT_BACK: &[&str] = &[
    "authorization",
    "x-api-key",
    "x-hub-signature-256",
    "stripe-signature",
    "cookie",
    "cookie2",
    "forwarded",
    "x-rewrite-url",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "http2-settings",
    "accept-encoding",
    "content-length",
    "host",
    "expect",
    "transfer-encoding",
    "upgrade",
];

const FAMILIES: &[&str] = &[
    "flowgate-",
    "x-forwarded-",
    "x-original-",
    "x-http-method",
    "x-ms-",
];

/// Names that mean something, some to a server that folds spellings. What HTTP/1 frames with, and what the gateway answers 400 to, is
/// rule 11's.
const NAMES: &[&str] = &[
    "Authorization",
    "X-Hub-Signature-256",
    "Stripe-Signature",
    "Cookie",
    "Cookie2",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-User",
    "X-Original-Url",
    "X-Original-Host",
    "X-Rewrite-Url",
    "X-Http-Method",
    "X-Http-Method-Override",
    "X-Ms-Token-Aad-Access-Token",
    "X-Ms-Client-Principal",
    "X-Ms-Workflow-Run-Id",
    "X-Ms-Client-Tracking-Id",
    "Flowgate-Caller",
    "Flowgate-Method",
    "Flowgate-Subject",
    "Flowgate-Tenant",
    "Flowgate-Client-Id",
    "Flowgate-Admin",
    "Proxy-Authorization",
    "Http2-Settings",
    "Trailer",
    "Accept-Encoding",
    "Traceparent",
    "Tracestate",
    "Accept",
    "Accept-Language",
    "User-Agent",
    "Content-Language",
    "Origin",
    "Referer",
    "If-None-Match",
    "Range",
    "Via",
    "Baggage",
    "Idempotency-Key",
    "X-Request-Id",
    "X-Custom",
    "X-Custom-",
    "X--Custom",
    "Xforwarded-For",
    "Flowgate",
    "X-Ms",
    "Max-Forwards",
];

/// Names only HTTP/1 can carry.
const NAMES_1: &[&str] = &["Keep-Alive", "Proxy-Connection", "TE"];

#[derive(Clone, Debug)]
struct Call {
    /// Spelled as the caller spells them.
    lines: Vec<(String, Vec<u8>)>,
    /// Values of `Connection`.
    connection: Vec<String>,
    trailers: Vec<(String, Vec<u8>)>,
    chunked: bool,
}

/// The name with some letters' case and some dashes changed.
fn spelled(name: &str, changes: u64) -> String {
    let mut changes = changes;
    let mut turn = |of: u64| {
        let turned = changes % of;
        changes = (changes / of).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1 | changes >> 3;
        turned
    };
    name.chars()
        .map(|letter| match (letter, turn(6)) {
            ('-', 1) => '_',
            ('-', 2) => '.',
            (letter, 3) => letter.to_ascii_uppercase(),
            (letter, 4) => letter.to_ascii_lowercase(),
            (letter, _) => letter,
        })
        .collect()
}

fn names(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    // Half of them as everybody writes them.
    (
        prop::sample::select(all),
        prop_oneof![Just(0), any::<u64>()],
    )
        .prop_map(|(name, changes)| spelled(name, changes))
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[!-~]([ -~]{0,20}[!-~])?".prop_map(String::into_bytes),
        Just(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec()),
        Just(b"Bearer ey".to_vec()),
        Just("f\u{fc}r".as_bytes().to_vec()),
        Just(b"erp".to_vec()),
    ]
}

fn lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::vec((names(NAMES), values()), 0..12)
}

fn calls(version: Version) -> impl Strategy<Value = Call> {
    let only_1 = prop::collection::vec((names(NAMES_1), values()), 0..3);
    let connection = prop::collection::vec(
        prop::collection::vec(names(NAMES), 0..4).prop_map(|names| names.join(", ")),
        0..3,
    );
    (lines(), only_1, connection, lines(), any::<bool>()).prop_map(
        move |(mut lines, only_1, connection, trailers, chunked)| {
            let http1 = version == Version::HTTP_11;
            if http1 {
                lines.extend(only_1);
            }
            // Beside the key, a bearer, a second line or a comma would be a second credential.
            let authorization = |name: &str| name.eq_ignore_ascii_case("authorization");
            let mut one = false;
            lines.retain(|(name, _)| !authorization(name) || !std::mem::replace(&mut one, true));
            for (_, value) in lines.iter_mut().filter(|(name, _)| authorization(name)) {
                *value = b"Basic anVuaw==".to_vec();
            }
            let named = |name: &str| {
                connection
                    .iter()
                    .any(|value| value.to_ascii_lowercase().contains(name))
            };
            Call {
                lines,
                connection: if http1 && !named("content-length") {
                    connection
                } else {
                    Vec::new()
                },
                trailers,
                chunked,
            }
        },
    )
}

const BODY: &[u8] = b"body";

impl Call {
    async fn send(&self, house: &House, version: Version) -> Answer {
        if version == Version::HTTP_2 {
            let mut request = Request::post(format!("http://{}/order-created", house.address))
                .header("x-api-key", KEY);
            for (name, value) in &self.lines {
                request = request.header(name.to_ascii_lowercase(), &value[..]);
            }
            let trailers = map(&self.trailers);
            return h2_with(
                house.address,
                request.body(()).unwrap(),
                &[BODY],
                Some(trailers),
            )
            .await
            .unwrap();
        }
        let mut bytes =
            format!("POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n").into_bytes();
        let connection = self
            .connection
            .iter()
            .map(|value| ("Connection", value.as_bytes()));
        let lines = self
            .lines
            .iter()
            .map(|(name, value)| (name.as_str(), &value[..]));
        for (name, value) in connection.chain(lines) {
            line(&mut bytes, name, value);
        }
        if self.chunked {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n");
            for (name, value) in &self.trailers {
                line(&mut bytes, name, value);
            }
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(b"Content-Length: 4\r\n\r\nbody");
        }
        wire::raw(house.address, bytes).await
    }

    /// Whether a line may reach the flow.
    fn passes(&self, name: &str) -> bool {
        let folded = name.to_ascii_lowercase().replace(['_', '.'], "-");
        let named = self.connection.iter().any(|value| {
            let mut names = value
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase().replace(['_', '.'], "-"));
            names.any(|name| name == folded)
        });
        !(named
            || KEPT_BACK.contains(&&*folded)
            || FAMILIES.iter().any(|family| folded.starts_with(family)))
    }

    /// The one value of a header that is neither repeated nor declared hop-by-hop.
    fn only(&self, name: &str) -> Option<&[u8]> {
        let named = self.connection.iter().any(|value| {
            value
                .split(',')
                .any(|one| one.trim().to_ascii_lowercase().replace(['_', '.'], "-") == name)
        });
        let mut values = self
            .lines
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) if !named => Some(value),
            _ => None,
        }
    }

    /// Every header the flow should have got, but those whose value is not known beforehand.
    fn expected(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut expected = BTreeMap::<String, Vec<Vec<u8>>>::new();
        for (name, value) in &self.lines {
            let folded = name.to_ascii_lowercase().replace(['_', '.'], "-");
            if self.passes(name) && !folded.starts_with("trace") {
                expected
                    .entry(name.to_ascii_lowercase())
                    .or_default()
                    .push(value.clone());
            }
        }
        for (name, value) in [
            ("content-length", "4"),
            ("flowgate-caller", "erp"),
            ("flowgate-method", "api_key"),
        ] {
            expected.insert(name.into(), vec![value.into()]);
        }
        expected
    }
}

fn line(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

fn map(lines: &[(String, Vec<u8>)]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    let lines = lines
        .iter()
        .map(|(key, value)| (name(key), HeaderValue::from_bytes(value).unwrap()));
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name, value);
    }
    map
}

/// Compares what arrived with what should have.
fn judge(call: &Call, answer: &Answer, seen: &Received) {
    let mut arrived = BTreeMap::<String, Vec<Vec<u8>>>::new();
    for (name, value) in &seen.headers {
        arrived
            .entry(name.to_string())
            .or_default()
            .push(value.as_bytes().to_vec());
    }
    let mut one = |name: &str| {
        let mut values = arrived.remove(name).unwrap_or_default();
        assert_eq!(values.len(), 1, "{name}");
        values.remove(0)
    };
    assert!(one("authorization").starts_with(b"Bearer ey"));
    assert_ne!(seen.header("authorization"), Some("Bearer ey"));
    let tracking = call.only("x-ms-client-tracking-id").map_or_else(
        || answer.headers["x-request-id"].as_bytes().to_vec(),
        <[u8]>::to_vec,
    );
    assert_eq!(one("x-ms-client-tracking-id"), tracking);
    let parent = one("traceparent");
    assert_eq!(parent.len(), 55);
    let own = call
        .only("traceparent")
        .filter(|own| own.len() == 55 && own.starts_with(b"00-"));
    let states: Vec<_> = call
        .lines
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("tracestate"))
        .map(|(_, value)| value.clone())
        .collect();
    let found = arrived.remove("tracestate").unwrap_or_default();
    if let Some(own) = own {
        assert_eq!(parent, own);
        assert!(found == states || found.is_empty() && !call.passes("tracestate"));
    } else {
        assert!(found.is_empty());
        assert!(call.lines.iter().all(|(_, value)| *value != parent));
    }
    arrived.remove("host");
    assert_eq!(arrived, call.expected());
    assert!(seen.trailers.is_empty());
    assert_eq!(&seen.body[..], BODY);
}

fn holds(caller: Version, flow: Version) {
    let runtime = Runtime::new().unwrap();
    let authority = Authority::fresh();
    let protocol = if flow == Version::HTTP_2 {
        "h2"
    } else {
        "http/1.1"
    };
    let house = runtime.block_on(async {
        let yaml = format!("{BASE}outbound: {{ ca: \"${{CA}}\" }}\n");
        let simulator = authority.simulator(&[protocol]).await;
        House::around(simulator, &yaml, &[("CA", &authority.path())]).await
    });
    let config = Config {
        cases: 100,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&calls(caller), |call| {
            runtime.block_on(soon(async {
                house.simulator.clear_records();
                let answer = call.send(&house, caller).await;
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                let received = house.simulator.received();
                assert_eq!(received.len(), 1);
                assert_eq!(received[0].version, flow);
                judge(&call, &answer, &received[0]);
            }));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let _guard = runtime.enter();
    drop(house);
}

#[test]
fn from_http1_to_http1_only_what_is_listed_passes() {
    holds(Version::HTTP_11, Version::HTTP_11);
}

#[test]
fn from_http1_to_http2_only_what_is_listed_passes() {
    holds(Version::HTTP_11, Version::HTTP_2);
}

#[test]
fn from_http2_to_http1_only_what_is_listed_passes() {
    holds(Version::HTTP_2, Version::HTTP_11);
}

#[test]
fn from_http2_to_http2_only_what_is_listed_passes() {
    holds(Version::HTTP_2, Version::HTTP_2);
}

#[tokio::test]
async fn identity_headers_are_those_of_the_proven_caller_whoever_forges_them() {
    let house = House::standard().await;
    let token = house.token(|spec| spec);
    let claims = house.simulator.claims(&TokenSpec::app());
    let mut request =
        Request::post("/order-created").header("authorization", format!("Bearer {token}"));
    for name in [
        "caller",
        "method",
        "subject",
        "tenant",
        "client-id",
        "roles",
    ] {
        for spelling in [
            format!("Flowgate-{name}"),
            format!("flowgate_{}", name.replace('-', "_")),
            format!("FLOWGATE.{name}"),
        ] {
            request = request.header(spelling, "forged");
        }
    }
    let request = request.header(
        "connection",
        "flowgate-caller, flowgate-subject, authorization",
    );
    let answer = house.send(request.body("{}").unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let received = house.simulator.received();
    let own: Vec<(&str, &str)> = received[0]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .filter(|(name, _)| name.starts_with("flowgate"))
        .collect();
    let mut expected = vec![
        ("flowgate-caller", "billing"),
        ("flowgate-method", "entra"),
        ("flowgate-subject", claims["oid"].as_str().unwrap()),
        ("flowgate-tenant", directory::DEMO_TENANT),
        ("flowgate-client-id", directory::CALLER_APP),
    ];
    expected.sort_unstable();
    let mut own = own;
    own.sort_unstable();
    assert_eq!(own, expected);
    assert!(received[0].header("authorization").unwrap() != format!("Bearer {token}"));
}

#[tokio::test]
async fn a_post_without_content_says_so_and_a_get_says_nothing() {
    let authority = Authority::fresh();
    for protocol in ["http/1.1", "h2"] {
        let simulator = authority.simulator(&[protocol]).await;
        let mut reading = Flow::new("reading", Mode::Tenant);
        reading.method = "GET".into();
        simulator.add_flow(reading);
        let yaml = format!(
            "{BASE}  reading:\n    url: {{ env: READING_URL }}\n    who_can_trigger: [erp]\n    methods: [GET, HEAD]\noutbound: {{ ca: \"${{CA}}\" }}\n"
        );
        let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
        for (method, path, length) in [
            ("POST", "/order-created", Some("0")),
            ("GET", "/reading", None),
        ] {
            house.simulator.clear_records();
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("x-api-key", KEY);
            let answer = house.send(request.body("").unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(
                house.simulator.received()[0].header("content-length"),
                length
            );
        }
        // The length of what would have come is not a body that broke off.
        let head = Fault::Status {
            status: 200,
            headers: Vec::new(),
            body: "twenty bytes of body".into(),
        };
        house
            .simulator
            .fault(FaultPoint::Flow("reading".into()), head, Times::Once);
        let request = Request::head("/reading").header("x-api-key", KEY);
        let answer = house.send(request.body("").unwrap()).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::OK, 0),
            "{protocol}"
        );
    }
}

#[tokio::test]
async fn a_flows_trailers_do_not_reach_the_caller() {
    let authority = Authority::fresh();
    let mut trailers = HeaderMap::new();
    trailers.insert("flowgate-caller", HeaderValue::from_static("forged"));
    trailers.insert("set-cookie", HeaderValue::from_static("a=b"));
    for protocol in ["http/1.1", "h2"] {
        let simulator = authority.simulator(&[protocol]).await;
        simulator.set_flow("order-created", |flow| {
            flow.response = Reply::Verbatim {
                status: 200,
                headers: HeaderMap::new(),
                body: "{}".into(),
                trailers: Some(trailers.clone()),
            };
        });
        let yaml = format!("{BASE}outbound: {{ ca: \"${{CA}}\" }}\n");
        let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
        let request = format!(
            "POST /order-created HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n"
        );
        let mut line = wire::Line::open(house.address).await;
        line.write(request).await;
        let (bytes, answer) = line.whole_answer().await.unwrap();
        assert_eq!(answer.body, "{}");
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        assert!(
            text.ends_with("\r\n0\r\n\r\n") && !text.contains("forged"),
            "{text}"
        );
    }
}
