//! Kinds of credential whose settings follow from more than their own keys: the environment, the token itself, the flow.

use super::{NOW, VARIABLES, examine, severities};
use crate::clock::Clock;
use crate::config::source::File;
use crate::config::{Outcome, Secrets, examine_texts};
use crate::credential::managed_identity::{ARC_KEYS, Identity, ManagedIdentitySettings, Platform};
use crate::credential::proof::Proof;
use crate::credential::{Ask, Kind};
use settings::Environment;

/// A configuration with this credential, for a flow at this address.
fn text(credential: &str, url: &str, flow: &str) -> String {
    format!(
        "callers: {{ erp: {{ api_key: {{ sha256: {{ env: KEY_HASH }} }} }} }}\n\
         credentials: {{ c: {{ {credential} }} }}\n\
         flows: {{ f: {{ url: '{url}', who_can_trigger: erp, credential: c, {flow} }} }}"
    )
}

const GRAPH: &str = "https://graph.microsoft.com/v1.0/me";
const FLOW: &str = "https://a.b.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/triggers/manual/paths/invoke?api-version=1";

fn machine(section: &str, variables: &[(&str, &str)]) -> Result<ManagedIdentitySettings, String> {
    let text = text(&format!("managed_identity: {section}"), FLOW, "");
    let file = File {
        name: "flowgate.yaml".into(),
        text,
    };
    let all = VARIABLES.iter().chain(variables).copied();
    let outcome = examine_texts(
        &[file],
        &Environment::fixed(all),
        &Clock::manual(NOW),
        Secrets::Required,
    );
    let problems = outcome.problems.to_string();
    let config = outcome.config.ok_or(problems)?;
    let asked = config.flows[0].credential.clone();
    let resource = Ask::Resource("https://service.flow.microsoft.com/".into());
    assert_eq!(asked, Some((0, resource)));
    match &config.credentials[0].kind {
        Kind::ManagedIdentity(settings) => Ok(settings.clone()),
        _ => panic!("another kind"),
    }
}

fn refused(section: &str, variables: &[(&str, &str)]) -> String {
    machine(section, variables).err().expect("a problem")
}

#[test]
fn a_managed_identity_is_asked_for_where_the_environment_says() {
    let own = machine("{}", &[]).ok().unwrap();
    let metadata = |url: &str| Platform::Metadata {
        base: url.parse().unwrap(),
    };
    assert!(own.platform == metadata("http://169.254.169.254/"));
    assert!(own.identity == Identity::System);
    let platform = |variables: &[(&str, &str)]| machine("{}", variables).ok().unwrap().platform;
    let host = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:2579");
    assert!(platform(&[host]) == metadata("http://127.0.0.1:2579/"));
    let endpoint = ("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token");
    let header = ("IDENTITY_HEADER", "h");
    let Platform::AppService { endpoint: url, .. } = platform(&[endpoint, header, host]) else {
        panic!("another platform")
    };
    assert_eq!(url.as_str(), endpoint.1);
    let agent = ("IMDS_ENDPOINT", "http://localhost:40342");
    let Platform::Arc { keys, .. } = platform(&[endpoint, agent]) else {
        panic!("another platform")
    };
    assert_eq!(keys.to_str(), Some(ARC_KEYS));
}

#[test]
fn one_identity_is_named_by_one_of_its_ids() {
    let id = "22220000-0000-0000-0000-00000000000A";
    let lower = id.to_lowercase();
    let path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";
    for (key, value, identity) in [
        ("client_id", id, Identity::ClientId(lower.clone())),
        ("object_id", id, Identity::ObjectId(lower)),
        ("resource_id", path, Identity::ResourceId(path.to_owned())),
    ] {
        let section = format!("{{ {key}: {value} }}");
        let own = machine(&section, &[]).ok().unwrap();
        assert!(own.identity == identity, "{key}");
    }
}

