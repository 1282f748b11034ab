//! Configurations as people write them, whole.

use std::sync::Arc;

use super::source::File;
use super::{Config, DEFAULTS, Outcome, Problems, Secrets, examine_texts, find_over, survey_texts};
use crate::clock::Clock;
use crate::credential::proof::Proof;
use crate::credential::{Application, Ask, Kind};
use crate::vault::Value;
use settings::Environment;
use settings::problem::Severity;
use settings::tree;

mod damage;
mod files;
mod kinds;
mod mistakes;
mod proofs;
mod schema;

/// 2026-11-22.
pub(super) const NOW: u64 = 1_795_305_600;

pub(super) const VARIABLES: [(&str, &str); 10] = [
    ("SECRET", "s~e+c/r&e%t=ü"),
    (
        "KEY_HASH",
        "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
    ),
    (
        "FLOW_URL",
        "https://a.b.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/triggers/manual/paths/invoke?api-version=1",
    ),
    (
        "SIGNED_URL",
        "https://a.b.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=abc",
    ),
    ("BLANKS", " two words "),
    ("EMPTY", ""),
    ("SHORT", "fifteen-letters"),
    ("COMMA", "one-half-of-it,the-other-half"),
    ("GUID", "22220000-0000-0000-0000-00000000000a"),
    (
        "OTHER_HASH",
        "0000ceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e",
    ),
];

pub(super) fn examine_files(texts: &[(&str, &str)], secrets: Secrets) -> Outcome {
    let files: Vec<File> = texts
        .iter()
        .map(|(name, text)| File {
            name: Arc::from(*name),
            text: (*text).to_owned(),
        })
        .collect();
    let environment = Environment::fixed(VARIABLES);
    examine_texts(&files, &environment, &Clock::manual(NOW), secrets)
}

pub(super) fn examine(text: &str) -> Outcome {
    examine_files(&[("flowgate.yaml", text)], Secrets::Required)
}

/// The application behind the first credential, and its secret.
pub(super) fn application(config: &Config) -> &Application {
    let Kind::ClientCredentials(application) = &config.credentials[0].kind else {
        panic!("another kind")
    };
    application
}

pub(super) fn secret_of(application: &Application) -> &str {
    let Proof::Secret(settings) = &application.proof else {
        panic!("another proof")
    };
    let Value::Fixed(secret) = &settings.secret else {
        panic!("the secret is in a vault");
    };
    secret.expose()
}

#[test]
fn a_command_that_needs_one_credential_needs_no_other_secret() {
    let text = r"
callers:
  erp: { api_key: { sha256: { env: ABSENT_1 } } }
credentials:
  flows: { client_secret: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000002, secret: { env: SECRET } } }
  flows-2: { client_secret: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000003, secret: { file: /absent/2 } } }
flows:
  a: { url: { env: ABSENT_3 }, who_can_trigger: erp, credential: flows }
  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }
";
    let file = File {
        name: Arc::from("flowgate.yaml"),
        text: text.to_owned(),
    };
    let survey = |below: &str| {
        let environment = Environment::fixed(VARIABLES);
        let needed = Secrets::Below(vec![below.to_owned()]);
        survey_texts(
            std::slice::from_ref(&file),
            &environment,
            &Clock::manual(NOW),
            needed,
        )
    };
    let parts = survey("credentials.flows").unwrap_or_else(|problems| panic!("{problems}"));
    let there: Vec<(&str, bool)> = parts
        .credentials
        .iter()
        .map(|one| (&*one.name, one.settings.is_some()))
        .collect();
    assert_eq!(there, [("flows", true), ("flows-2", false)]);
    let flows: Vec<bool> = parts.flows.iter().map(Option::is_some).collect();
    assert_eq!(flows, [false, true]);
    assert!(parts.outbound.is_some());
    assert!(parts.whole().is_none());
    for (below, reported) in [
        (
            "credentials.flows-2",
            "credentials.flows-2.client_secret.secret: ",
        ),
        ("flows.a", "flows.a.url: "),
        ("callers", "callers.erp.api_key.sha256: "),
    ] {
        let problems = survey(below).err().expect(below);
        assert_eq!(problems.iter().count(), 1, "{problems}");
        assert!(problems.to_string().contains(reported), "{problems}");
    }
}

