//! Do the example configurations work, as their readers would use them?
//!
//! In: `config/examples/` and the README's configuration. Out: each passes `flowgate check`, and serves against `flowgate simulate`: both
//! started as the examples say, the simulator's `export` lines as environment, real calls by curl.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

type Variables = BTreeMap<String, String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn flowgate(variables: &Variables) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
    command.env_clear().envs(variables);
    command
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `flowgate simulate` with these flows, and what its `export` lines say.
fn simulate(flows: &[&str]) -> (Running, Variables) {
    let mut command = flowgate(&Variables::new());
    command.args(["simulate", "--listen", "127.0.0.1:0"]);
    for flow in flows {
        command.args(["--flow", flow]);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap());
    let mut variables = Variables::new();
    for line in printed.lines() {
        let line = line.unwrap();
        if let Some((name, value)) = line
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
        {
            variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
        }
        if line.starts_with("# Ctrl-C") {
            break;
        }
    }
    (Running(child), variables)
}

/// `flowgate serve` with this configuration on a free port, and its address.
fn serve(configuration: &Path, variables: &Variables) -> (Running, String) {
    let folder = tempfile::tempdir().unwrap();
    let ports = folder.path().join("ports.yaml");
    let free = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\nlog: { format: json, access: false }\n";
    fs::write(&ports, free).unwrap();
    let child = flowgate(variables)
        .arg("serve")
        .arg("--config")
        .arg(configuration)
        .arg("--config")
        .arg(&ports)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut told = BufReader::new(running.0.stderr.take().unwrap());
    let mut everything = String::new();
    loop {
        let mut line = String::new();
        let read = told.read_line(&mut line).unwrap();
        assert!(read > 0, "serve ended: {everything}");
        if let Ok(line) = serde_json::from_str::<serde_json::Value>(&line)
            && line["message"] == "serving"
        {
            let address = format!("http://{}", line["listen"].as_str().unwrap());
            // Somebody has to read on, or a full pipe would stop the gateway.
            std::thread::spawn(move || told.read_to_string(&mut String::new()));
            return (running, address);
        }
        everything.push_str(&line);
    }
}

fn check(configuration: &Path, variables: &Variables) {
    let output = flowgate(variables)
        .args(["check", "--strict", "--secrets", "--config"])
        .arg(configuration)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The status curl gets for a POST with this header.
fn post(url: &str, header: &str, body: &str) -> String {
    let output = Command::new("curl")
        .args([
            "-s",
            "--noproxy",
            "*",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ])
        .args(["-H", header, "-H", "Content-Type: application/json"])
        .args(["-d", body, url])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A partner's token for the gateway, as its own Entra ID would give it.
fn partner_token(variables: &Variables) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id=66660000-0000-4000-8000-000000000001&client_secret={}\
         &scope=api://11110000-0000-4000-8000-000000000001/.default",
        variables["PARTNER_SECRET"]
    );
    let url = format!(
        "{}/8f3b0000-0000-4000-8000-000000000002/oauth2/v2.0/token",
        variables["ENTRA_AUTHORITY"]
    );
    let output = Command::new("curl")
        .args(["-s", "--noproxy", "*", "-d", &form, &url])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    format!(
        "Authorization: Bearer {}",
        answer["access_token"].as_str().unwrap()
    )
}

fn example(name: &str) -> PathBuf {
    root().join("config/examples").join(name)
}

