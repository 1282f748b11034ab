//! `anyone` never borrows the gateway's identity by accident, and its identity headers are ours or none (security rule 16).

use flowgate::config;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use crate::house::{BASE, House, KEY, environment};
use crate::wire::{h2_with, raw};

/// A configuration whose `legacy` entry is this.
fn with_legacy(entry: &str) -> String {
    let start = BASE.find("  legacy:").unwrap();
    format!(
        "{}  legacy:\n    url: {{ env: LEGACY_URL }}\n{entry}",
        &BASE[..start]
    )
}

#[tokio::test]
async fn every_way_to_give_our_identity_to_everybody_fails_the_check() {
    let simulator = House::simulator().await;
    let environment = environment(&simulator, &[]);
    let clock = flowgate::clock::Clock::system();
    let check = |entry: &str| {
        config::parse(&with_legacy(entry), &environment, &clock)
            .map_err(|problems| problems.to_string())
    };
    for (entry, word) in [
        (
            "    who_can_trigger: anyone\n",
            "defaults.flow.credential applies here",
        ),
        (
            "    who_can_trigger: [anyone]\n",
            "defaults.flow.credential applies here",
        ),
        (
            "    who_can_trigger: anyone\n    credential: flows\n",
            "lets everybody act as the gateway",
        ),
        (
            "    who_can_trigger: anyone\n    credential: flows\n    open: false\n",
            "lets everybody act as the gateway",
        ),
        (
            "    who_can_trigger: [anyone, erp]\n    credential: none\n",
            "listed beside callers' names",
        ),
        (
            "    who_can_trigger: [erp, anyone]\n    credential: none\n",
            "listed beside callers' names",
        ),
        (
            "    who_can_trigger: anyone\n    credential: none\n    subpaths: true\n",
            "open everything below",
        ),
        (
            "    who_can_trigger: anyone\n    credential: flows\n    open: true\n    subpaths: true\n",
            "open everything below",
        ),
    ] {
        let problems = check(entry).err().unwrap_or_default();
        assert!(problems.contains(word), "{entry}: {problems}");
    }
    for entry in [
        "    who_can_trigger: anyone\n    credential: none\n",
        "    who_can_trigger: anyone\n    credential: flows\n    open: true\n",
        "    who_can_trigger: [erp]\n    credential: none\n    subpaths: true\n",
    ] {
        assert!(check(entry).is_ok(), "{entry}");
    }
}

#[tokio::test]
async fn no_caller_can_be_named_anyone_and_no_credential_none() {
    let simulator = House::simulator().await;
    let environment = environment(&simulator, &[]);
    let clock = flowgate::clock::Clock::system();
    for yaml in [
        BASE.replace("  erp:\n", "  anyone:\n")
            .replace("[erp", "[anyone"),
        BASE.replace("  flows:\n    client_secret", "  none:\n    client_secret")
            .replace("credential: flows", "credential: none"),
    ] {
        assert!(
            config::parse(&yaml, &environment, &clock).is_err(),
            "{yaml}"
        );
    }
}

#[tokio::test]
async fn an_open_flow_is_called_as_the_gateway_only_where_that_is_said() {
    let house = House::open(&with_legacy(
        "    who_can_trigger: anyone\n    credential: none\n",
    ))
    .await;
    let answer = house
        .send(
            Request::post("/legacy")
                .header("authorization", "Bearer mine")
                .body("")
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(house.simulator.received()[0].header("authorization"), None);

    let yaml = BASE.replace(
        "who_can_trigger: [staff]",
        "who_can_trigger: anyone\n    open: true",
    );
    let house = House::open(&yaml).await;
    let answer = house.send(Request::post("/report").body("").unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        house.simulator.received()[0]
            .header("authorization")
            .unwrap()
            .starts_with("Bearer ey")
    );
}

/// Names that somebody behind the gateway could read as one of ours.
const FORGED: &[&str] = &[
    "Flowgate-Caller",
    "flowgate-caller",
    "FLOWGATE-CALLER",
    "flowgate_caller",
    "Flowgate.Caller",
    "flowgate-Caller",
    "flowgate_method",
    "Flowgate-Subject",
    "flowgate-tenant",
    "flowgate.client_id",
    "Flowgate-Client-Id",
    "flowgate-anything-to-come",
    "flowgate_",
];

/// The headers of ours the flow saw, in the one spelling.
fn ours(house: &House) -> Pairs {
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert_eq!(seen.trailers.len(), 0);
    let mut found: Pairs = seen
        .headers
        .iter()
        .filter(|(name, _)| {
            name.as_str()
                .replace(['_', '.'], "-")
                .starts_with("flowgate")
        })
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    found.sort();
    found
}

/// Names and values, sorted by name.
type Pairs = Vec<(String, String)>;

fn pairs(wanted: &[(&str, &str)]) -> Pairs {
    wanted
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn forged_identity_headers_never_arrive() {
    let house = House::open(&with_legacy(
        "    who_can_trigger: anyone\n    credential: none\n",
    ))
    .await;
    let token = format!("Bearer {}", house.token(|spec| spec));
    let callers: &[(&str, String, Pairs)] = &[
        (
            "/legacy",
            String::new(),
            pairs(&[("flowgate-caller", "anyone"), ("flowgate-method", "anyone")]),
        ),
        (
            "/order-created",
            format!("X-Api-Key: {KEY}\r\n"),
            pairs(&[("flowgate-caller", "erp"), ("flowgate-method", "api_key")]),
        ),
        (
            "/order-created",
            format!("Authorization: {token}\r\n"),
            pairs(&[
                ("flowgate-caller", "billing"),
                ("flowgate-client-id", simulator::directory::CALLER_APP),
                ("flowgate-method", "entra"),
                ("flowgate-subject", simulator::directory::CALLER_OBJECT),
                ("flowgate-tenant", simulator::directory::DEMO_TENANT),
            ]),
        ),
    ];
    let forged: String = FORGED
        .iter()
        .map(|name| format!("{name}: forged\r\n{name}: twice\r\n"))
        .collect();
    for (path, proof, wanted) in callers {
        for connection in [
            "",
            "Connection: flowgate-caller, Flowgate-Method\r\n",
            "Connection: close, flowgate_caller\r\n",
        ] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: gateway\r\n{proof}{connection}{forged}Trailer: Flowgate-Caller\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nFlowgate-Caller: forged\r\nflowgate_subject: forged\r\n\r\n"
            );
            let answer = raw(house.address, request).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {answer:?}");
            assert_eq!(&ours(&house), wanted, "{path} {proof} {connection}");
        }
        let mut request = Request::post(format!("http://gateway{path}"));
        for name in FORGED {
            request = request.header(name.to_ascii_lowercase(), "forged");
        }
        if let Some((name, value)) = proof.trim().split_once(": ") {
            request = request.header(name, value);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("flowgate-caller", HeaderValue::from_static("forged"));
        let answer = h2_with(
            house.address,
            request.version(http::Version::HTTP_2).body(()).unwrap(),
            &[b"{}"],
            Some(trailers),
        )
        .await;
        assert_eq!(answer.unwrap().status, StatusCode::OK, "{path}");
        assert_eq!(&ours(&house), wanted, "{path} over HTTP/2");
    }
}
