//! `flowgate doctor`: the real binary against the simulator, with everything as it should be and with one thing wrong at a time.
//!
//! Each time it must name the one thing, end with the right code, start no run, and show nothing secret.

use simulator::vault::SecretVersion;
use simulator::{FlowState, Mode, Simulator, directory};

use super::canaries::Canaries;
use super::certificates::Workshop;
use super::house::{self, House};
use super::process::{Process, text, written};

/// Credentials and flows of the house, with what the flow is known to want.
const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}" }
  flow: { credential: flows }
credentials:
  flows:
    client_secret: { authority: "${AUTHORITY}", client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }
callers:
  erp: { api_key: { keys: [{ plain: { env: ERP_KEY } }] } }
flows:
  order-created:
    url: { env: ORDER_CREATED_URL }
    who_can_trigger: erp
    trigger: { mode: users, tenant: "${TENANT}", object_ids: "${GATEWAY_OBJECT}", method: POST }
  report: { url: { env: REPORT_URL }, who_can_trigger: erp }
  legacy: { url: { env: LEGACY_URL }, who_can_trigger: erp, credential: none }
"#;

const VARIABLES: &[&str] = &[
    "TENANT",
    "AUTHORITY",
    "GATEWAY_APP",
    "GATEWAY_OBJECT",
    "CLIENT_SECRET",
    "ERP_KEY",
    "ORDER_CREATED_URL",
    "REPORT_URL",
    "LEGACY_URL",
];

/// What came of one examination.
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Said {
    /// Runs the doctor. Whatever it says, nothing that looks like a token may be in it.
    #[track_caller]
    pub fn by(
        yaml: &str,
        arguments: &[&str],
        variables: &[(String, String)],
        canaries: &Canaries,
    ) -> Self {
        let said = tokio::task::block_in_place(|| Self::run(yaml, arguments, variables));
        canaries.absent_from("the report", &said.text);
        assert!(!said.text.contains("eyJ"), "a token:\n{}", said.text);
        said
    }

    /// The same from a thread that may wait.
    pub fn run(yaml: &str, arguments: &[&str], variables: &[(String, String)]) -> Self {
        let (_folder, file) = written(yaml);
        let arguments = [&["doctor", "--config", text(&file)], arguments].concat();
        let mut process = Process::start(&arguments, variables);
        let code = process.ended().code().unwrap();
        Self {
            code,
            text: process.said(),
        }
    }

    /// The section of one flow or credential.
    #[track_caller]
    pub fn of(&self, title: &str) -> &str {
        let found = self
            .text
            .split("\n\n")
            .find(|section| section.starts_with(title));
        found.unwrap_or_else(|| panic!("no section {title}:\n{}", self.text))
    }

    #[track_caller]
    pub fn has(&self, title: &str, parts: &[&str]) {
        let section = self.of(title);
        for part in parts {
            assert!(section.contains(part), "no {part:?} in:\n{}", self.text);
        }
    }
}

