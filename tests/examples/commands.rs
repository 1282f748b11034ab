//! Do the commands of README and docs work, word for word?
//!
//! In: the `sh` blocks of a page and its configuration. Out: one shell runs them in their order, beside `flowgate simulate`; a line that
//! starts a server runs in the background until the end. Only ports and what a page calls "the secret value of …" are replaced. A
//! command that no test can run (it needs a registry, a cluster or a tenant) has to be one of [`NOT_RUN`].

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Running, Variables, free_port, root, simulate};

/// Programs that need more than this machine.
const NOT_RUN: [&str; 8] = [
    "cargo",
    "docker",
    "helm",
    "kubectl",
    "az",
    "benches/compare/run",
    "benches/instructions/run",
    "promtool",
];

/// Pages whose commands this file runs.
const RUN: [&str; 5] = [
    "README.md",
    "docs/install.md",
    "docs/operations.md",
    "docs/how-to/choose-a-credential.md",
    "docs/how-to/try-it-with-the-simulator.md",
];

/// Pages whose commands need another user of the system; the examples of [`super`] go their way.
const ELSEWHERE: [&str; 2] = [
    "docs/sign-ins.md",
    "docs/how-to/graph-as-a-service-account.md",
];

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = read(page);
    let fence = format!("\n```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// A block's commands, each whole.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn program(command: &str) -> &str {
    command.split_whitespace().next().unwrap()
}

/// The commands of a page that can be run here.
fn runnable(page: &str) -> Vec<String> {
    let commands = blocks(page, "sh")
        .iter()
        .flat_map(|block| commands(block))
        .collect::<Vec<_>>();
    commands
        .into_iter()
        .filter(|command| !NOT_RUN.contains(&program(command)))
        .collect()
}

/// A folder with a configuration, and where its gateway, admin port and simulator listen.
struct Place {
    folder: tempfile::TempDir,
    ports: Vec<(&'static str, String)>,
}

impl Place {
    fn new(configuration: &str) -> Self {
        let ports = ["127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:8070"];
        let ports: Vec<_> = ports
            .into_iter()
            .map(|usual| (usual, format!("127.0.0.1:{}", free_port())))
            .collect();
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            ports,
        };
        let mut text = place.here(configuration);
        write!(
            text,
            "\nserver: {{ listen: {} }}\nadmin: {{ listen: {} }}\n",
            place.ports[0].1, place.ports[1].1
        )
        .unwrap();
        fs::write(place.folder.path().join("flowgate.yaml"), text).unwrap();
        place
    }

    fn here(&self, text: &str) -> String {
        self.ports
            .iter()
            .fold(text.to_owned(), |text, (usual, here)| {
                text.replace(usual, here)
            })
    }

    /// Runs the commands in one shell and returns what they print.
    fn run(&self, commands: &[String], variables: &Variables) -> String {
        let mut script = "trap 'kill $(jobs -p)' EXIT\n".to_owned();
        for command in commands {
            let mut command = self.here(command);
            let mut wait = None;
            if command.starts_with("flowgate serve") {
                wait = Some(&self.ports[1].1);
                command.push_str(" > gateway.out 2>&1 &");
            } else if command.starts_with("flowgate simulate") {
                wait = Some(&self.ports[2].1);
                command = command.replace(
                    "flowgate simulate",
                    &format!("flowgate simulate --listen {}", self.ports[2].1),
                );
                command.push_str(" 2> simulator.err &");
            }
            writeln!(script, "{command}").unwrap();
            if let Some(address) = wait {
                // It is there once it answers, whatever it answers.
                writeln!(script, "for try in $(seq 600); do curl -s -o /dev/null http://{address}/readyz && break; sleep 0.1; done").unwrap();
            }
        }
        let program = Path::new(env!("CARGO_BIN_EXE_flowgate")).parent().unwrap();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", program.display()),
            )
            .env("NO_PROXY", "*")
            .envs(variables)
            .output()
            .unwrap();
        let gateway = fs::read_to_string(self.folder.path().join("gateway.out"));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script}\n{printed}{}{}",
            String::from_utf8_lossy(&output.stderr),
            gateway.unwrap_or_default()
        );
        printed
    }
}

