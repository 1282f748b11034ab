//! The rows of facts A3, in the order of facts D.

use super::*;
use crate::directory::{GATEWAY_APP, PARTNER_TENANT};

const BODY: &str = "{\"order\":7}";

async fn with_token(simulator: &Simulator, flow: &str, body: &str) -> Got {
    let token = bearer(&flow_token(simulator, true).await);
    post(
        &simulator.flow_url(flow),
        &[("authorization", &token)],
        body,
    )
    .await
}

/// A flow token with something about it changed.
fn spec() -> TokenSpec {
    TokenSpec::app()
        .client(GATEWAY_APP)
        .v1()
        .audience(flow::FLOW_AUDIENCE)
}

#[tokio::test]
async fn an_entra_token_starts_a_run_in_both_authenticated_modes() {
    let simulator = simulator().await;
    for flow in ["order-created", "report"] {
        let got = with_token(&simulator, flow, BODY).await;
        assert_eq!(got.status, 200, "{}", got.json());
        assert_eq!(got.json()["body"]["order"], 7);
        let run = got.header("x-ms-workflow-run-id").unwrap();
        assert_eq!((run.len(), &run[..4], &run[29..]), (33, "0858", "CU04"));
        assert_eq!(simulator.runs(flow), 1);
    }
}

#[tokio::test]
async fn the_signed_url_alone_starts_a_run_in_anyone_mode() {
    let simulator = simulator().await;
    let got = post(&simulator.flow_url("legacy"), &[], BODY).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.json()["admitted"]["by"], "signature");
    assert!(!String::from_utf8_lossy(&got.body).contains(&simulator.flow("legacy").unwrap().sig));
}

#[tokio::test]
async fn only_anyone_urls_are_signed() {
    let simulator = simulator().await;
    assert!(
        simulator
            .flow_url("order-created")
            .ends_with("/triggers/manual/paths/invoke?api-version=1")
    );
    assert!(
        simulator
            .flow_url("legacy")
            .contains("?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=")
    );
    assert_eq!(simulator.flow("legacy").unwrap().sig.len(), 43);
}

#[tokio::test]
async fn an_unknown_workflow_is_404() {
    let simulator = simulator().await;
    let url = simulator
        .flow_url("report")
        .replace("/workflows/", "/workflows/0");
    assert_eq!(
        post(&url, &[], BODY).await.refusal(),
        (404, "WorkflowNotFound".into())
    );
}

#[tokio::test]
async fn api_versions_belong_to_their_host_shape() {
    let simulator = simulator().await;
    let mut flow = Flow::new("old", Mode::Anyone);
    flow.shape = Shape::Legacy;
    simulator.add_flow(flow);
    let old = simulator.flow_url("old");
    assert!(old.starts_with(&format!("{}/workflows/", simulator.origin())));
    assert_eq!(post(&old, &[], BODY).await.status, 200);
    let new = simulator.flow_url("report");
    for (url, code) in [
        (
            old.replace("api-version=2016-06-01", "api-version=1"),
            "InvalidApiVersionParameter",
        ),
        (
            new.replace("api-version=1", "api-version=2016-06-01"),
            "InvalidApiVersionParameter",
        ),
        (
            new.replace("?api-version=1", ""),
            "MissingApiVersionParameter",
        ),
    ] {
        assert_eq!(post(&url, &[], BODY).await.refusal(), (400, code.into()));
    }
}

#[tokio::test]
async fn a_signature_and_a_token_together_are_refused() {
    let simulator = simulator().await;
    let token = bearer(&flow_token(&simulator, true).await);
    let got = post(
        &simulator.flow_url("legacy"),
        &[("authorization", &token)],
        BODY,
    )
    .await;
    assert_eq!(
        got.refusal(),
        (401, "DirectApiRequestHasMoreThanOneAuthorization".into())
    );
}

#[tokio::test]
async fn anyone_mode_takes_the_url_s_own_signature_and_nothing_else() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    let unsigned = url.split("&sp=").next().unwrap().to_owned();
    let mangled = url.replace("&sig", "&amp;sig");
    for address in [&unsigned, &mangled] {
        let got = post(address, &[], BODY).await;
        assert_eq!(
            got.refusal(),
            (401, "DirectApiAuthorizationRequired".into())
        );
        assert_eq!(
            got.message(),
            "The request must be authenticated only by Shared Access scheme."
        );
    }
    for wrong in [
        url.replace("sig=", "sig=x"),
        url.replace("sv=1.0", "sv=2.0"),
        url.replace("%2Frun", "%2Fread"),
    ] {
        let got = post(&wrong, &[], BODY).await;
        assert_eq!(got.refusal(), (401, "AuthorizationFailed".into()));
    }
    let token = bearer(&flow_token(&simulator, true).await);
    let got = post(&unsigned, &[("authorization", &token)], BODY).await;
    assert_eq!(
        got.refusal(),
        (401, "DirectApiAuthorizationRequired".into())
    );
    simulator.set_flow("legacy", |flow| flow.policy_not_found = true);
    let got = post(&unsigned, &[("authorization", &token)], BODY).await;
    assert_eq!(got.refusal(), (401, "OAuthAccessPolicyNotFound".into()));
    assert_eq!(simulator.runs("legacy"), 0);
}

