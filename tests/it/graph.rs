//! Microsoft Graph as an upstream: Planner's tasks as an application and as the user who calls, with Graph's own headers, queries and errors.

use simulator::directory::{API_APP, DEMO_TENANT};

use http::{Method, Request};
use serde_json::{Value, json};
use simulator::{ClientSecret, Fault, FaultPoint, Received, Service, Times, TokenSpec};

use crate::house::{Answer, House, KEY};

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
  staff: { entra: { audience: ["${API}", "api://${API}"] } }
credentials:
  application:
    client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET }, scope: "https://graph.microsoft.com/.default" }
  as-the-caller:
    on_behalf_of: { client_id: "${API}", secret: { env: API_SECRET }, scope: ["https://graph.microsoft.com/Tasks.ReadWrite"] }
flows:
  planner:
    url: "${GRAPH}/planner"
    subpaths: true
    query: [$select, $filter, $top, $expand]
    methods: [GET, POST, PATCH, DELETE]
    who_can_trigger: [erp]
    credential: application
  my-planner:
    url: "${GRAPH}/planner"
    subpaths: true
    query: [$select]
    methods: [GET, POST, PATCH, DELETE]
    who_can_trigger: [staff]
    credential: as-the-caller
"#;

async fn house() -> House {
    let simulator = House::simulator().await;
    simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.secrets = vec![ClientSecret::new("api-secret")];
    });
    let graph = simulator.graph_url();
    let more = [("GRAPH", graph.as_str()), ("API_SECRET", "api-secret")];
    House::around(simulator, YAML, &more).await
}

