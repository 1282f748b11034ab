//! curl, over HTTP/1.1 and HTTP/2, through the real binary in front of `flowgate simulate`, with the configuration that prints.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use simulator::{Gate, directory as d};

use crate::canaries::Canaries;
use crate::house::{BASE, House, KEY, environment};
use crate::process::{Gateway, Process, Simulated, curl, page, text, written};
use testkit::Authority;

/// What the simulator prints, with ports of the test's own.
fn configuration(simulated: &Simulated, server: &str) -> String {
    format!(
        "server: {{ listen: \"${{LISTEN}}\"{server} }}\nadmin: {{ listen: \"${{ADMIN}}\" }}\nlog: {{ level: trace, format: json }}\n{}",
        simulated.configuration
    )
}

/// What `curl` prints after the body.
const SAY: &str = "\\n%{http_version} %{http_code} %{num_connects}";

/// What the base configuration takes from its environment.
const VARIABLES: &[&str] = &[
    "AUTHORITY",
    "TENANT",
    "API",
    "CALLER_APP",
    "GATEWAY_APP",
    "CLIENT_SECRET",
    "ERP_KEY",
    "ORDER_CREATED_URL",
    "REPORT_URL",
    "LEGACY_URL",
];

struct Setting {
    simulated: Simulated,
    gateway: Gateway,
    key: String,
}

impl Setting {
    fn up() -> Self {
        let simulated = Simulated::start(&[]);
        let gateway = Gateway::start(&configuration(&simulated, ""), &simulated.environment);
        let key = format!("X-Api-Key: {}", simulated.variable("ERP_KEY"));
        Self {
            simulated,
            gateway,
            key,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address)
    }
}