fn good(text: &str) -> Config {
    let Outcome {
        config, problems, ..
    } = examine(text);
    assert!(!problems.fatal(), "{problems}");
    config.expect("a configuration without errors")
}

fn severities(problems: &Problems) -> [usize; 3] {
    [Severity::Error, Severity::Warning, Severity::Note].map(|severity| problems.count(severity))
}

#[test]
fn example_yaml_passes_without_an_error_or_a_warning() {
    let example = include_str!("../../config/example.yaml");
    let Outcome {
        problems, counts, ..
    } = examine_files(&[("config/example.yaml", example)], Secrets::Optional);
    assert_eq!(severities(&problems)[..2], [0, 0], "{problems}");
    assert_eq!(
        (counts.flows, counts.callers, counts.credentials),
        (9, 6, 7)
    );
}

/// An entra caller, a credential by default, one flow.
const SMALL: &str = r"
defaults:
  entra: { tenant: 8F3B0000-0000-0000-0000-000000000001 }
callers:
  erp: { api_key: { sha256: { env: KEY_HASH } } }
credentials:
  flows: { client_secret: { client_id: 22220000-0000-0000-0000-000000000001, secret: { env: SECRET } } }
flows:
  order: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }
";

#[test]
fn a_small_configuration_becomes_settings_of_every_stage() {
    let config = good(SMALL);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.limits.buffer_memory(None), 256 << 20);
    assert_eq!(config.limits.buffer_memory(Some(8 << 30)), 256 << 20);
    assert_eq!(config.limits.buffer_memory(Some(512 << 20)), 128 << 20);
    let given = good(&format!("server: {{ buffer_memory: 64MiB }}\n{SMALL}"));
    assert_eq!(given.limits.buffer_memory(Some(1 << 20)), 64 << 20);
    assert_eq!(config.server.drain.as_secs(), 140);
    let entry = &config.flows[0];
    assert_eq!(entry.flow.path, "/order");
    assert_eq!(entry.flow.methods, [http::Method::POST]);
    assert_eq!(entry.flow.timeout.as_secs(), 130);
    assert_eq!(entry.flow.kind, crate::flow::Kind::Trigger);
    assert_eq!(
        entry.rule,
        crate::policy::Rule::Callers(vec![crate::identity::CallerId(0)])
    );
    let scope = Ask::Scope("https://service.flow.microsoft.com//.default".to_owned());
    assert_eq!(entry.credential, Some((0, scope)));
    let settings = application(&config);
    assert_eq!(
        settings.token_url.as_str(),
        "https://login.microsoftonline.com/8F3B0000-0000-0000-0000-000000000001/oauth2/v2.0/token"
    );
    assert_eq!(secret_of(settings), "s~e+c/r&e%t=ü");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_refresh_token_asks_for_graphs_permissions_in_full_and_knows_where_a_person_signs_in() {
    let refresh = |keys: &str, url: &str| {
        let config = good(&format!(
            "callers:\n  erp: {{ api_key: {{ sha256: {{ env: KEY_HASH }} }} }}\ncredentials:\n  planner: {{ refresh_token: {{ client_id: 22220000-0000-0000-0000-000000000001, store: {{ file: planner.token }}, store_key: {{ env: KEY_HASH }}, {keys} }} }}\nflows:\n  planner: {{ url: '{url}', who_can_trigger: erp, credential: planner }}\n"
        ));
        let Kind::RefreshToken(settings) = config.credentials[0].kind.clone() else {
            panic!("another kind")
        };
        let (_, ask) = config.flows[0].credential.clone().unwrap();
        (*settings, ask)
    };
    let tenant = "tenant: 8f3b0000-0000-0000-0000-000000000001";
    let graph = "https://graph.microsoft.com/v1.0/planner";
    let (settings, ask) = refresh(
        &format!("{tenant}, scope: [Tasks.ReadWrite, openid]"),
        graph,
    );
    let full = Ask::Scope("https://graph.microsoft.com/Tasks.ReadWrite openid".to_owned());
    assert_eq!((settings.scope.as_ref(), &ask), (Some(&full), &full));
    assert!(settings.application.proof == Proof::Nothing);
    let at = |word: &str| {
        let tenant = "8f3b0000-0000-0000-0000-000000000001/oauth2/v2.0";
        let url = format!("https://login.microsoftonline.com/{tenant}/{word}");
        Some(url.parse().unwrap())
    };
    assert_eq!(settings.sign_in.authorize, at("authorize"));
    assert_eq!(settings.sign_in.device, at("devicecode"));
    // Another cloud's Graph, and what the host wants where nothing is said.
    let (settings, ask) = refresh(
        &format!("{tenant}, cloud: gcc-high, scope: Tasks.Read"),
        "https://graph.microsoft.us/v1.0",
    );
    assert_eq!(
        ask,
        Ask::Scope("https://graph.microsoft.us/Tasks.Read".to_owned())
    );
    assert_eq!(settings.scope, Some(ask));
    let (settings, ask) = refresh(tenant, graph);
    assert_eq!(
        ask,
        Ask::Scope("https://graph.microsoft.com/.default".to_owned())
    );
    assert_eq!(settings.scope, None);
    // A server that is not Entra ID: as it is written.
    let (settings, ask) = refresh(
        "token_url: https://idp.example/token, authorize_url: https://idp.example/auth, scope: tasks",
        "https://api.example/x",
    );
    assert_eq!(ask, Ask::Scope("tasks".to_owned()));
    assert_eq!(
        settings
            .sign_in
            .authorize
            .map(|url| url.to_string())
            .as_deref(),
        Some("https://idp.example/auth")
    );
    assert_eq!(settings.sign_in.device, None);
}