/// Runs it; `change` overrides a variable. Checks that no run was started, `runs` of `order-created` apart.
fn examined(
    simulator: &Simulator,
    yaml: &str,
    arguments: &[&str],
    change: &[(&str, Option<&str>)],
    runs: usize,
) -> Said {
    let environment = house::environment(simulator, &[]);
    let mut canaries = Canaries::default();
    let mut variables = Vec::new();
    for name in VARIABLES {
        let honest = environment.value(name);
        let changed = change.iter().find(|(changed, _)| changed == name);
        let value = changed.map_or(honest, |(_, value)| value.map(str::to_owned));
        let Some(value) = value else { continue };
        if (*name == "CLIENT_SECRET" || *name == "ERP_KEY") && value.len() > 5 {
            canaries.watch(name, &value);
        }
        if let Some((_, signature)) = value.split_once("sig=") {
            canaries.watch("a signature", signature);
        }
        variables.push(((*name).to_owned(), value));
    }
    let said = Said::by(yaml, arguments, &variables, &canaries);
    for flow in simulator.flows() {
        assert!(
            !said.text.contains(&flow.id),
            "a workflow id:\n{}",
            said.text
        );
        let expected = if flow.name == "order-created" {
            runs
        } else {
            0
        };
        assert_eq!(simulator.runs(&flow.name), expected, "{}", said.text);
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listeners_certificate_that_has_expired_is_wrong_though_all_else_is_well() {
    let simulator = House::simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let (certificate, private) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let listen = "listen: \"127.0.0.1:8080\"";
    let tls = format!(
        "{listen}, tls: {{ certificate: \"{}\", private_key: \"{}\" }}",
        text(&certificate),
        text(&private)
    );
    let yaml = YAML.replace(listen, &tls);
    for (has_expired, code) in [(true, 1), (false, 0)] {
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        if has_expired {
            super::outbound_servers::expired(&mut params);
        }
        let issued = params.self_signed(&key).unwrap();
        std::fs::write(&certificate, issued.pem()).unwrap();
        let said = examined(&simulator, &yaml, &[], &[], 0);
        assert_eq!(said.code, code, "{}", said.text);
        if has_expired {
            said.has(
                "gateway",
                &[
                    "has expired on 2021",
                    "wrong (configuration): put a renewed",
                ],
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well() {
    let simulator = House::simulator().await;
    let said = examined(&simulator, YAML, &[], &[], 0);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has(
        "credential flows",
        &[
            "aud   https://service.flow.microsoft.com/",
            "(for order-created, report)",
            "has to list this object id: 44440000-0000-4000-8000-000000000001",
            "verdict: ok",
        ],
    );
    said.has(
        "flow order-created",
        &[
            "the token's aud, tid and iss, oid is what the flow is known to want",
            "asked with PUT, which is to start no run: it answered 400 TriggerRequestMethodNotValid",
            "inferred",
            "verdict: ok",
        ],
    );
    said.has("flow report", &["verdict: ok"]);
    said.has("flow legacy", &["signature counts", "verdict: ok"]);
    // It did reach them, and never with a method that could start a run.
    let asked: Vec<_> = simulator
        .received()
        .into_iter()
        .filter(|request| !request.flow.is_empty())
        .map(|request| request.method)
        .collect();
    assert_eq!(asked, ["PUT", "PUT", "PUT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_expired_secret_is_reported_with_its_fix() {
    let simulator = House::simulator().await;
    let wrong = [("CLIENT_SECRET", Some("not-the-secret~of-the-application"))];
    let said = examined(&simulator, YAML, &[], &wrong, 0);
    assert_eq!(said.code, 1, "{}", said.text);
    let expected = ["AADSTS7000215", "verdict: wrong (configuration): put "];
    said.has("credential flows", &expected);
    said.has(
        "flow report",
        &["its credential has no token", "verdict: wrong"],
    );
    said.has("flow legacy", &["verdict: ok"]);

    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        for secret in &mut app.secrets {
            secret.expired = true;
        }
    });
    let secret = [("CLIENT_SECRET", Some("the-secret-that-once-was-good"))];
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        for one in &mut app.secrets {
            secret[0].1.unwrap().clone_into(&mut one.value);
        }
    });
    let said = examined(&simulator, YAML, &["report"], &secret, 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has("credential flows", &["AADSTS7000222", "expired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_the_flow_does_not_admit_are_named() {
    let simulator = House::simulator().await;
    let other = "99990000-0000-4000-8000-000000000009";
    simulator.set_flow("order-created", |flow| {
        flow.mode = Mode::Users(vec![other.to_owned()]);
    });
    let yaml = YAML.replace("${GATEWAY_OBJECT}", other);
    let said = examined(&simulator, &yaml, &["order-created"], &[], 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow order-created",
        &[
            "403 MisMatchingOAuthClaims",
            &format!(
                "oid is {:?}, the flow's `trigger:` lists {other}",
                directory::GATEWAY_OBJECT
            ),
            "enterprise application",
            "verdict: wrong (configuration)",
        ],
    );
    // The configuration knows less than the flow: what was sent is there to compare.
    let said = examined(&simulator, YAML, &["order-created"], &[], 0);
    said.has(
        "flow order-created",
        &["MisMatchingOAuthClaims", "nothing known differs"],
    );

    // `check` refuses such a scope at Entra ID; by `token_url` it is anybody's.
    let own = r#"authority: "${AUTHORITY}", client_id"#;
    let elsewhere = r#"token_url: "${AUTHORITY}/${TENANT}/oauth2/v2.0/token", scope: "https://service.flow.microsoft.com/.default", client_id"#;
    let yaml = YAML.replace(own, elsewhere);
    let said = examined(&simulator, &yaml, &["report"], &[], 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow report",
        &["the slash at the end counts", "MisMatchingOAuthClaims"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_off_gone_or_unreachable_is_distinguished() {
    let simulator = House::simulator().await;
    simulator.set_flow("report", |flow| flow.state = FlowState::Disabled);
    let said = examined(&simulator, YAML, &["report"], &[], 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow report",
        &["WorkflowTriggerIsNotEnabled", "turn it on", "wrong (flow)"],
    );

    let url = simulator.flow_url("report");
    let id = simulator.flow("report").unwrap().id;
    let gone = url.replace(&id, "00000000000000000000000000000000");
    let said = examined(
        &simulator,
        YAML,
        &["report"],
        &[("REPORT_URL", Some(&gone))],
        0,
    );
    said.has(
        "flow report",
        &["WorkflowNotFound", "deleted", "wrong (flow)"],
    );

    let address = simulator.address().to_string();
    let nobody = testkit::refusing();
    let silent = url.replace(&address, &nobody.to_string());
    let said = examined(
        &simulator,
        YAML,
        &["report"],
        &[("REPORT_URL", Some(&silent))],
        0,
    );
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow report",
        &["no connection to its host", "wrong (network)"],
    );
    said.has("credential flows", &["verdict: ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_signature_is_the_configurations_fault() {
    let simulator = House::simulator().await;
    let url = simulator.flow_url("legacy");
    let (before, _) = url.split_once("sig=").unwrap();
    let bad = format!("{before}sig=another-signature-that-is-wrong");
    let said = examined(
        &simulator,
        YAML,
        &["legacy"],
        &[("LEGACY_URL", Some(&bad))],
        0,
    );
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow legacy",
        &["AuthorizationFailed", "wrong (configuration)"],
    );
    assert!(!said.text.contains("credential flows"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_and_the_rest_examined() {
    let simulator = House::simulator().await;
    let said = examined(&simulator, YAML, &[], &[("CLIENT_SECRET", None)], 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "credential flows",
        &[
            "the environment variable is not set: CLIENT_SECRET",
            "wrong (configuration)",
        ],
    );
    said.has("flow report", &["its credential has no token"]);
    said.has("flow legacy", &["verdict: ok"]);

    // An empty value is no better, and a flow without a URL is no reason to leave the others out.
    let said = examined(&simulator, YAML, &[], &[("CLIENT_SECRET", Some("\n"))], 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has("credential flows", &["the value is empty: CLIENT_SECRET"]);
    said.has("flow legacy", &["verdict: ok"]);
    let said = examined(&simulator, YAML, &[], &[("REPORT_URL", None)], 0);
    assert_eq!(said.code, 1, "{}", said.text);
    said.has(
        "flow report",
        &["the environment variable is not set: REPORT_URL"],
    );
    said.has("flow order-created", &["verdict: ok"]);

    let said = examined(&simulator, YAML, &["reprot"], &[], 0);
    assert_eq!(said.code, 2, "{}", said.text);
    let said = examined(&simulator, "flows: 5", &[], &[], 0);
    assert_eq!(said.code, 2, "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_expires_soon_is_a_warning() {
    let simulator = House::simulator().await;
    let now = flowgate::clock::Clock::system().unix();
    let day = |unix: u64| {
        let stamp = jiff::Timestamp::from_second(i64::try_from(unix).unwrap()).unwrap();
        stamp.strftime("%Y-%m-%d").to_string()
    };
    let expires = format!(
        "secret: {{ env: CLIENT_SECRET }}, expires: {}",
        day(now + 10 * 86_400)
    );
    let yaml = YAML.replace("secret: { env: CLIENT_SECRET }", &expires);
    let said = examined(&simulator, &yaml, &["report"], &[], 0);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has(
        "credential flows",
        &["warning  credentials.flows", "the secret expires in"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_a_vault_that_expires_soon_is_a_warning_though_the_vault_knows_no_date() {
    let shop = Workshop::open();
    shop.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out soon.key");
    shop.run("req -x509 -key soon.key -subj /CN=soon -days 20 -out soon.crt");
    let part = |end: &str| std::fs::read_to_string(shop.path(&format!("soon.{end}"))).unwrap();
    let simulator = House::simulator().await;
    let registered = shop.registered("soon");
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.certificates = vec![registered];
    });
    simulator.put_secret("soon", SecretVersion::pem(&(part("key") + &part("crt"))));
    let reader = format!(
        "reader: {{ client_secret: {{ authority: \"${{AUTHORITY}}\", client_id: \"${{GATEWAY_APP}}\", secret: {{ env: CLIENT_SECRET }} }} }}\n  flows:\n    client_certificate: {{ authority: \"${{AUTHORITY}}\", client_id: \"${{GATEWAY_APP}}\", certificate: {{ key_vault: \"{}/secrets/soon\", credential: reader }} }}\n",
        simulator.vault_url()
    );
    let (before, rest) = YAML.split_once("flows:\n    client_secret:").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let said = examined(
        &simulator,
        &format!("{before}{reader}{after}"),
        &["report"],
        &[],
        0,
    );
    assert_eq!(said.code, 0, "{}", said.text);
    let warning = ["warning  the certificate in Key Vault expires on "];
    said.has("credential flows", &warning);
    assert!(!said.of("credential reader").contains("warning"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_caller_is_said_not_to_be_tried() {
    let simulator = House::simulator().await;
    let yaml = YAML
        .replace("client_secret:", "on_behalf_of:")
        .replace(
            "erp: { api_key: { keys: [{ plain: { env: ERP_KEY } }] } }",
            r#"erp: { entra: { authority: "${AUTHORITY}", audience: "api://${GATEWAY_APP}" } }"#,
        )
        .replace(
            "LEGACY_URL }, who_can_trigger: erp,",
            "LEGACY_URL }, who_can_trigger: anyone,",
        );
    let said = examined(&simulator, &yaml, &["report", "--fire"], &[], 0);
    assert_eq!(said.code, 0, "{}", said.text);
    let without = "cannot be tried without a caller";
    said.has("credential flows", &[without, "verdict: inconclusive"]);
    said.has(
        "flow report",
        &["a connection can be made", "verdict: inconclusive"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_fire_starts_a_run() {
    let simulator = House::simulator().await;
    let said = examined(&simulator, YAML, &["order-created", "--fire"], &[], 1);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has("Firing order-created: POST", &["This starts a run"]);
    said.has(
        "flow order-created",
        &["fired with POST: it answered 200, run 0858", "verdict: ok"],
    );
    // Never all of them at once.
    let said = examined(&simulator, YAML, &["--fire"], &[], 1);
    assert_eq!(said.code, 2, "{}", said.text);
}