/// The `--flow` arguments in an example's opening lines.
fn flows_named_in(text: &str) -> Vec<&str> {
    let comment: Vec<&str> = text
        .lines()
        .take_while(|line| line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let mut flows = Vec::new();
    for pair in comment.windows(2) {
        if let ["--flow", flow] = pair {
            flows.push(*flow);
        }
    }
    flows
}

#[test]
fn ten_flows_serve_an_erp_by_its_key_and_a_partner_by_its_token() {
    let path = example("erp-and-partner.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (_simulator, variables) = simulate(&flows_named_in(&text));
    check(&path, &variables);
    let (_gateway, gateway) = serve(&path, &variables);
    let erp = format!("X-Api-Key: {}", variables["ERP_KEY"]);
    for (flow, status) in [
        ("order-created", "200"),
        ("order-changed", "200"),
        ("order-cancelled", "200"),
        ("invoice-posted", "200"),
        ("payment-received", "200"),
        ("stock-low", "200"),
        ("goods-received", "200"),
        ("delivery-note", "415"),
        ("complaint", "202"),
        ("prices/current", "200"),
    ] {
        let got = post(&format!("{gateway}/{flow}"), &erp, r#"{"order":4711}"#);
        assert_eq!(got, status, "{flow}");
    }
    let partner = partner_token(&variables);
    for (flow, status) in [
        ("order-created", "200"),
        ("order-cancelled", "200"),
        ("invoice-posted", "403"),
    ] {
        let got = post(&format!("{gateway}/{flow}"), &partner, r#"{"order":4711}"#);
        assert_eq!(got, status, "{flow}");
    }
    assert_eq!(
        post(
            &format!("{gateway}/order-created"),
            "X-Api-Key: not-the-key",
            "{}"
        ),
        "401"
    );
}

#[test]
fn one_flow_in_three_environments_comes_from_several_files_each_with_a_key_of_its_own() {
    let path = example("environments");
    let text = fs::read_to_string(path.join("gateway.yaml")).unwrap();
    let (_simulator, mut variables) = simulate(&flows_named_in(&text));
    let mut keys = BTreeMap::new();
    for environment in ["dev", "test", "prod"] {
        let output = flowgate(&Variables::new())
            .args(["hash-key", "--generate"])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = printed.lines().collect();
        let [_, key, digest] = lines.as_slice() else {
            panic!("{printed}");
        };
        variables.insert(
            format!("{}_KEY_SHA256", environment.to_uppercase()),
            digest.trim_start_matches("sha256: ").to_owned(),
        );
        keys.insert(
            environment,
            format!("X-Api-Key: {}", key.trim_start_matches("# ")),
        );
    }
    check(&path, &variables);
    let (_gateway, gateway) = serve(&path, &variables);
    for (environment, key) in &keys {
        let url = format!("{gateway}/{environment}/order-created");
        assert_eq!(post(&url, key, "{}"), "200", "{environment}");
    }
    let prod = format!("{gateway}/prod/order-created");
    assert_eq!(post(&prod, &keys["dev"], "{}"), "403");
}

#[test]
fn a_signed_flow_stands_beside_one_that_wants_entra_tokens() {
    let path = example("signed-beside-entra.yaml");
    let (_simulator, variables) = simulate(&[]);
    check(&path, &variables);
    let (_gateway, gateway) = serve(&path, &variables);
    let erp = format!("X-Api-Key: {}", variables["ERP_KEY"]);
    for flow in ["legacy", "report"] {
        assert_eq!(post(&format!("{gateway}/{flow}"), &erp, "{}"), "200");
    }
}

#[test]
fn the_configuration_of_the_readme_works_with_other_ids() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let block = readme.split("\n```yaml\n").nth(1).unwrap();
    let block = block.split("\n```").next().unwrap();
    let (_simulator, mut variables) = simulate(&[]);
    let url = variables["ORDER_CREATED_URL"].clone();
    variables.insert("ORDER_FLOW_URL".to_owned(), url);
    let digest = block
        .split_once("sha256: ")
        .and_then(|(_, rest)| rest.get(..64))
        .unwrap();
    let text = block
        .replace(digest, &variables["ERP_KEY_SHA256"])
        .replace(
            "tenant: 8f3b0000-0000-0000-0000-000000000001",
            "tenant: 8f3b0000-0000-4000-8000-000000000001, authority: \"${ENTRA_AUTHORITY}\"",
        )
        .replace(
            "22220000-0000-0000-0000-000000000001",
            "22220000-0000-4000-8000-000000000001",
        );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowgate.yaml");
    fs::write(&path, text).unwrap();
    check(&path, &variables);
    let (_gateway, gateway) = serve(&path, &variables);
    let erp = format!("X-Api-Key: {}", variables["ERP_KEY"]);
    let url = format!("{gateway}/order-created");
    assert_eq!(post(&url, &erp, r#"{"order":4711}"#), "200");
}
