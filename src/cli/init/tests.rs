//! Questions and answers, and text in other languages.

use super::target::{Kind, recognise};
use super::{Args, Dialogue, Language, Plan, Proof, Refused, Who, plan, quote};

const FLOW: &str = "https://8f3b.aa.environment.api.powerplatform.com:443/powerautomate/automations/direct/cu/04/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=1";

fn args(url: Option<&str>) -> Args {
    Args {
        url: url.map(str::to_owned),
        curl_file: None,
        name: "order-created".to_owned(),
        caller: None,
        caller_name: None,
        caller_client_id: None,
        credential: None,
        tenant: None,
        client_id: None,
        app_name: "flowgate".to_owned(),
        output: "/none/flowgate.yaml".into(),
        powershell: false,
        terraform: false,
    }
}

fn answered(args: Args, answers: &str) -> Result<Plan, Refused> {
    let mut input = answers.as_bytes();
    plan(
        args,
        &mut Dialogue {
            input: &mut input,
            asks: true,
        },
    )
}

#[test]
fn what_no_option_says_is_asked_for() {
    let tenant = "8f3b0000-0000-0000-0000-000000000001";
    let answers =
        format!("curl -X PUT \\\n  '{FLOW}' \\\n  -d '{{}}'\n\nnobody\nkey\n\n{tenant}\n");
    let plan = answered(args(None), &answers).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(plan.who, Who::Key);
    assert_eq!(plan.proof, Proof::ClientSecret);
    assert_eq!(plan.tenant.as_deref(), Some(tenant));
    assert_eq!(plan.target.method, Some("PUT"));
    assert_eq!(plan.target.url, FLOW);
    // A URL alone is one line; its signature is proof enough.
    let signed = format!("{FLOW}&sp=a&sv=1.0&sig=abc\nanyone\n");
    let plan = answered(args(None), &signed).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!((plan.who, plan.proof), (Who::Anyone, Proof::None));
}

#[test]
fn what_would_give_away_the_gateway_s_identity_or_cannot_work_is_refused() {
    let given = |who, credential| Args {
        caller: Some(who),
        credential,
        ..args(Some(FLOW))
    };
    assert!(matches!(
        answered(given(Who::Anyone, None), "\n"),
        Err(Refused::Borrowed)
    ));
    assert!(matches!(
        answered(given(Who::Key, Some(Proof::None)), ""),
        Err(Refused::NoProof)
    ));
    let signed = format!("{FLOW}&sig=abc");
    assert!(matches!(
        answered(args(Some(&signed)), ""),
        Err(Refused::SignedArgument)
    ));
}

#[test]
fn a_default_environment_s_host_names_the_tenant() {
    let url = FLOW.replace("8f3b.aa.", "default8f3b00000000000000000000000000.01.");
    let target = recognise(&url).unwrap();
    assert_eq!(target.kind, Kind::Flow);
    assert_eq!(
        target.tenant.as_deref(),
        Some("8f3b0000-0000-0000-0000-000000000001")
    );
}

#[test]
fn quoted_text_is_text_in_each_language() {
    let hostile = "it's $(x) `y` \u{2019};\"${a}%{b}\\";
    assert_eq!(
        quote::for_shell(hostile, Language::PowerShell),
        "'it''s $(x) `y` \u{2019}\u{2019};\"${a}%{b}\\'"
    );
    assert_eq!(
        quote::for_shell(hostile, Language::Terraform),
        "\"it's $(x) `y` \u{2019};\\\"$${a}%%{b}\\\\\""
    );
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "printf %s {}",
            quote::for_shell(hostile, Language::Posix)
        ))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), hostile);
}
