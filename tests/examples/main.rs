//! Do the example configurations work, as their readers would use them?
//!
//! In: `config/examples/`, and the commands of README and docs. Out: each configuration passes `flowgate check --strict --secrets`, and serves against
//! `flowgate simulate`: both started as the examples say, the simulator's `export` lines as environment, real calls by curl as the ERP
//! and as the partner's application, each with what it is admitted to and what it is refused.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at what it did not expect"
)]

mod commands;
mod libraries;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
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

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// `flowgate simulate` with these flows, and what its `export` lines say.
fn simulate(flows: &[&str]) -> (Running, Variables) {
    let flows = flows.iter().flat_map(|flow| ["--flow", flow]);
    simulated(
        &["--listen", "127.0.0.1:0"]
            .into_iter()
            .chain(flows)
            .collect::<Vec<_>>(),
    )
}

/// `flowgate simulate` with these arguments.
fn simulated(arguments: &[&str]) -> (Running, Variables) {
    let mut command = flowgate(&Variables::new());
    let mut child = command
        .arg("simulate")
        .args(arguments)
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

/// What a call got: the status, and of an answer in JSON its document.
type Got = (u16, serde_json::Value);

/// One call by curl with these headers; `body`: none is a GET.
fn call(url: &str, headers: &[&str], body: Option<&[u8]>) -> Got {
    let mut command = Command::new("curl");
    command.args(["-s", "--noproxy", "*", "-w", "\n%{http_code}", url]);
    for header in headers {
        command.args(["-H", header]);
    }
    if body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs the program `curl`");
    // A refused upload may end before it was read.
    let _ = child.stdin.take().unwrap().write_all(body.unwrap_or(b""));
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (document, status) = printed.rsplit_once('\n').unwrap();
    let document = serde_json::from_str(document).unwrap_or_default();
    (status.parse().unwrap(), document)
}

/// Posts an order at each path with this header; `200`: the flow has seen the order and that `caller` sent it.
fn expect(gateway: &str, header: &str, caller: &str, calls: &[(&str, u16, &str)]) {
    for (path, status, code) in calls {
        let headers = [header, "Content-Type: application/json"];
        let (got, answer) = call(
            &format!("{gateway}/{path}"),
            &headers,
            Some(br#"{"order":7}"#),
        );
        assert_eq!(got, *status, "{path}: {answer}");
        if got == 200 {
            assert_eq!(answer["body"]["order"], 7, "{path}");
            assert_eq!(answer["headers"]["flowgate-caller"], caller, "{path}");
            assert!(answer["headers"]["x-api-key"].is_null(), "{path}");
        }
        assert_eq!(answer["code"].as_str().unwrap_or("-"), *code, "{path}");
    }
}

/// A token for the gateway, as the caller's own Entra ID gives it.
fn token(variables: &Variables, tenant: &str, client: &str, secret: &str) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id={client}&client_secret={}\
         &scope=api://11110000-0000-4000-8000-000000000001/.default",
        variables[secret]
    );
    let url = format!(
        "{}/{tenant}/oauth2/v2.0/token",
        variables["ENTRA_AUTHORITY"]
    );
    let (_, answer) = call(&url, &[], Some(form.as_bytes()));
    format!(
        "Authorization: Bearer {}",
        answer["access_token"].as_str().unwrap()
    )
}

fn partner_token(variables: &Variables) -> String {
    token(
        variables,
        "8f3b0000-0000-4000-8000-000000000002",
        "66660000-0000-4000-8000-000000000001",
        "PARTNER_SECRET",
    )
}

/// An example's folder, copied: its secrets do not belong into the repository.
struct Example {
    folder: tempfile::TempDir,
    _simulator: Running,
    variables: Variables,
}

