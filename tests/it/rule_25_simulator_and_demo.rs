//! The demo and the simulator never weaken a real gateway (security rule 25).

use std::process::{Command, Output, Stdio};

use flowgate::client::SIMULATED;
use http::{Request, StatusCode};

use crate::house::{BASE, House, KEY};

fn at(listen: &str) -> String {
    BASE.replace("127.0.0.1:8080", listen)
}

fn order() -> Request<&'static str> {
    Request::post("/order-created")
        .header("x-api-key", KEY)
        .body("{}")
        .unwrap()
}

#[test]
fn the_client_knows_the_simulator_s_marker() {
    assert_eq!(SIMULATED.as_str(), simulator::MARKER);
}

#[tokio::test]
async fn a_gateway_off_loopback_believes_no_token_and_no_key_of_a_simulator() {
    for listen in [
        "0.0.0.0:8080",
        "[::]:8080",
        "192.0.2.7:8080",
        "[2001:db8::7]:8080",
    ] {
        let house = House::open(&at(listen)).await;
        let answer = house.send(order()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{listen}");
        assert_eq!(answer.code(), "token_unavailable", "{listen}");
        assert!(answer.headers.contains_key("retry-after"));
        let token = format!("Bearer {}", house.token(|spec| spec));
        let request = Request::post("/report")
            .header("authorization", token)
            .body("{}")
            .unwrap();
        let answer = house.send(request).await;
        assert_eq!(answer.code(), "key_set_unavailable", "{listen}");
        assert_eq!(house.simulator.received().len(), 0, "{listen}");
        let refused = [("credential", "flows"), ("result", "simulator")];
        assert!(house.metric("flowgate_token_requests_total", &refused) > 0.0);
        assert!(
            house.metric(
                "flowgate_key_set_refreshes_total",
                &[("result", "simulator")]
            ) > 0.0
        );
        let ready = String::from_utf8(house.page("/readyz").await.body.to_vec()).unwrap();
        assert!(
            ready.contains("credential flows: no new token (simulator)"),
            "{ready}"
        );
    }
}

#[tokio::test]
async fn a_gateway_on_loopback_may_use_it() {
    for listen in [
        "127.0.0.1:8080",
        "127.1.2.3:8080",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
    ] {
        let house = House::open(&at(listen)).await;
        assert_eq!(house.send(order()).await.status, StatusCode::OK, "{listen}");
    }
}

#[tokio::test]
async fn a_reload_cannot_talk_a_bound_gateway_into_it() {
    let house = House::open(&at("0.0.0.0:8080")).await;
    house.reload(&at("127.0.0.1:8080"));
    house.app.tried().await;
    assert_eq!(house.send(order()).await.code(), "token_unavailable");
    assert_eq!(house.simulator.received().len(), 0);
}

fn flowgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_simulator_does_not_start_off_loopback_unless_allowed() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let output = flowgate(&["simulate", "--listen", address]);
        assert_eq!(output.status.code(), Some(2), "{address}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_demo_accepts_neither_an_address_nor_a_key() {
    for argument in [
        "--listen=0.0.0.0:0",
        "--allow-remote",
        "--key=x",
        "--config=x",
        "0.0.0.0:0",
    ] {
        let output = flowgate(&["demo", "--once", argument]);
        assert_eq!(output.status.code(), Some(2), "{argument}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn each_demo_has_keys_of_its_own_and_ends_well() {
    let told = || {
        let output = flowgate(&["demo", "--once"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let story = told();
    assert!(
        story.contains("The flow saw: authorization \"Bearer ey"),
        "{story}"
    );
    assert_ne!(story, told());
}