#[tokio::test]
async fn authenticated_modes_name_what_is_missing() {
    let simulator = simulator().await;
    let url = simulator.flow_url("report");
    let none = post(&url, &[], BODY).await;
    assert_eq!(
        none.refusal(),
        (401, "DirectApiAuthorizationRequired".into())
    );
    assert!(
        none.message()
            .starts_with("The OAuth authorization scheme is required.")
    );
    assert_eq!(none.header("www-authenticate"), None);
    assert_eq!(none.header("x-ms-workflow-run-id"), None);
    assert!(none.header("x-ms-request-id").is_some());

    let signed = post(
        &format!("{url}&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=x"),
        &[],
        BODY,
    )
    .await;
    assert_eq!(
        signed.refusal(),
        (401, "DirectApiInvalidAuthorizationScheme".into())
    );
    assert!(
        signed
            .message()
            .contains("disabled under your access control policy")
    );

    simulator.set_flow("report", |flow| flow.shape = Shape::Legacy);
    let url = simulator
        .flow_url("report")
        .replace("2016-06-01", "2015-08-01-preview");
    assert!(
        post(&url, &[], BODY)
            .await
            .message()
            .starts_with("The authentication scheme is required.")
    );
}

#[tokio::test]
async fn an_unusable_token_is_invalid_and_a_usable_one_of_somebody_else_mismatches() {
    let simulator = simulator().await;
    let url = simulator.flow_url("order-created");
    let invalid = [
        bearer("nonsense"),
        "Basic dXNlcjpwYXNz".to_owned(),
        bearer(&simulator.issue(&spec().lifetime(-400))),
        bearer(&simulator.issue(&spec().signed_by(Signer::Foreign))),
        bearer(&simulator.issue(&spec().signed_by(Signer::Nobody))),
        bearer(&simulator.issue(&spec().signed_by(Signer::PublicKeyAsSecret))),
        bearer(&simulator.issue(&spec().header("kid", "unknown"))),
    ];
    for value in &invalid {
        let got = post(&url, &[("authorization", value)], BODY).await;
        assert_eq!(
            got.refusal(),
            (401, "DirectApiInvalidAuthorizationScheme".into())
        );
        assert!(
            got.message()
                .starts_with("The provided authorization token is not valid.")
        );
    }
    let mismatching = [
        spec().audience("https://service.flow.microsoft.com"),
        spec().tenant(PARTNER_TENANT),
        spec().object("44440000-0000-4000-8000-0000000000ff"),
        spec().without("oid"),
        spec().claim("iss", "https://sts.windows.net/other/"),
    ];
    for spec in &mismatching {
        let value = bearer(&simulator.issue(spec));
        let got = post(&url, &[("authorization", &value)], BODY).await;
        assert_eq!(got.refusal(), (403, "MisMatchingOAuthClaims".into()));
    }
    assert_eq!(simulator.runs("order-created"), 0);
    simulator.set_flow("order-created", |flow| flow.mismatch_status = 401);
    let value = bearer(&simulator.issue(&mismatching[0]));
    assert_eq!(
        post(&url, &[("authorization", &value)], BODY).await.status,
        401
    );
}

#[tokio::test]
async fn an_empty_list_of_users_admits_the_whole_tenant() {
    let simulator = simulator().await;
    simulator.set_flow("order-created", |flow| flow.mode = Mode::Users(Vec::new()));
    let value = bearer(&simulator.issue(&spec().object("44440000-0000-4000-8000-0000000000ff")));
    let got = post(
        &simulator.flow_url("order-created"),
        &[("authorization", &value)],
        BODY,
    )
    .await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn a_flow_that_is_off_says_its_state() {
    let simulator = simulator().await;
    for (state, word) in [
        (FlowState::Disabled, "Disabled"),
        (FlowState::Suspended, "Suspended"),
        (FlowState::Deleted, "Deleted"),
    ] {
        simulator.set_flow("report", |flow| flow.state = state);
        let got = with_token(&simulator, "report", BODY).await;
        assert_eq!(got.refusal(), (400, "WorkflowTriggerIsNotEnabled".into()));
        assert!(got.message().contains(&format!("with state '{word}'")));
    }
}

#[tokio::test]
async fn the_wrong_method_names_both() {
    let simulator = simulator().await;
    let got = get(&simulator.flow_url("legacy")).await;
    assert_eq!(got.refusal(), (400, "TriggerRequestMethodNotValid".into()));
    assert!(got.message().ends_with("expected 'POST' and actual 'GET'."));
}

#[tokio::test]
async fn malformed_json_is_refused_only_where_json_is_declared() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    let got = post(&url, &[], "Certainly not").await;
    assert_eq!(got.refusal(), (400, "InvalidRequestContent".into()));
    assert_eq!(
        got.json()["error"]["messageTemplate"],
        "InvalidRequestContent"
    );
    assert!(got.message().contains("parsing value: C."));
    let text = request("POST", &url, &[("content-type", "text/plain")], "Certainly");
    assert_eq!(send(text).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_schema_mismatch_lists_each_difference_in_the_service_s_words() {
    let simulator = simulator().await;
    let schema = serde_json::json!({
        "type": "object", "required": ["id", "name"], "additionalProperties": false,
        "properties": { "id": { "type": "integer" }, "name": { "type": "string" }, "kind": { "enum": ["a"] } }
    });
    simulator.set_flow("legacy", |flow| flow.schema = Some(schema));
    let url = simulator.flow_url("legacy");
    let got = post(&url, &[], "{\"name\":null,\"kind\":\"b\",\"extra\":1}").await;
    assert_eq!(got.refusal(), (400, "TriggerInputSchemaMismatch".into()));
    for phrase in [
        "Required properties are missing from object: id.",
        "Invalid type. Expected String but got Null.",
        "Value \"b\" is not defined in enum.",
        "Property 'extra' has not been defined and the schema does not allow additional properties.",
    ] {
        assert!(
            got.message().contains(phrase),
            "{phrase} in {}",
            got.message()
        );
    }
    assert_eq!(got.header("x-ms-workflow-run-id"), None);
    assert_eq!(
        post(&url, &[], "{\"id\":1,\"name\":\"x\"}").await.status,
        200
    );
}