#[test]
fn two_credentials_do_not_share_a_store() {
    let entry = "{ refresh_token: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000001, store: { file: a }, store_key: { env: KEY_HASH } } }";
    let outcome = examine(&format!("credentials:\n  one: {entry}\n  two: {entry}\n"));
    let problem = outcome
        .problems
        .iter()
        .find(|problem| problem.severity == Severity::Error)
        .unwrap();
    assert_eq!(&*problem.location.as_ref().unwrap().path, "credentials.two");
}

#[test]
fn what_to_ask_for_follows_from_cloud_endpoint_and_host() {
    for (cloud, endpoint, url, ask) in [
        (
            "public",
            "v2",
            "https://graph.microsoft.com/v1.0",
            "scope https://graph.microsoft.com/.default",
        ),
        (
            "gcc",
            "v2",
            "https://a.b.environment.api.gov.powerplatform.microsoft.us/x",
            "scope https://gov.service.flow.microsoft.us//.default",
        ),
        (
            "gcc-high",
            "v1",
            "https://a.b.environment.api.high.powerplatform.microsoft.us/x",
            "resource https://high.service.flow.microsoft.us/",
        ),
        (
            "dod",
            "v2",
            "https://a.b.environment.api.appsplatform.us/x",
            "scope https://service.flow.appsplatform.us//.default",
        ),
        (
            "china",
            "v1",
            "http://127.0.0.1:9/workflows/0/triggers/manual/paths/invoke?api-version=1",
            "resource https://service.powerautomate.cn/",
        ),
        (
            "public",
            "v2",
            "https://acme.vault.azure.net/secrets",
            "scope https://vault.azure.net/.default",
        ),
    ] {
        let config = good(&format!(
            "{}\n  c: {{ url: '{url}', who_can_trigger: erp, credential: flows }}",
            SMALL
                .replace(
                    "entra: {",
                    &format!("entra: {{ cloud: {cloud}, endpoint: {endpoint},")
                )
                .replace(
                    "order: { url: { env: FLOW_URL }",
                    "order: { url: 'http://127.0.0.1:9/x'"
                ),
        ));
        let asked = match &config.flows[0].credential {
            Some((_, Ask::Scope(scope))) => format!("scope {scope}"),
            Some((_, Ask::Resource(resource))) => format!("resource {resource}"),
            Some((_, Ask::Both { scope, resource })) => {
                format!("scope {scope}, resource {resource}")
            }
            None => String::new(),
        };
        assert_eq!(asked, ask, "{cloud} {endpoint} {url}");
    }
}