impl Example {
    /// Starts the simulator as `head` says, and prepares and checks the copy as the examples' README does.
    fn prepare(name: &str, head: &str) -> Self {
        let examples = root().join("config/examples");
        let folder = tempfile::tempdir().unwrap();
        for file in fs::read_dir(examples.join(name)).unwrap() {
            let file = file.unwrap();
            if file.path().is_file() {
                fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
            }
        }
        let head = fs::read_to_string(folder.path().join(head)).unwrap();
        let (simulator, variables) = simulate(&flows_named_in(&head));
        let readme = fs::read_to_string(examples.join("README.md")).unwrap();
        let section = readme.split(&format!("## `{name}`")).nth(1).unwrap();
        let block = section.split("```sh\n").nth(1).unwrap();
        let block = block.split("```").next().unwrap();
        assert!(block.contains("flowgate check"), "{block}");
        let program = Path::new(env!("CARGO_BIN_EXE_flowgate")).parent().unwrap();
        let output = Command::new("sh")
            .args(["-euc", block])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
            .envs(&variables)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("no problems"),
            "{told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self {
            folder,
            _simulator: simulator,
            variables,
        }
    }

    fn serve(&self, configuration: &str) -> (Running, String) {
        serve(&self.folder.path().join(configuration), &self.variables)
    }

    fn erp(&self) -> String {
        format!("X-Api-Key: {}", self.variables["ERP_KEY"])
    }
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
    let example = Example::prepare("erp-and-partner", "flowgate.yaml");
    let (_gateway, gateway) = example.serve("flowgate.yaml");
    let erp = example.erp();
    let erps = [
        ("order-created", 200, "-"),
        ("order-changed", 200, "-"),
        ("order-cancelled", 202, "-"),
        ("invoice-posted", 200, "-"),
        ("goods-received", 200, "-"),
        ("stock-low", 200, "-"),
        ("customer-updated", 200, "-"),
        ("shipment-status", 200, "-"),
        ("delivery-notice", 403, "not_allowed"),
        ("order-creatd", 404, "no_such_flow"),
        ("order-created/", 404, "no_such_flow"),
        ("order-created?a=1", 400, "forbidden_query"),
    ];
    expect(&gateway, &erp, "erp", &erps);
    let partner = partner_token(&example.variables);
    let partners = [
        ("shipment-status", 200, "-"),
        ("delivery-notice", 200, "-"),
        ("return-announced", 202, "-"),
        ("order-created", 403, "not_allowed"),
    ];
    expect(&gateway, &partner, "partner", &partners);

    let unknown = [("order-created", 401, "unauthenticated")];
    let stranger = token(
        &example.variables,
        "8f3b0000-0000-4000-8000-000000000001",
        "55550000-0000-4000-8000-000000000001",
        "CALLER_SECRET",
    );
    for header in [
        "X-Nothing: at-all",
        "X-Api-Key: not-the-key-not-the-key-not-the-key-0000",
        "Authorization: Bearer abc.def.ghi",
        &stranger,
    ] {
        expect(&gateway, header, "-", &unknown);
    }

    let order = format!("{gateway}/order-created");
    let invoice = format!("{gateway}/invoice-posted");
    let large = vec![0; 1_200_000];
    let json = "Content-Type: application/json";
    for (url, headers, body, status, code) in [
        (
            &order,
            vec![&*erp, &*partner],
            Some(&b"{}"[..]),
            400,
            "ambiguous_credentials",
        ),
        (&order, vec![&*erp], None, 405, "method_not_allowed"),
        (
            &invoice,
            vec![&*erp],
            Some(b"a=1"),
            415,
            "content_type_not_accepted",
        ),
        (
            &invoice,
            vec![&*erp, json],
            Some(b"{oops"),
            400,
            "flow_body_invalid",
        ),
        (
            &format!("{gateway}/goods-received"),
            vec![&*erp, "Content-Type: application/octet-stream"],
            Some(&large),
            413,
            "body_too_large",
        ),
    ] {
        let (got, answer) = call(url, &headers, body);
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)));
    }
}

#[test]
fn one_flow_in_three_environments_comes_from_several_files_with_a_key_for_prod_alone() {
    let example = Example::prepare("environments", "00-shared.yaml");
    let (_gateway, gateway) = example.serve(".");
    let key = |erp: &str| {
        let made = example.folder.path().join(format!("secrets/erp-{erp}.txt"));
        let made = fs::read_to_string(made).unwrap();
        let key = made.lines().nth(1).unwrap().trim_start_matches("# ");
        format!("X-Api-Key: {key}")
    };
    let refused = |path| (path, 403, "not_allowed");
    let (dev, test, prod) = (
        "dev/order-created",
        "test/order-created",
        "prod/order-created",
    );
    let nonprod = [
        (dev, 200, "-"),
        (test, 200, "-"),
        refused(prod),
        ("staging/order-created", 404, "no_such_flow"),
        ("order-created-dev", 404, "no_such_flow"),
    ];
    expect(&gateway, &key("nonprod"), "erp-nonprod", &nonprod);
    let only_prod = [(prod, 200, "-"), refused(dev), refused(test)];
    expect(&gateway, &key("prod"), "erp-prod", &only_prod);
    let partner = partner_token(&example.variables);
    expect(&gateway, &partner, "partner", &only_prod);
    let wrong = format!("{}x", key("nonprod"));
    expect(&gateway, &wrong, "-", &[(dev, 401, "unauthenticated")]);
}