#[test]
fn curl_triggers_a_flow_over_http1_and_http2() {
    let setting = Setting::up();
    let url = setting.url("/order-created");
    for (protocol, version) in [
        ("--http1.1", "1.1"),
        ("--http2-prior-knowledge", "2"),
        ("--http1.0", "1"),
    ] {
        let common = [
            protocol,
            "-w",
            SAY,
            "-H",
            &setting.key,
            "-H",
            "Content-Type: application/json",
            "-d",
            r#"{"order":7}"#,
            &url,
        ];
        let Some(said) = curl(&common) else { return };
        assert!(said.ends_with(&format!("\n{version} 200 1")), "{said}");
        assert!(said.contains(r#""by":"application token""#), "{said}");
        assert!(said.contains(r#""flowgate-caller":"erp""#), "{said}");
        assert!(said.contains(r#""body":{"order":7}"#), "{said}");
    }
    let twice = [
        "-w",
        SAY,
        "-H",
        &setting.key,
        "-d",
        "",
        &url,
        "-o",
        "/dev/null",
        &url,
        "-o",
        "/dev/null",
    ];
    let said = curl(&twice).unwrap();
    assert!(
        said.ends_with("1.1 200 0"),
        "the connection is kept: {said}"
    );
    let log = setting.simulated.process.said();
    let asked = log
        .lines()
        .filter(|line| line.starts_with("token "))
        .count();
    assert_eq!(asked, 1, "one token serves them all: {log}");
}

#[test]
fn curl_uploads_with_a_length_in_chunks_and_after_100_continue() {
    let setting = Setting::up();
    let url = setting.url("/order-created");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    // The echo would send it back: kept small enough for a test, larger than any buffer that could hide a fault.
    std::fs::write(&file, format!("{{\"text\":\"{}\"}}", "x".repeat(300_000))).unwrap();
    let body = format!("@{}", text(&file));
    let headers = [
        "-H",
        &setting.key,
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        &body,
        "-w",
        SAY,
    ];
    for more in [
        &["--http1.1"][..],
        &["--http1.1", "-H", "Transfer-Encoding: chunked"],
        &[
            "--http1.1",
            "-H",
            "Expect: 100-continue",
            "--expect100-timeout",
            "15",
        ],
        &["--http2-prior-knowledge"],
        &["--http2-prior-knowledge", "-H", "Content-Length:"],
    ] {
        let arguments = [&headers[..], more, &[&url]].concat();
        let Some(said) = curl(&arguments) else { return };
        assert!(
            said.contains(" 200 1"),
            "{more:?} {}",
            &said[said.len().min(400)..]
        );
        assert!(said.len() > 300_000, "{more:?}");
    }
    let slow = curl(
        &[
            &headers[..],
            &[
                "--http1.1",
                "-H",
                "Expect: 100-continue",
                "--expect100-timeout",
                "60",
                &url,
            ],
        ]
        .concat(),
    );
    assert!(
        slow.unwrap().contains(" 200 1"),
        "100 Continue came before curl gave up waiting for it"
    );
}

#[test]
fn curl_is_refused_in_words_over_both_protocols() {
    let setting = Setting::up();
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        for (path, header, code) in [
            (
                "/order-created",
                "X-Api-Key: nobodys-key-nobodys-key",
                "401",
            ),
            ("/nowhere", setting.key.as_str(), "404"),
            ("/order-created/../legacy", setting.key.as_str(), "404"),
            ("/order-created?sig=x", setting.key.as_str(), "400"),
        ] {
            let url = setting.url(path);
            let arguments = [
                protocol,
                "--path-as-is",
                "-w",
                SAY,
                "-H",
                header,
                "-d",
                "",
                &url,
            ];
            let Some(said) = curl(&arguments) else { return };
            assert!(said.contains("\"type\":\"urn:flowgate:"), "{path} {said}");
            assert!(said.contains(&format!(" {code} ")), "{path} {said}");
        }
        let url = setting.url("/order-created");
        let said = curl(&[protocol, "--head", "-H", &setting.key, &url]).unwrap();
        assert!(
            said.contains(" 405") && said.to_lowercase().contains("allow: post"),
            "{said}"
        );
    }
}

#[test]
fn curl_speaks_tls_and_chooses_the_protocol_by_alpn() {
    let simulated = Simulated::start(&[]);
    let authority = Authority::fresh();
    let (certificate, key) = authority.files();
    let tls = format!(", tls: {{ certificate: \"{certificate}\", private_key: \"{key}\" }}");
    let gateway = Gateway::start(&configuration(&simulated, &tls), &simulated.environment);
    let url = format!("https://{}/order-created", gateway.address);
    let ca = authority.path();
    let header = format!("X-Api-Key: {}", simulated.variable("ERP_KEY"));
    for (protocol, version) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
        for tls in ["--tlsv1.3", "--tlsv1.2"] {
            let arguments = [
                protocol, tls, "--cacert", &ca, "-w", SAY, "-H", &header, "-d", "{}", &url,
            ];
            let Some(said) = curl(&arguments) else { return };
            assert!(
                said.ends_with(&format!("\n{version} 200 1")),
                "{protocol} {tls} {said}"
            );
        }
    }
}

#[test]
fn a_caller_with_a_token_of_its_own_is_known_by_it() {
    let setting = Setting::up();
    let token = |secret: &str, client: &str, tenant: &str| {
        let url = format!(
            "http://{}/{tenant}/oauth2/v2.0/token",
            setting.simulated.address
        );
        let (client, secret) = (
            format!("client_id={client}"),
            format!("client_secret={}", setting.simulated.variable(secret)),
        );
        let scope = format!("scope=api://{}/.default", d::API_APP);
        let said = curl(&[
            "-d",
            "grant_type=client_credentials",
            "-d",
            &client,
            "--data-urlencode",
            &secret,
            "--data-urlencode",
            &scope,
            &url,
        ])?;
        let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
        Some(answer["access_token"].as_str().unwrap().to_owned())
    };
    for (secret, client, tenant, caller) in [
        ("CALLER_SECRET", d::CALLER_APP, d::DEMO_TENANT, "app"),
        (
            "PARTNER_SECRET",
            d::PARTNER_APP,
            d::PARTNER_TENANT,
            "partner",
        ),
    ] {
        let Some(token) = token(secret, client, tenant) else {
            return;
        };
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            let header = format!("Authorization: Bearer {token}");
            let url = setting.url("/report");
            let said = curl(&[protocol, "-w", SAY, "-H", &header, "-d", "{}", &url]).unwrap();
            assert!(said.contains(" 200 "), "{said}");
            assert!(
                said.contains(&format!("\"flowgate-caller\":\"{caller}\"")),
                "{said}"
            );
            assert!(
                said.contains(&format!("\"flowgate-tenant\":\"{tenant}\"")),
                "{said}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_termination_ends_it_with_0_after_the_call_in_flight() {
    let simulator = House::simulator().await;
    let gate = Gate::closed();
    simulator.set_flow("order-created", |flow| flow.gate = Some(gate.clone()));
    let environment = environment(&simulator, &[]);
    let environment: Vec<_> = VARIABLES
        .iter()
        .map(|name| ((*name).to_owned(), environment.value(name).unwrap()))
        .collect();
    let ports =
        "server: { listen: \"${LISTEN}\", drain_delay: 0s }\nadmin: { listen: \"${ADMIN}\" }";
    let yaml = BASE.replace("server: { listen: \"127.0.0.1:8080\" }", ports);
    let mut gateway = Gateway::start(&yaml, &environment);
    let url = format!("http://{}/order-created", gateway.address);
    let order = move |url: String| {
        std::thread::spawn(move || {
            let key = format!("X-Api-Key: {KEY}");
            curl(&["-w", SAY, "-H", &key, "-d", "{}", &url])
        })
    };
    let called = order(url.clone());
    let arrived = simulator.until(|simulator| simulator.runs("order-created") == 1);
    if tokio::time::timeout(Duration::from_secs(20), arrived)
        .await
        .is_err()
    {
        assert_eq!(called.join().unwrap(), None, "the call did not arrive");
        return;
    }
    gateway.process.terminate();
    gateway.process.says("draining");
    let late = order(url).join().unwrap().unwrap();
    assert!(
        late.contains("urn:flowgate:draining") && late.contains(" 503 "),
        "{late}"
    );
    gate.open();
    let said = called.join().unwrap().unwrap();
    assert!(
        said.contains(" 200 ") && said.contains("\"run_id\""),
        "{said}"
    );
    assert_eq!(
        gateway.process.ended().code(),
        Some(0),
        "{}",
        gateway.process.said()
    );
    let said = gateway.process.said();
    assert!(said.contains("drained"), "{said}");
    assert!(
        said.contains("\"outcome\":\"forwarded\""),
        "the last access lines are written: {said}"
    );
    assert_eq!(simulator.runs("order-created"), 1);
}

#[test]
fn at_trace_the_real_binary_prints_no_secret() {
    let setting = Setting::up();
    let mut canaries = Canaries::default();
    for (name, value) in &setting.simulated.environment {
        // Of a signed URL the signature is the secret; host and path are distinguished from it.
        let value = value
            .rsplit_once("sig=")
            .map_or(value.as_str(), |(_, sig)| sig);
        canaries.watch(name, value);
    }
    canaries.watch("a query", "canary-query-canary");
    canaries.watch("a body", "canary-body-canary");
    canaries.watch("a wrong key", "canary-wrong-key-canary");
    for (path, header) in [
        ("/order-created", setting.key.as_str()),
        ("/legacy", setting.key.as_str()),
        ("/order-created?x=canary-query-canary", setting.key.as_str()),
        ("/report", "X-Api-Key: canary-wrong-key-canary"),
        ("/report", "Authorization: Bearer canary-wrong-key-canary"),
    ] {
        let url = setting.url(path);
        if curl(&["-H", header, "-d", "canary-body-canary", &url]).is_none() {
            return;
        }
    }
    let pages: String = ["/metrics", "/status", "/readyz", "/livez"]
        .iter()
        .filter_map(|path| page(setting.gateway.admin, path))
        .collect();
    canaries.absent_from("the admin port", &pages);
    let mut gateway = setting.gateway;
    gateway.process.terminate();
    gateway.process.ended();
    let said = gateway.process.said();
    assert!(said.contains("\"level\":\"DEBUG\""), "{said}");
    canaries.absent_from("the gateway", &said);
}

#[test]
fn no_memory_ends_up_in_a_core_dump() {
    let setting = Setting::up();
    let process = std::path::PathBuf::from(format!("/proc/{}", setting.gateway.process.id()));
    let limits = std::fs::read_to_string(process.join("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let numbers: Vec<&str> = core["Max core file size".len()..]
        .split_whitespace()
        .take(2)
        .collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
    // The files of a process that cannot be dumped belong to root, whoever runs it (proc(5)). Where root runs the tests this says nothing.
    let owner = std::fs::metadata(process.join("environ")).unwrap().uid();
    assert_eq!(owner, 0);
}

#[test]
fn token_asks_for_the_secret_of_its_own_credential_and_no_other() {
    let simulated = Simulated::start(&[]);
    let ports = [
        ("LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("ADMIN".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let whole = [&simulated.environment[..], &ports[..]].concat();
    let (_folder, path) = written(&configuration(&simulated, ""));
    let token = |variables: &dyn Fn(&str) -> bool| {
        let environment: Vec<_> = whole
            .iter()
            .filter(|(name, _)| variables(name))
            .cloned()
            .collect();
        let mut process =
            Process::start(&["token", "--config", text(&path), "flows"], &environment);
        let code = process.ended().code();
        (code, process.said())
    };
    let other =
        |name: &str| name != "FLOWS_SECRET" && !name.ends_with("_URL") && !name.contains("KEY");
    let (code, said) = token(&|name| name == "FLOWS_SECRET" || other(name));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"aud\""), "{said}");
    let (code, said) = token(&other);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("credentials.flows.client_secret.secret") && said.contains("FLOWS_SECRET"),
        "{said}"
    );
    assert!(!said.contains("note:") && !said.contains("_URL"), "{said}");
}

#[test]
fn token_explains_a_refusal_with_fault_and_fix() {
    let simulated = Simulated::start(&[]);
    let ports = [
        ("LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("ADMIN".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let mut environment = [&simulated.environment[..], &ports[..]].concat();
    for (name, value) in &mut environment {
        if name == "FLOWS_SECRET" {
            *value = "not-the-secret-of-this-application".to_owned();
        }
    }
    let (_folder, path) = written(&configuration(&simulated, ""));
    let mut process = Process::start(&["token", "--config", text(&path), "flows"], &environment);
    assert_eq!(process.ended().code(), Some(1));
    let said = process.said();
    assert!(
        said.contains(
            "AADSTS7000215: the client secret is wrong. Fault: configuration. Cure: put the secret's *value*"
        ),
        "{said}"
    );
    assert!(!said.contains("not-the-secret"), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_served_ends_it_with_2() {
    let simulated = Simulated::start(&[]);
    let good = configuration(&simulated, "");
    let ports = [
        ("LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("ADMIN".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let whole = [&simulated.environment[..], &ports[..]].concat();
    let without_secret: Vec<_> = whole
        .iter()
        .filter(|(name, _)| name != "FLOWS_SECRET")
        .cloned()
        .collect();
    for (yaml, environment, word) in [
        (
            good.replace(
                "who_can_trigger: [erp, app, partner]",
                "who_can_trigger: anyone",
            ),
            &whole,
            "lets everybody act as the gateway",
        ),
        (good.replace("callers:", "caller:"), &whole, "caller"),
        (good.clone(), &without_secret, "FLOWS_SECRET"),
        ("flows: [".to_owned(), &whole, "flowgate.yaml:1"),
    ] {
        let (_folder, file) = written(&yaml);
        let mut process = Process::start(&["serve", "--config", text(&file)], environment);
        assert_eq!(process.ended().code(), Some(2), "{}", process.said());
        assert!(process.said().contains(word), "{}", process.said());
        assert!(!process.said().contains(simulated.variable("FLOWS_SECRET")));
    }
    let mut process = Process::start(&["serve", "--config", "/nowhere/flowgate.yaml"], &whole);
    assert_eq!(process.ended().code(), Some(2));
}

#[test]
fn a_port_that_is_taken_ends_it_with_1() {
    let simulated = Simulated::start(&[]);
    let (_folder, file) = written(&configuration(&simulated, ""));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut environment = simulated.environment.clone();
    environment.push(("LISTEN".into(), taken.local_addr().unwrap().to_string()));
    environment.push(("ADMIN".into(), "127.0.0.1:0".into()));
    let mut process = Process::start(&["serve", "--config", text(&file)], &environment);
    assert_eq!(process.ended().code(), Some(1), "{}", process.said());
    assert!(
        process.said().contains("cannot listen on"),
        "{}",
        process.said()
    );
}
