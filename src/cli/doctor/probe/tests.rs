//! That nothing which could start a run is ever sent, unless it is to be fired.

use http::Method;

use super::{Plan, plan};
use crate::cli::doctor::tests::flow;

#[test]
fn nothing_that_could_start_a_run_is_ever_chosen() {
    let all = "methods: [GET, POST, PUT, PATCH, DELETE]";
    for (more, chosen) in [
        ("", Plan::Refused(Method::PUT)),
        ("methods: [POST, PUT]", Plan::Refused(Method::PATCH)),
        ("methods: [PUT, PATCH]", Plan::Refused(Method::DELETE)),
        // GET carries no body that would be refused, and nobody says that the trigger takes another method.
        ("methods: [PUT, PATCH, DELETE]", Plan::Connect),
        (
            "methods: [PUT, PATCH, DELETE], trigger: { method: PUT }",
            Plan::Refused(Method::GET),
        ),
        (
            "methods: [PUT], trigger: { method: PUT }",
            Plan::Refused(Method::PATCH),
        ),
        (all, Plan::Connect),
        ("kind: other, methods: [POST]", Plan::Connect),
        ("kind: other, methods: [GET, POST]", Plan::Get),
    ] {
        assert_eq!(plan(&flow(more), false), chosen, "{more}");
    }
}

#[test]
fn what_is_fired_is_what_the_trigger_takes() {
    for (more, chosen) in [
        ("", Plan::Fire(Method::POST)),
        ("methods: [PUT, POST]", Plan::Fire(Method::POST)),
        ("methods: [PUT]", Plan::Fire(Method::PUT)),
        (
            "methods: [GET], trigger: { method: GET }",
            Plan::Fire(Method::GET),
        ),
        ("kind: other, methods: [POST]", Plan::Connect),
    ] {
        assert_eq!(plan(&flow(more), true), chosen, "{more}");
    }
}
