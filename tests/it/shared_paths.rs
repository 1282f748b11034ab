//! One path, several flows: `CloudEvents` asks with OPTIONS before it posts, and both arrive at one address.
//!
//! In: two flows that share a path by their methods, callers of different rights, HTTP/1.1 and HTTP/2. Out: which flow ran, and what a caller
//! that no flow of the path takes is reported.

use http::{Method, Request, StatusCode};

use crate::house::{Answer, BASE, House, KEY};

/// OPTIONS for everybody, POST for `erp`, PUT for the application `billing`.
async fn house() -> House {
    let yaml = BASE.replace(
        "flows:\n  order-created:\n",
        "flows:\n  \
         hello: { url: { env: LEGACY_URL }, path: /events, methods: [OPTIONS], who_can_trigger: anyone, credential: none }\n  \
         events: { url: { env: ORDER_CREATED_URL }, path: /events, who_can_trigger: [erp] }\n  \
         replace: { url: { env: ORDER_CREATED_URL }, path: /events, methods: [PUT, PATCH], who_can_trigger: [billing] }\n  \
         order-created:\n",
    );
    House::open(&yaml).await
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Stranger,
    Erp,
    Billing,
    WrongKey,
}

async fn ask(house: &House, method: &str, path: &str, who: Who, second: bool) -> Answer {
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path);
    let request = match who {
        Who::Stranger => request,
        Who::Erp => request.header("x-api-key", KEY),
        Who::WrongKey => request.header("x-api-key", "nobodys-key-nobodys-key"),
        Who::Billing => request.header(
            "authorization",
            format!("Bearer {}", house.token(|spec| spec)),
        ),
    };
    let request = request.body("").unwrap();
    if second {
        house.send_h2(request).await
    } else {
        house.send(request).await
    }
}

#[tokio::test]
async fn the_method_chooses_the_flow_and_its_rule() {
    let house = house().await;
    for second in [false, true] {
        let before = house.simulator.runs("order-created");
        for who in [Who::Stranger, Who::Erp, Who::WrongKey] {
            let answer = ask(&house, "OPTIONS", "/events", who, second).await;
            // The flow is one that takes POST: what it says shows that the call arrived there.
            assert_ne!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{who:?} {answer:?}"
            );
            let received = house.simulator.received();
            let last = received.last().unwrap();
            assert_eq!(last.method, "OPTIONS", "{who:?}");
            assert_eq!(last.header("flowgate-caller"), Some("anyone"));
        }
        let answer = ask(&house, "POST", "/events", Who::Erp, second).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(house.simulator.runs("order-created"), before + 1);
        for who in [Who::Stranger, Who::WrongKey] {
            for method in ["POST", "PUT"] {
                let answer = ask(&house, method, "/events", who, second).await;
                assert_eq!(
                    answer.status,
                    StatusCode::UNAUTHORIZED,
                    "{who:?} {answer:?}"
                );
            }
        }
        // A known caller of the path's other flow.
        for (method, who) in [("POST", Who::Billing), ("PUT", Who::Erp)] {
            let answer = ask(&house, method, "/events", who, second).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{who:?} {answer:?}");
        }
        assert_eq!(house.simulator.runs("order-created"), before + 1);
    }
}

#[tokio::test]
async fn a_method_that_no_flow_of_the_path_takes_is_answered_with_those_the_caller_may_use() {
    let house = house().await;
    for second in [false, true] {
        for (who, allow) in [
            (Who::Stranger, "OPTIONS"),
            (Who::WrongKey, "OPTIONS"),
            (Who::Erp, "POST, OPTIONS"),
            (Who::Billing, "OPTIONS, PUT, PATCH"),
        ] {
            let answer = ask(&house, "DELETE", "/events", who, second).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{who:?} {answer:?}"
            );
            let mut named: Vec<&str> = answer.headers["allow"]
                .to_str()
                .unwrap()
                .split(", ")
                .collect();
            let mut wanted: Vec<&str> = allow.split(", ").collect();
            named.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(named, wanted, "{who:?}");
        }
    }
    assert!(house.simulator.received().is_empty());
}

#[tokio::test]
async fn without_a_flow_for_anyone_a_stranger_learns_nothing_of_a_shared_path() {
    let yaml = BASE.replace(
        "flows:\n  order-created:\n",
        "flows:\n  \
         events: { url: { env: ORDER_CREATED_URL }, path: /events, who_can_trigger: [erp] }\n  \
         replace: { url: { env: ORDER_CREATED_URL }, path: /events, methods: [PUT], who_can_trigger: [erp] }\n  \
         order-created:\n",
    );
    let house = House::open(&yaml).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for who in [Who::Stranger, Who::WrongKey] {
            let here = ask(&house, method, "/events", who, false).await;
            let nowhere = ask(&house, method, "/nowhere", who, false).await;
            assert_eq!(here.status, StatusCode::UNAUTHORIZED);
            assert_eq!(here.code(), nowhere.code());
            assert_eq!(here.headers.get("allow"), None);
        }
    }
    // A caller that may use neither gets that answer, whatever the method.
    for method in ["POST", "PUT", "DELETE"] {
        let answer = ask(&house, method, "/events", Who::Billing, false).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        assert_eq!(answer.headers.get("allow"), None);
    }
    let answer = ask(&house, "DELETE", "/events", Who::Erp, false).await;
    assert_eq!(answer.headers["allow"], "POST, PUT");
}