/// How a caller proves itself: a header and its value.
type Proof = (&'static str, String);

async fn call(
    house: &House,
    proof: &Proof,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(proof.0, &proof.1)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    house.send(request.body(body.to_owned()).unwrap()).await
}

fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn last(house: &House) -> Received {
    house.simulator.requests_to(Service::Graph).pop().unwrap()
}

/// A task's whole life, under `path`.
async fn life(house: &House, proof: &Proof, path: &str) {
    let task =
        json!({ "planId": "xqQg5FS2LkCp935s-FIFm2QAFkHM", "title": "Call back" }).to_string();
    let made = call(
        house,
        proof,
        Method::POST,
        &format!("{path}/tasks"),
        &[],
        &task,
    )
    .await;
    assert_eq!(made.status, 201, "{made:?}");
    // It would name Graph's address for the object; the id is in the body (security rule 8).
    assert!(!made.headers.contains_key("location"));
    let id = document(&made)["id"].as_str().unwrap().to_owned();
    let one = format!("{path}/tasks/{id}");

    let read = call(
        house,
        proof,
        Method::GET,
        &format!("{one}?$select=title"),
        &[],
        "",
    )
    .await;
    assert_eq!(
        (read.status.as_u16(), &document(&read)["title"]),
        (200, &json!("Call back"))
    );
    let tag = read.headers["etag"].to_str().unwrap().to_owned();

    let change = r#"{"percentComplete":50}"#;
    let none = call(house, proof, Method::PATCH, &one, &[], change).await;
    assert_eq!(
        (none.status.as_u16(), &document(&none)["error"]["code"]),
        (400, &json!("BadRequest"))
    );
    let stale = [("if-match", "W/\"old\"")];
    let stale = call(house, proof, Method::PATCH, &one, &stale, change).await;
    assert_eq!(
        (stale.status.as_u16(), stale.code()),
        (412, String::new()),
        "Graph's own answer"
    );
    let fresh = [
        ("if-match", tag.as_str()),
        ("prefer", "return=representation"),
    ];
    let fresh = call(house, proof, Method::PATCH, &one, &fresh, change).await;
    assert_eq!(
        (fresh.status.as_u16(), &document(&fresh)["percentComplete"]),
        (200, &json!(50))
    );
    assert_eq!(fresh.headers["preference-applied"], "return=representation");
    assert!(fresh.headers.contains_key("request-id"));

    let tag = document(&fresh)["@odata.etag"].as_str().unwrap().to_owned();
    let gone = call(
        house,
        proof,
        Method::DELETE,
        &one,
        &[("if-match", &tag)],
        "",
    )
    .await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    let gone = call(house, proof, Method::GET, &one, &[], "").await;
    assert_eq!(
        (gone.status.as_u16(), &document(&gone)["error"]["code"]),
        (404, &json!("ResourceNotFound"))
    );
}

#[tokio::test]
async fn a_task_lives_its_life_as_the_application_and_as_the_user_who_calls() {
    let house = house().await;
    let user = house.simulator.issue(&TokenSpec::user());
    life(&house, &("x-api-key", KEY.to_owned()), "/planner").await;
    life(
        &house,
        &("authorization", format!("Bearer {user}")),
        "/my-planner",
    )
    .await;
    for seen in house.simulator.requests_to(Service::Graph) {
        assert!(!seen.header("authorization").unwrap().contains(&user));
    }
}

#[tokio::test]
async fn queries_reach_graph_as_they_were_meant_and_unlisted_ones_do_not() {
    let house = house().await;
    let proof = ("x-api-key", KEY.to_owned());
    for (sent, arrives) in [
        (
            "$filter=startswith(title,'A%20%26%20B')",
            "$filter=startswith(title,'A & B')",
        ),
        (
            "%24filter=percentComplete+lt+100&$top=5",
            "$filter=percentComplete lt 100&$top=5",
        ),
        (
            "$expand=details($select=description)",
            "$expand=details($select=description)",
        ),
        ("$select=a&$select=b", "$select=a&$select=b"),
    ] {
        call(
            &house,
            &proof,
            Method::GET,
            &format!("/planner/tasks/x?{sent}"),
            &[],
            "",
        )
        .await;
        let seen = last(&house);
        let query = seen.target.split_once('?').unwrap().1.to_owned();
        let pairs: Vec<String> = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(pairs.join("&"), arrives);
    }
    let before = house.simulator.requests_to(Service::Graph).len();
    for target in [
        "/planner/tasks?$search=x",
        "/planner/tasks/x/..",
        "/planner/%2e%2e/me",
    ] {
        let answer = call(&house, &proof, Method::GET, target, &[], "").await;
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(house.simulator.requests_to(Service::Graph).len(), before);
}

#[tokio::test]
async fn graphs_throttling_passes_with_its_retry_after_and_nothing_is_repeated() {
    let house = house().await;
    let throttled = Fault::Status {
        status: 429,
        headers: vec![
            ("retry-after".into(), "17".into()),
            ("content-type".into(), "application/json".into()),
        ],
        body: r#"{"error":{"code":"TooManyRequests","message":"Please retry again later."}}"#
            .into(),
    };
    house
        .simulator
        .fault(FaultPoint::At(Service::Graph), throttled, Times::Once);
    let proof = ("x-api-key", KEY.to_owned());
    let answer = call(&house, &proof, Method::GET, "/planner/tasks/x", &[], "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (429, String::new())
    );
    assert_eq!(answer.headers["retry-after"], "17");
    assert_eq!(document(&answer)["error"]["code"], "TooManyRequests");
    assert_eq!(house.simulator.requests_to(Service::Graph).len(), 1);
}

#[tokio::test]
async fn graphs_claims_challenge_is_answered_for_the_application_and_for_the_user() {
    let house = house().await;
    let demand = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    house.simulator.demand_claims(Some(demand));
    let user = house.simulator.issue(&TokenSpec::user());
    for (proof, path) in [
        (("x-api-key", KEY.to_owned()), "/planner/tasks"),
        (
            ("authorization", format!("Bearer {user}")),
            "/my-planner/tasks",
        ),
    ] {
        let answer = call(&house, &proof, Method::POST, path, &[], r#"{"planId":"p"}"#).await;
        assert_eq!(answer.status, 201, "{path}");
    }
    assert_eq!(house.simulator.token_requests().len(), 4);
}