#[test]
fn a_signed_flow_works_beside_one_that_wants_entra_tokens() {
    let example = Example::prepare("signed-beside-entra", "flowgate.yaml");
    let (_gateway, gateway) = example.serve("flowgate.yaml");
    let erps = [
        ("legacy", 200, "-"),
        ("report", 200, "-"),
        ("legacy2", 404, "no_such_flow"),
        ("legacy?sig=abc", 400, "forbidden_query"),
    ];
    expect(&gateway, &example.erp(), "erp", &erps);
    let partner = partner_token(&example.variables);
    let partners = [("report", 200, "-"), ("legacy", 403, "not_allowed")];
    expect(&gateway, &partner, "partner", &partners);
    let wrong = [("legacy", 401, "unauthenticated")];
    expect(&gateway, "X-Api-Key: wrong", "-", &wrong);
    // Without the gateway both doors are shut.
    let report = &example.variables["REPORT_URL"];
    let json = "Content-Type: application/json";
    for (headers, status, code) in [
        (vec![json], 401, "DirectApiAuthorizationRequired"),
        (vec![json, &*partner], 403, "MisMatchingOAuthClaims"),
    ] {
        let (got, answer) = call(report, &headers, Some(b"{}"));
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (status, Some(code))
        );
    }
}

#[test]
fn a_program_with_a_key_creates_a_planner_task_by_an_application_permission() {
    let example = Example::prepare("planner", "flowgate.yaml");
    let (_gateway, gateway) = example.serve("flowgate.yaml");
    let (erp, json) = (example.erp(), "Content-Type: application/json");
    let tasks = format!("{gateway}/tasks");
    let task = br#"{"planId":"p","title":"Look into it"}"#;
    let (status, created) = call(&tasks, &[&erp, json], Some(task));
    assert_eq!((status, &created["title"]), (201, &"Look into it".into()));
    let one = format!("{tasks}/{}?$select=title", created["id"].as_str().unwrap());
    let (status, read) = call(&one, &[&erp], None);
    assert_eq!((status, &read["title"]), (200, &"Look into it".into()));
    let (status, refused) = call(&format!("{tasks}?$filter=a"), &[&erp], None);
    assert_eq!((status, &refused["code"]), (400, &"forbidden_query".into()));
    let stranger = call(&tasks, &["X-Api-Key: nobody", json], Some(task));
    assert_eq!(stranger.0, 401);
}

#[test]
fn a_program_with_a_key_creates_a_planner_task_once_somebody_has_signed_the_service_account_in() {
    let example = Example::prepare("planner-as-a-service-account", "flowgate.yaml");
    let (_gateway, gateway) = example.serve("flowgate.yaml");
    let (erp, json) = (example.erp(), "Content-Type: application/json");
    let tasks = format!("{gateway}/tasks");
    let task = br#"{"planId":"p","title":"Look into it"}"#;
    let create = || call(&tasks, &[&erp, json], Some(task));
    let (status, refused) = create();
    assert_eq!(
        (status, &refused["code"]),
        (503, &"sign_in_required".into())
    );

    let mut signing_in = flowgate(&example.variables)
        .args(["sign-in", "--config", "flowgate.yaml", "planner"])
        .current_dir(example.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(signing_in.stdout.take().unwrap());
    let mut signing_in = Running(signing_in);
    let mut lines = printed.lines();
    let address = lines.next().unwrap().unwrap();
    // The button of a person's page, and the way back.
    let output = Command::new("curl")
        .args([
            "-sL",
            "--noproxy",
            "*",
            "-d",
            "user=33330000-0000-4000-8000-000000000002",
        ])
        .arg(&address)
        .output()
        .expect("this test needs the program `curl`");
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("You can close this window"), "{page}");
    let who = lines.next().unwrap().unwrap();
    assert!(
        who.starts_with("Signed in as service@flowgate.example"),
        "{who}"
    );
    assert!(signing_in.0.wait().unwrap().success());

    let began = std::time::Instant::now();
    let created = loop {
        let (status, answer) = create();
        if status == 201 {
            break answer;
        }
        assert!(began.elapsed().as_secs() < 20, "{status} {answer}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(created["title"], "Look into it");
}