/// The README's configuration with the simulator as Entra ID, and its commands with the simulator's secrets.
fn readme() -> (Running, Variables, Place, Vec<String>) {
    let (simulator, variables) = simulate(&[]);
    let configuration = &blocks("README.md", "yaml")[0];
    let digest = configuration
        .split_once("sha256: ")
        .and_then(|(_, rest)| rest.get(..64))
        .unwrap();
    let tenant = "tenant: 8f3b0000-0000-4000-8000-000000000001";
    assert!(configuration.contains(tenant));
    let place = Place::new(
        &configuration
            .replace(digest, &variables["ERP_KEY_SHA256"])
            .replace(
                tenant,
                &format!("{tenant}, authority: \"{}\"", variables["ENTRA_AUTHORITY"]),
            ),
    );
    let mut commands = runnable("README.md");
    for (words, name) in [
        ("the secret value of step 1", "FLOWS_SECRET"),
        ("the URL of step 2", "ORDER_CREATED_URL"),
        ("the key of step 3", "ERP_KEY"),
    ] {
        assert!(
            commands.iter().any(|command| command.contains(words)),
            "{words}"
        );
        for command in &mut commands {
            *command = command.replace(words, &variables[name]);
        }
    }
    (simulator, variables, place, commands)
}

#[test]
fn the_readme_leads_to_a_call_that_runs_the_flow() {
    let (_simulator, _, place, commands) = readme();
    let printed = place.run(&commands, &Variables::new());
    assert!(printed.contains("HTTP/1.1 200 OK"), "{printed}");
    assert!(printed.contains("\"order\":4711"), "{printed}");
    assert!(
        printed
            .to_ascii_lowercase()
            .contains("x-ms-workflow-run-id"),
        "{printed}"
    );
}

#[test]
fn the_commands_for_any_configuration_work_with_that_of_the_readme() {
    let (_simulator, variables, place, readme) = readme();
    let exports = readme
        .iter()
        .filter(|command| command.starts_with("export"));
    let serve = readme
        .iter()
        .filter(|command| command.starts_with("flowgate serve"));
    let mut commands: Vec<String> = exports.chain(serve).cloned().collect();
    for page in [
        "docs/install.md",
        "docs/operations.md",
        "docs/how-to/choose-a-credential.md",
    ] {
        let of_page = runnable(page);
        assert!(!of_page.is_empty(), "{page}");
        commands.extend(of_page);
    }
    let printed = place.run(&commands, &variables);
    assert!(printed.contains("order-created"), "{printed}");
}

#[test]
fn the_page_of_the_simulator_leads_to_calls_with_a_key_and_with_a_token() {
    let page = "docs/how-to/try-it-with-the-simulator.md";
    let place = Place::new(&blocks(page, "yaml")[0]);
    let printed = place.run(&runnable(page), &Variables::new());
    assert_eq!(printed.matches("HTTP/1.1 200 OK").count(), 2, "{printed}");
    assert_eq!(printed.matches("\"order\":7").count(), 2, "{printed}");
}

#[test]
fn every_command_of_the_documents_is_run_or_says_by_its_program_that_it_cannot_be() {
    let mut pages = vec![
        "README.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "SECURITY.md".to_owned(),
    ];
    for folder in ["docs", "docs/how-to"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "md")
            {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    let mut unknown = Vec::new();
    for page in pages {
        let known = RUN.contains(&&*page) || ELSEWHERE.contains(&&*page);
        if !known {
            unknown.extend(
                runnable(&page)
                    .into_iter()
                    .map(|command| format!("{page}: {command}")),
            );
        }
    }
    assert!(unknown.is_empty(), "no test runs these: {unknown:#?}");
}
