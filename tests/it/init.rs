//! "A real tenant in ten minutes", rehearsed: `flowgate init`, the commands it prints, `check`, `serve`, one call.
//!
//! In: a URL of the simulator, of each cloud, or hostile text, through the real binary. Out: the files, what `check --strict` says of them, and
//! whether a call arrives.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::check::{Said, run_in};
use crate::process::{Gateway, Simulated, curl};
use crate::tools;

const TENANT: &str = "8f3b0000-0000-0000-0000-000000000001";

/// A trigger's URL without a signature.
fn flow(host: &str) -> String {
    format!(
        "https://{host}:443/powerautomate/automations/direct/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=1"
    )
}

fn init(folder: &Path, arguments: &[&str]) -> Said {
    let arguments = [&["init"], arguments].concat();
    run_in(folder, &arguments, &[])
}

fn check(folder: &Path) -> Said {
    run_in(
        folder,
        &["check", "--strict"],
        &[("FLOWGATE_CLIENT_ID", "22220000-0000-0000-0000-000000000001")],
    )
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs the command lines of a text up to `flowgate serve`, in the folder.
fn follow(folder: &Path, steps: &str, environment: &[(String, String)]) {
    let lines: Vec<&str> = steps
        .lines()
        .take_while(|line| !line.starts_with("flowgate serve"))
        .collect();
    let program = Path::new(env!("CARGO_BIN_EXE_flowgate")).parent().unwrap();
    let output = tools::output(
        Command::new("sh")
            .args(["-euc", &lines.join("\n")])
            .current_dir(folder)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
            .envs(environment.iter().cloned())
            .stdin(Stdio::null()),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{steps}\n{said}");
    assert!(
        !said.contains("error") && !said.contains("warning"),
        "{said}"
    );
}

#[test]
fn from_a_url_to_a_call_through_the_simulator() {
    let simulated = Simulated::start(&[]);
    for (variable, flow) in [
        ("ORDER_CREATED_URL", "order-created"),
        ("LEGACY_URL", "legacy"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        // As the designer copies it; a signed URL is never an argument.
        let url = simulated.variable(variable);
        let copied = format!(
            "curl --location '{url}' \\\n--header 'Content-Type: application/json' \\\n--data '{{}}'\n"
        );
        std::fs::write(at.join("copied.txt"), copied).unwrap();
        let (code, steps, said) = init(
            at,
            &[
                "--curl-file",
                "copied.txt",
                "--caller",
                "key",
                "--name",
                flow,
            ],
        );
        assert_eq!(code, Some(0), "{said}");
        follow(at, &steps, &simulated.environment);
        let yaml = std::fs::read_to_string(at.join("flowgate.yaml")).unwrap();
        assert!(!yaml.contains("sig="), "{yaml}");
        let key = std::fs::read_to_string(at.join("secrets/erp.key")).unwrap();
        assert!(!yaml.contains(&key) && !steps.contains(&key));
        for secret in std::fs::read_dir(at.join("secrets")).unwrap() {
            assert_eq!(mode(&secret.unwrap().path()), 0o600);
        }
        assert_eq!(mode(&at.join("secrets")), 0o700);
        let gateway = Gateway::in_folder(at, &yaml);
        let Some(answer) = curl(&[
            "--include",
            "--header",
            &format!("X-Api-Key: {key}"),
            "--header",
            "Content-Type: application/json",
            "--data",
            "{}",
            &format!("http://{}/{flow}", gateway.address),
        ]) else {
            return;
        };
        assert!(
            answer.starts_with("HTTP/1.1 20"),
            "{answer}\n{}",
            gateway.process.said()
        );
        assert!(answer.contains("x-ms-workflow-run-id"), "{answer}");
    }
}

/// Resources that a Terraform text refers to and does not define.
fn undefined(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| {
        line.split(|letter: char| !letter.is_ascii_lowercase() && !"_.".contains(letter))
    });
    let named = words.filter_map(|word| word.strip_prefix("azuread_")?.split_once(".flowgate."));
    let defined =
        |kind: &str| text.contains(&format!("resource \"azuread_{kind}\" \"flowgate\" {{"));
    named
        .map(|(kind, _)| kind)
        .filter(|kind| !defined(kind))
        .collect()
}

#[test]
fn every_cloud_and_kind_of_url_becomes_a_configuration_without_a_problem() {
    let hosts = [
        ("8f3b.aa.environment.api.powerplatform.com", None),
        (
            "8f3b.a.environment.api.gov.powerplatform.microsoft.us",
            Some("cloud: gcc\n"),
        ),
        (
            "8f3b.a.environment.api.high.powerplatform.microsoft.us",
            Some("cloud: gcc-high\n"),
        ),
        (
            "8f3b.a.environment.api.appsplatform.us",
            Some("cloud: dod\n"),
        ),
        (
            "8f3b.a.environment.api.powerplatform.partner.microsoftonline.cn",
            Some("cloud: china\n"),
        ),
    ];
    let mut cases: Vec<(String, Option<&str>)> = hosts
        .iter()
        .map(|(host, cloud)| (flow(host), *cloud))
        .collect();
    cases.push(("https://prod-01.westeurope.logic.azure.com:443/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-10-01".to_owned(), Some("kind: logic_app")));
    cases.push((
        "https://graph.microsoft.com/v1.0/users".to_owned(),
        Some("subpaths: true"),
    ));
    cases.push((
        "https://graph.microsoft.us/v1.0/users".to_owned(),
        Some("cloud: gcc-high\n"),
    ));
    for (url, contains) in cases {
        for caller in [
            &["--caller", "key"][..],
            &["--caller", "users"],
            &["--caller", "application", "--caller-client-id", TENANT],
        ] {
            for credential in [
                "client-secret",
                "client-certificate",
                "managed-identity",
                "workload-identity",
            ] {
                for shell in [&[][..], &["--powershell"], &["--terraform"]] {
                    let folder = tempfile::tempdir().unwrap();
                    let arguments = [
                        &[
                            "--url",
                            &url,
                            "--tenant",
                            TENANT,
                            "--credential",
                            credential,
                        ],
                        caller,
                        shell,
                    ]
                    .concat();
                    let (code, steps, said) = init(folder.path(), &arguments);
                    assert_eq!(code, Some(0), "{arguments:?}\n{said}");
                    assert_eq!(undefined(&steps), Vec::<&str>::new(), "{steps}");
                    if shell == ["--terraform"] && caller != ["--caller", "key"] {
                        // A resource that manages the URIs by itself would take this one away again.
                        assert!(steps.contains("\"azuread_application_identifier_uri\""));
                        assert!(!steps.contains("\"azuread_application\" "), "{steps}");
                    }
                    let yaml =
                        std::fs::read_to_string(folder.path().join("flowgate.yaml")).unwrap();
                    assert!(yaml.contains(contains.unwrap_or_default()), "{yaml}");
                    let (code, _, said) = check(folder.path());
                    assert_eq!(code, Some(0), "{arguments:?}\n{yaml}\n{said}");
                    assert!(
                        steps.contains("object_id")
                            || steps.contains("bject ID")
                            || steps.contains("bject id"),
                        "{steps}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_signed_url_and_every_other_secret_stay_out_of_arguments_output_and_configuration() {
    let url = format!(
        "{}&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=canary-signature-canary",
        flow("8f3b.aa.environment.api.powerplatform.com")
    );
    let folder = tempfile::tempdir().unwrap();
    let (code, out, said) = init(folder.path(), &["--url", &url, "--caller", "key"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--curl-file") && !said.contains("canary") && !out.contains("canary"),
        "{said}"
    );
    assert!(!folder.path().join("flowgate.yaml").exists());
    std::fs::write(folder.path().join("url"), &url).unwrap();
    let (code, out, said) = init(
        folder.path(),
        &["--curl-file", "url", "--caller", "anyone", "--name", "open"],
    );
    assert_eq!(code, Some(0), "{said}");
    let yaml = std::fs::read_to_string(folder.path().join("flowgate.yaml")).unwrap();
    for text in [&out, &said, &yaml] {
        assert!(!text.contains("canary"), "{text}");
    }
    let secret = folder.path().join("secrets/open.url");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), url);
    assert_eq!(mode(&secret), 0o600);
    let (code, _, said) = run_in(folder.path(), &["check", "--strict", "--secrets"], &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn nothing_that_exists_is_replaced() {
    let url = flow("8f3b.aa.environment.api.powerplatform.com");
    let arguments = ["--url", &url, "--caller", "key", "--tenant", TENANT];
    for (name, link) in [
        ("flowgate.yaml", false),
        ("flowgate.yaml", true),
        ("secrets/erp.key", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        if link {
            std::os::unix::fs::symlink(folder.path().join("nowhere"), &path).unwrap();
        } else {
            std::fs::write(&path, "mine").unwrap();
        }
        let (code, out, said) = init(folder.path(), &arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("exists already"), "{said}");
        assert_eq!(out, "");
        assert!(!folder.path().join("nowhere").exists());
        if !link {
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        }
        if name != "flowgate.yaml" {
            assert!(!folder.path().join("flowgate.yaml").exists());
        }
    }
}

#[test]
fn hostile_texts_stay_text_in_commands_and_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let canary = folder.path().join("canary");
    let hostile = format!(
        "it's $(touch {0}) `touch {0}`; touch {0} #\" ${{x}}",
        canary.display()
    );
    // A simulated Azure CLI: it prints a GUID, whatever is asked, and notes its arguments.
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("az"), "#!/bin/sh\nprintf '%s\\n' \"$@\" >> \"$NOTES\"\necho 22220000-0000-0000-0000-00000000000b\n").unwrap();
    std::fs::set_permissions(bin.join("az"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let work = folder.path().join("it's a 'folder' $(x)");
    std::fs::create_dir(&work).unwrap();
    let url = format!(
        "{}&x=$(touch%20a)'`;${{y}}",
        flow("8f3b.aa.environment.api.powerplatform.com")
    );
    let output = work.join("flowgate.yaml");
    let (code, steps, said) = init(
        folder.path(),
        &[
            "--url",
            &url,
            "--caller",
            "users",
            "--tenant",
            TENANT,
            "--app-name",
            &hostile,
            "--output",
            output.to_str().unwrap(),
        ],
    );
    assert_eq!(code, Some(0), "{said}");
    let notes = folder.path().join("notes");
    let commands: Vec<&str> = steps
        .lines()
        .take_while(|line| !line.starts_with("flowgate"))
        .collect();
    let ran = tools::output(
        Command::new("sh")
            .args(["-euc", &commands.join("\n")])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("NOTES", &notes)
            .current_dir(folder.path()),
    );
    assert!(
        ran.status.success(),
        "{steps}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(!canary.exists(), "{steps}");
    let asked = std::fs::read_to_string(&notes).unwrap();
    assert!(asked.lines().any(|line| line == hostile), "{asked}");
    // The secret went into its file, for its owner alone, and nowhere else.
    let secret = work.join("secrets/flows.secret");
    assert_eq!(mode(&secret), 0o600);
    assert!(!String::from_utf8_lossy(&ran.stdout).contains("password"));
    let (code, _, said) = run_in(
        &work,
        &["check", "--strict"],
        &[("FLOWGATE_CLIENT_ID", "22220000-0000-0000-0000-00000000000b")],
    );
    // A GUID is the secret's id, which `check` recognises: everything else is sound.
    assert_eq!(code, Some(2));
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("the secret's ID"), "{said}");
    for wrong in [
        &["--url", "https://x.example/a\nb"][..],
        &["--url", "https://x.example/"],
        &[
            "--url",
            "http://x.environment.api.powerplatform.com/workflows/0/triggers/manual/paths/invoke?api-version=1",
        ],
        &[
            "--url",
            "https://8f3b.aa.environment.api.powerplatform.com/workflows/0/triggers/manual/paths/invoke",
        ],
        &["--url", &url, "--name", "../x"],
        &["--url", &url, "--caller-name", "a b"],
        &["--url", &url, "--tenant", "x; y"],
        &["--url", &url, "--app-name", "a\nb"],
    ] {
        let arguments = [wrong, &["--caller", "key", "--output", "new.yaml"]].concat();
        let (code, out, said) = init(folder.path(), &arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?} {said}");
        assert!(!folder.path().join("new.yaml").exists());
    }
}

#[test]
fn without_a_terminal_what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let url = flow("8f3b.aa.environment.api.powerplatform.com");
    let missing = BTreeMap::from([
        ("--url", vec![]),
        ("--caller", vec!["--url", url.as_str()]),
        ("--tenant", vec!["--url", url.as_str(), "--caller", "key"]),
        (
            "--caller-client-id",
            vec!["--url", url.as_str(), "--caller", "application"],
        ),
    ]);
    for (option, arguments) in missing {
        let (code, out, said) = init(folder.path(), &arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{said}");
        assert!(said.contains(option), "{option}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
