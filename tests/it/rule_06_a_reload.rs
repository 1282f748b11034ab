//! A reload reaches open connections at their next request; one request sees one configuration; a bad file keeps the last good
//! (security rule 6).

use std::sync::Arc;

use flowgate::app::reload::Reloader;
use flowgate::config::{self, Secrets};
use flowgate::simulator::Gate;
use http::{Request, StatusCode, Version};

use crate::house::{BASE, House, KEY, eventually};
use crate::wire::Line;

/// The base configuration, in which nobody has the ERP's key any more.
fn without_the_key() -> String {
    let text = BASE.replace("plain: { env: ERP_KEY }", "plain: another-key-another-key");
    assert!(
        text != BASE,
        "the base configuration is written otherwise now"
    );
    text
}

fn order() -> Request<&'static str> {
    Request::post("/order-created")
        .header("x-api-key", KEY)
        .body("{}")
        .unwrap()
}

fn raw() -> String {
    format!(
        "POST /order-created HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}"
    )
}

#[tokio::test]
async fn a_key_that_is_removed_is_refused_at_the_next_request_of_open_connections() {
    let house = House::standard().await;
    let mut line = Line::open(house.address).await;
    line.write(raw()).await;
    assert_eq!(line.answer().await.unwrap().status, StatusCode::OK);
    let answer = house.send_h2(order()).await;
    assert_eq!(
        (answer.status, answer.version),
        (StatusCode::OK, Version::HTTP_2)
    );
    let open = house.metric("flowgate_connections", &[]);

    house.reload(&without_the_key());

    line.write(raw()).await;
    let answer = line.answer().await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = house.send_h2(order()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let still = house.metric("flowgate_connections", &[]);
    assert!(still >= open.min(2.0), "{open} connections, then {still}");
    assert_eq!(house.simulator.runs("order-created"), 2);
}

#[tokio::test]
async fn a_request_on_its_way_ends_by_the_configuration_it_began_with() {
    let house = Arc::new(House::standard().await);
    let gate = Gate::closed();
    house
        .simulator
        .set_flow("order-created", |flow| flow.gate = Some(gate.clone()));
    let before = house.simulator.received().len();
    let caller = Arc::clone(&house);
    let waiting = tokio::spawn(async move { caller.send(order()).await });
    eventually(|| house.metric("flowgate_requests_in_flight", &[("flow", "order-created")]) > 0.0)
        .await;

    house.reload(&without_the_key());
    gate.open();

    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert_eq!(received.len(), before + 1);
    assert_eq!(seen.header("flowgate-caller"), Some("erp"));
    let answer = house.send(order()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_configuration_and_says_so() {
    let house = House::standard().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowgate.yaml");
    std::fs::write(&path, BASE).unwrap();
    let paths = vec![path.clone()];
    let ambient = &house.ambient;
    let config = config::load(
        &paths,
        &ambient.environment,
        &ambient.clock,
        Secrets::Required,
    );
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let mut reloader = Reloader::new(
        Arc::clone(&house.app),
        paths,
        ambient.clone(),
        house.metrics.clone(),
        &config,
    );

    std::fs::write(&path, format!("{BASE}\nnonsense: true\n")).unwrap();
    reloader.reload().await;
    assert_eq!(
        house
            .metric("flowgate_config_last_reload_success", &[])
            .to_string(),
        "0"
    );
    assert_eq!(house.send(order()).await.status, StatusCode::OK);

    std::fs::write(&path, without_the_key()).unwrap();
    reloader.reload().await;
    assert_eq!(
        house
            .metric("flowgate_config_last_reload_success", &[])
            .to_string(),
        "1"
    );
    assert_eq!(house.send(order()).await.status, StatusCode::UNAUTHORIZED);
}