#[test]
fn a_signature_is_dropped_beside_a_credential_and_kept_without_one() {
    let outcome = examine(&SMALL.replace("FLOW_URL", "SIGNED_URL"));
    assert_eq!(
        severities(&outcome.problems),
        [0, 1, 0],
        "{}",
        outcome.problems
    );
    let config = outcome.config.expect("warnings only");
    assert!(!config.flows[0].flow.url.signed());
    let config = good(
        &SMALL
            .replace("FLOW_URL", "SIGNED_URL")
            .replace("credential: flows", "credential: none"),
    );
    assert!(config.flows[0].flow.url.signed());
    assert_eq!(config.flows[0].credential, None);
}

#[test]
fn files_unite_and_their_order_does_not_matter() {
    let (callers, rest) = SMALL.split_once("credentials:").expect("two halves");
    let rest = format!("credentials:{rest}");
    let more =
        "flows:\n  second: { url: { env: FLOW_URL }, who_can_trigger: [erp], credential: flows }";
    let texts = [
        ("a.yaml", callers),
        ("b.yaml", rest.as_str()),
        ("c.yaml", more),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let outcome = examine_files(&order.map(|index| texts[index]), Secrets::Required);
        assert_eq!(
            severities(&outcome.problems),
            [0, 0, 0],
            "{}",
            outcome.problems
        );
        assert_eq!(outcome.counts.flows, 2);
        assert!(outcome.config.is_some());
    }
}

/// Every kind of entry, each leaning on the defaults.
const LEANING: &str = r"
callers:
  erp: { api_key: { sha256: { env: KEY_HASH } } }
  idp: { jwt: { issuer: 'https://idp.example', audience: a } }
  app: { entra: { tenant: 8f3b0000-0000-0000-0000-000000000001, audience: a } }
credentials:
  flows: { client_secret: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000001, secret: { env: SECRET } } }
  app: { client_certificate: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000001, certificate: { env: CERTIFICATE } } }
flows:
  order: { url: { env: FLOW_URL }, who_can_trigger: [erp, idp, app], credential: flows }
";

#[test]
fn code_has_no_default_of_its_own() {
    let certificate = proofs::pem(true, 2030, 1, 2);
    let file = || File {
        name: Arc::from("leaning.yaml"),
        text: LEANING.to_owned(),
    };
    let with = |defaults: &str| {
        let defaults = tree::parse(&Arc::from("default.yaml"), defaults)
            .unwrap_or_else(|problem| panic!("{problem}"));
        let certificate = [("CERTIFICATE", certificate.as_str())];
        let environment = Environment::fixed(VARIABLES.into_iter().chain(certificate));
        let clock = Clock::manual(NOW);
        find_over(
            &defaults,
            &[file()],
            &environment,
            &clock,
            Secrets::Required,
        )
        .outcome()
        .config
    };
    assert!(with(DEFAULTS).is_some());
    let is_value = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        line.contains(": ") && !line.starts_with('#')
    };
    let values = DEFAULTS.lines().filter(|line| is_value(line));
    let mut seen = 0;
    for gone in values {
        let rest: Vec<&str> = DEFAULTS.lines().filter(|line| *line != gone).collect();
        assert!(with(&rest.join("\n")).is_none(), "{gone}");
        seen += 1;
    }
    assert_eq!(seen, 31);
}

