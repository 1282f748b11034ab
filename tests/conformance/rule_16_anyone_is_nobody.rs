//! A flow for anyone evaluates nothing: no credential helps, none hurts, and none gives a name.

use std::sync::Arc;
use std::time::Duration;

use flowgate::flow::{Flow, FlowId, Flows, Kind, TriggerUrl};
use flowgate::identity::Place;
use flowgate::identity::{Failure, Proof};
use http::{HeaderName, Method};

use crate::issuer::{RSA, changed};
use crate::world::{Answer, ISSUER, World, call_to, caller, jwt_settings, key_caller};

fn flow(name: &str, anyone: bool) -> Arc<Flow> {
    let url = "https://flow.example/workflows/1/triggers/manual/paths/invoke?api-version=1";
    Arc::new(Flow {
        id: FlowId(0),
        name: name.into(),
        path: format!("/{name}"),
        subpaths: false,
        query: Vec::new(),
        url: TriggerUrl::parse(url).unwrap(),
        kind: Kind::Trigger,
        audience: None,
        anyone,
        on_behalf_of: false,
        methods: vec![Method::POST],
        timeout: Duration::from_secs(1),
        body_limit: 1,
        content_types: Vec::new(),
        trigger: None,
        remove_headers: Vec::new(),
        pass_headers: Vec::new(),
        forward_client_address: false,
    })
}

#[tokio::test]
async fn nothing_is_evaluated_and_nothing_is_borrowed() {
    let world = World::new();
    // An issuer that does not answer: whoever looks at a token waits for it.
    let discovery = format!("{ISSUER}/.well-known/openid-configuration");
    world.net.put(&discovery, Answer::Hang);
    let header = Place::Header(HeaderName::from_static("x-api-key"));
    let flows = Flows::new([flow("open", true), flow("closed", false)]);
    let all = [
        key_caller("erp", header, "key"),
        caller("partner", Proof::Jwt(jwt_settings())),
    ];
    let callers = world.callers_of(&all, flows);
    let claims = changed(
        &[
            ("iss", r#""https://idp.example""#),
            ("aud", r#""flowgate""#),
            ("exp", "1900000000"),
            ("sub", r#""somebody""#),
        ],
        &[],
    );
    let token = RSA.token("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, &claims);
    let bearer = format!("Bearer {token}");
    for headers in [
        [].as_slice(),
        &[("x-api-key", "key")],
        &[("x-api-key", "wrong")],
        &[("x-api-key", "key"), ("x-api-key", "key")],
        &[("authorization", bearer.as_str()), ("x-api-key", "key")],
        &[("flowgate-caller", "erp"), ("flowgate-subject", "somebody")],
    ] {
        let call = call_to("/open", headers);
        let log = call.log.clone();
        let (_, found, identity) = callers.identify(call).await.unwrap().into_parts();
        assert!(found.flow.is_some_and(|flow| flow.anyone));
        assert_eq!(
            (identity.method.word(), identity.matches.len()),
            ("anyone", 0)
        );
        assert_eq!(
            identity.subject.or(identity.client_id).or(identity.tenant),
            None
        );
        assert_eq!(log.fields().method, Some("anyone"));
    }
    // Its neighbours, and paths that only resemble it, still ask.
    for path in [
        "/closed", "/open/", "/open/x", "/Open", "/%6fpen", "//open", "/open%00",
    ] {
        let outcome = callers.identify(call_to(path, &[])).await;
        assert!(matches!(outcome, Err(Failure::Nobody { .. })), "{path}");
    }
}