#[test]
fn an_environment_that_no_platform_would_set_is_refused() {
    let header = ("IDENTITY_HEADER", "h");
    for url in [
        "http://8.8.8.8/msi/token",
        "http://identity.example/msi/token",
        "http://user:pass@127.0.0.1/msi/token",
        "ftp://127.0.0.1/",
        "not a url",
    ] {
        let reported = refused("{}", &[("IDENTITY_ENDPOINT", url), header]);
        assert!(
            reported.contains("IDENTITY_ENDPOINT is no address"),
            "{reported}"
        );
        assert!(!reported.contains(url), "{reported}");
    }
    let endpoint = ("IDENTITY_ENDPOINT", "https://127.0.0.1:2377/");
    let fabric = ("IDENTITY_SERVER_THUMBPRINT", "x");
    let reported = refused("{}", &[endpoint, header, fabric]);
    assert!(reported.contains("Service Fabric"), "{reported}");
    let agent = ("IMDS_ENDPOINT", "http://localhost:40342");
    let section = "{ client_id: 22220000-0000-0000-0000-000000000001 }";
    let reported = refused(section, &[endpoint, agent]);
    assert!(
        reported.contains("system-assigned identity only"),
        "{reported}"
    );
}

const ACCOUNT: &str = "client_id: 22220000-0000-0000-0000-000000000002, username: a@b.example, password: { env: SECRET }";

#[test]
fn a_password_may_be_a_public_clients_at_organizations_and_asks_for_what_the_host_wants() {
    let section = format!("password: {{ tenant: organizations, endpoint: v1, {ACCOUNT} }}");
    let Outcome {
        config, problems, ..
    } = examine(&text(&section, GRAPH, ""));
    let config = config.unwrap_or_else(|| panic!("{problems}"));
    assert_eq!(severities(&problems), [0, 0, 1], "{problems}");
    let Kind::Password(settings) = &config.credentials[0].kind else {
        panic!("another kind")
    };
    assert_eq!(
        settings.application.token_url.as_str(),
        "https://login.microsoftonline.com/organizations/oauth2/token"
    );
    assert!(settings.application.proof == Proof::Nothing);
    let resource = Ask::Resource("https://graph.microsoft.com".into());
    assert_eq!(config.flows[0].credential, Some((0, resource)));
    let section = format!(
        "password: {{ tenant: contoso.example, secret: {{ env: SECRET }}, scope: [openid, Tasks.ReadWrite, User.Read], {ACCOUNT} }}"
    );
    let config = examine(&text(&section, GRAPH, "")).config.unwrap();
    let scope = Ask::Scope(
        "openid https://graph.microsoft.com/Tasks.ReadWrite https://graph.microsoft.com/User.Read"
            .into(),
    );
    assert_eq!(config.flows[0].credential, Some((0, scope)));
}

#[test]
fn the_advice_against_passwords_is_given_once() {
    let account = format!("password: {{ tenant: organizations, {ACCOUNT} }}");
    let both = format!("{account} }}, d: {{ {account}");
    let other = format!("}}, g: {{ url: '{GRAPH}/x', who_can_trigger: erp, credential: d");
    let problems = examine(&text(&both, GRAPH, &other)).problems;
    assert_eq!(severities(&problems), [0, 0, 1], "{problems}");
}

/// A JWT for this audience, ending at this time.
fn jwt(audience: &str, expiry: u64) -> String {
    use base64::Engine as _;
    let payload = serde_json::json!({"aud": audience, "exp": expiry}).to_string();
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(payload);
    format!("e30.{payload}.c2ln")
}

#[test]
fn a_fixed_token_for_microsoft_stays_with_microsoft_and_an_expired_one_is_reported() {
    let (graph, own) = ("https://graph.microsoft.com", "https://erp.example");
    let there = "https://erp.example/x";
    for (audience, left, url, flow, fragment) in [
        (graph, 60, there, "", "not Microsoft's"),
        (graph, 60, there, "scope: a", "nothing can be asked for"),
        (graph, 0, GRAPH, "", "the token has expired"),
        (graph, 60, GRAPH, "", ""),
        (own, 60, there, "", ""),
        (graph, 60, there, "allow_host: true", ""),
    ] {
        let section = format!("bearer: {{ token: '{}' }}", jwt(audience, NOW + left));
        let problems = examine(&text(&section, url, flow)).problems;
        let reported: Vec<String> = problems
            .iter()
            .map(ToString::to_string)
            .filter(|reported| !reported.contains("plain text"))
            .collect();
        assert_eq!(
            reported.len(),
            usize::from(!fragment.is_empty()),
            "{problems}"
        );
        assert!(problems.to_string().contains(fragment), "{problems}");
        assert!(!problems.to_string().contains("c2ln"), "{problems}");
    }
}