#[test]
fn a_section_in_two_files_names_both_places() {
    let texts = [
        ("a.yaml", "server:\n  listen: 127.0.0.1:1"),
        ("b.yaml", "\nserver: {}"),
    ];
    let reported = examine_files(&texts, Secrets::Required)
        .problems
        .to_string();
    for place in [
        "--> b.yaml:2:1",
        "::: a.yaml:1:1",
        "`server` may be in one file only",
    ] {
        assert!(reported.contains(place), "{reported}");
    }
}

#[test]
fn variables_are_replaced_in_any_text_and_can_be_escaped() {
    let text = SMALL
        .replace("who_can_trigger: erp", "who_can_trigger: '${CALLER}'")
        .replace("secret: { env: SECRET }", "secret: 'a$$b$${c}${CALLER}'");
    let files = [File {
        name: Arc::from("a.yaml"),
        text,
    }];
    let environment = Environment::fixed(VARIABLES.into_iter().chain([("CALLER", "erp")]));
    let outcome = examine_texts(&files, &environment, &Clock::manual(NOW), Secrets::Required);
    let config = outcome
        .config
        .unwrap_or_else(|| panic!("{}", outcome.problems));
    let settings = application(&config);
    assert_eq!(secret_of(settings), "a$$b${c}erp");
}

#[test]
fn anyone_may_act_as_the_gateway_only_when_the_flow_says_so() {
    let open = SMALL.replace(
        "who_can_trigger: erp",
        "who_can_trigger: anyone, open: true",
    );
    let outcome = examine(&open);
    assert!(!outcome.problems.fatal(), "{}", outcome.problems);
    let config = outcome.config.expect("warnings only");
    assert_eq!(config.flows[0].rule, crate::policy::Rule::Anyone);
    assert!(config.flows[0].flow.anyone && config.flows[0].credential.is_some());
    let by_default = SMALL
        .replace("entra: {", "flow: { credential: flows }\n  entra: {")
        .replace(", credential: flows }", " }")
        .replace("who_can_trigger: erp", "who_can_trigger: anyone");
    let reported = examine(&by_default).problems.to_string();
    assert!(reported.contains("write credential: none"), "{reported}");
}

#[test]
fn overlapping_paths_are_found_below_any_base_path() {
    for (base, one, other, clash) in [
        ("/", "path: /a, subpaths: true", "path: /a/b", true),
        (
            "/gw",
            "path: /a, subpaths: true",
            "path: /a/b/c, subpaths: true",
            true,
        ),
        ("/gw/", "path: /a", "path: /a", true),
        ("/", "path: /a", "path: /a/b", false),
        ("/", "path: /a, subpaths: true", "path: /a-b", false),
        ("/", "path: /a, subpaths: true", "path: /ab/c", false),
        ("/", "path: /A", "path: /a", false),
    ] {
        let text = format!(
            "server: {{ base_path: {base} }}\n{SMALL}\n  one: {{ url: 'http://127.0.0.1:1/x', {one}, who_can_trigger: erp }}\n  two: {{ url: 'http://127.0.0.1:1/y', {other}, who_can_trigger: erp }}"
        );
        let outcome = examine(&text);
        assert_eq!(
            outcome.problems.fatal(),
            clash,
            "{text}\n{}",
            outcome.problems
        );
        if let Some(config) = outcome.config {
            assert!(
                config
                    .flows
                    .iter()
                    .all(|entry| entry.flow.path.starts_with(base.trim_end_matches('/')))
            );
        }
    }
}

#[test]
fn small_files_cannot_grow_into_large_trees() {
    let mut bomb = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
    for level in 1..12 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(", ");
        bomb.push(format!("a{level}: &a{level} [{items}]"));
    }
    let deep = format!("log: {}{}", "[".repeat(5000), "]".repeat(5000));
    let keys = format!("log: {{ {} }}", "? ".repeat(5000));
    for text in [bomb.join("\n"), deep, keys] {
        assert!(examine(&text).problems.fatal());
    }
}

#[test]
fn hosts_are_kept_as_requests_name_them() {
    let yaml = format!("server: {{ hosts: [GW.example., '[0:0:0:0:0:0:0:1]'] }}\n{SMALL}");
    let config = good(&yaml);
    assert_eq!(config.limits.hosts, ["gw.example", "[::1]"]);
    let yaml = format!("outbound: {{ no_proxy: [.corp., x.example] }}\n{SMALL}");
    assert_eq!(good(&yaml).outbound.no_proxy, [".corp", "x.example"]);
}

#[test]
fn the_last_day_of_the_calendar_is_a_date() {
    let hash = "{ sha256: { env: KEY_HASH }, expires: 9999-12-31 }";
    good(&SMALL.replace(
        "{ sha256: { env: KEY_HASH } }",
        &format!("{{ keys: [{hash}] }}"),
    ));
}

#[test]
fn line_ends_and_marks_of_other_systems_are_read() {
    good(&SMALL.replace('\n', "\r\n"));
    good(&format!("\u{feff}{SMALL}"));
}

#[test]
fn the_proxy_of_the_environment_is_used_unless_the_file_names_one() {
    let with = |text: &str, proxy: &str| {
        let files = [File {
            name: Arc::from("a.yaml"),
            text: text.to_owned(),
        }];
        let more = [
            ("HTTPS_PROXY", proxy),
            ("no_proxy", "a.example, .b.example,"),
        ];
        let environment = Environment::fixed(VARIABLES.into_iter().chain(more));
        examine_texts(&files, &environment, &Clock::manual(NOW), Secrets::Required)
    };
    let host = |outcome: Outcome| {
        let outbound = outcome.config.expect("no errors").outbound;
        let proxy = outbound
            .proxy
            .and_then(|proxy| proxy.expose().host_str().map(str::to_owned));
        (proxy, outbound.no_proxy)
    };
    let inherited = vec!["a.example".to_owned(), ".b.example".to_owned()];
    assert_eq!(
        host(with(SMALL, "http://u:p@proxy.example:3128")),
        (Some("proxy.example".to_owned()), inherited.clone())
    );
    let named = format!("outbound: {{ proxy: 'http://other.example:1', no_proxy: [] }}\n{SMALL}");
    assert_eq!(
        host(with(&named, "http://proxy.example:3128")),
        (Some("other.example".to_owned()), vec![])
    );
    let odd = with(SMALL, "socks5://u:hunter2@proxy.example");
    assert!(
        odd.problems.to_string().contains("HTTPS_PROXY is not"),
        "{}",
        odd.problems
    );
    assert!(!odd.problems.to_string().contains("hunter2"));
    assert_eq!(host(odd), (None, inherited));
}

#[test]
fn readers_of_vaults_come_before_those_whose_secret_they_read() {
    const TENANT_ID: &str = "8f3b0000-0000-0000-0000-000000000001";
    let vault = "https://acme.vault.azure.net/secrets";
    let text = format!(
        "{}
secrets: {{ key_vault: {{ credential: zz-cluster, refresh: 1m }} }}
",
        SMALL
            .replace("{ env: SECRET }", &format!("{{ key_vault: {vault}/flows }}"))
            .replace(
                "credentials:
",
                &format!(
                    "credentials:
  zz-cluster: {{ client_secret: {{ tenant: {TENANT_ID}, client_id: {TENANT_ID}, secret: {{ key_vault: {vault}/cluster, credential: zz-root }} }} }}
  zz-root: {{ client_secret: {{ tenant: {TENANT_ID}, client_id: {TENANT_ID}, secret: {{ env: SECRET }} }} }}
"
                ),
            )
    );
    let config = good(&text);
    let readers: Vec<_> = config
        .vaults
        .readers
        .iter()
        .map(|(position, ask)| (&*config.credentials[*position].name, ask.clone()))
        .collect();
    let ask = Ask::Scope("https://vault.azure.net/.default".into());
    assert_eq!(readers, [("zz-root", ask.clone()), ("zz-cluster", ask)]);
    assert_eq!(config.vaults.refresh.as_secs(), 60);
    let names: Vec<_> = config.vaults.used.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["flows", "cluster"]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}
