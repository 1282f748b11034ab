//! The commands' own manners: the configuration they find by themselves, forms for programs, completions, manual, version.

use std::process::{Command, Stdio};

use crate::check::run_in;

const SOUND: &str =
    "flows: { a: { url: 'https://x.example/a', who_can_trigger: anyone, credential: none } }\n";
const WRONG: &str = "flows:\n  a: { url: 'https://x.example/a', who_can_trigger: nobody, credential: none }\nlog:\n  level: 100%,loud\n";

#[test]
fn commands_find_the_configuration_of_the_folder_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = run_in(folder.path(), &["check"], &[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("flowgate.yaml: the file does not exist") && said.contains("flowgate init"),
        "{said}"
    );
    std::fs::write(folder.path().join("flowgate.yaml"), SOUND).unwrap();
    let (code, out, said) = run_in(folder.path(), &["check"], &[]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "1 flow, 0 callers, 0 credentials: no problems\n"),
        "{said}"
    );
    // Each of them reads it: there is no such credential, which the configuration says.
    for command in ["token", "sign-in"] {
        let (code, _, said) = run_in(folder.path(), &[command, "flows"], &[]);
        assert!(
            code != Some(0) && said.contains("no credential"),
            "{command}: {said}"
        );
    }
    let (code, _, said) = run_in(folder.path(), &["doctor", "nothing"], &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("defined under `flows:` are: a"), "{said}");
    std::fs::write(folder.path().join("flowgate.yaml"), "flows: [").unwrap();
    let (code, _, said) = run_in(folder.path(), &["serve"], &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("flowgate.yaml:1:"), "{said}");
    // What is named counts more.
    std::fs::write(folder.path().join("other.yaml"), SOUND).unwrap();
    let (code, ..) = run_in(
        folder.path(),
        &["check"],
        &[("FLOWGATE_CONFIG", "other.yaml")],
    );
    assert_eq!(code, Some(0));
    let (code, ..) = run_in(folder.path(), &["check", "--config", "other.yaml"], &[]);
    assert_eq!(code, Some(0));
}

#[test]
fn an_output_that_nobody_takes_is_a_failure_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flowgate.yaml"), SOUND).unwrap();
    let init = [
        "init",
        "--url",
        "https://graph.microsoft.com/v1.0/users",
        "--tenant",
        "8f3b0000-0000-0000-0000-000000000001",
        "--caller",
        "key",
        "--output",
        "new.yaml",
    ];
    for arguments in [
        &["check", "--format", "json"][..],
        &["why", "--offline", "a"],
        &["schema"],
        &["hash-key", "--generate"],
        &["demo", "--once"],
        &init,
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn check_writes_for_programs_and_for_github() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flowgate.yaml"), WRONG).unwrap();
    let (code, out, said) = run_in(folder.path(), &["check", "--format", "json"], &[]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (document["errors"].as_u64(), document["flows"].as_u64()),
        (Some(2), Some(1))
    );
    let first = &document["problems"][0];
    assert_eq!(first["severity"], "error");
    assert_eq!(first["place"]["file"], "flowgate.yaml");
    assert_eq!(first["place"]["key"], "flows.a.who_can_trigger");
    assert_eq!(first["place"]["line"], 2);
    assert!(first["fix"].as_str().unwrap().contains("callers"));
    let (code, out, said) = run_in(folder.path(), &["check", "--format", "github"], &[]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("::error file=flowgate.yaml,line=2,col="),
        "{out}"
    );
    assert!(
        lines[0].contains("title=flows.a.who_can_trigger::no caller has this name%0A"),
        "{out}"
    );
    assert!(lines[1].contains("line=4,"), "{out}");
    assert_eq!(lines[2], "1 flow, 0 callers, 0 credentials: 2 errors");
    std::fs::write(folder.path().join("flowgate.yaml"), SOUND).unwrap();
    for format in ["json", "github", "text"] {
        let (code, ..) = run_in(folder.path(), &["check", "--format", format], &[]);
        assert_eq!(code, Some(0), "{format}");
    }
}

#[test]
fn doctor_writes_for_programs_and_for_github() {
    let folder = tempfile::tempdir().unwrap();
    let port = testkit::refusing().port();
    let text = format!(
        "flows: {{ a: {{ url: 'http://127.0.0.1:{port}/a', who_can_trigger: anyone, credential: none }} }}\n"
    );
    std::fs::write(folder.path().join("flowgate.yaml"), text).unwrap();
    let (code, out, _) = run_in(folder.path(), &["doctor", "--format", "json"], &[]);
    assert_eq!(code, Some(1));
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["wrong"][0], "flow a");
    let sections = document["sections"].as_array().unwrap();
    let section = sections
        .iter()
        .find(|one| one["title"] == "flow a")
        .unwrap();
    assert_eq!(section["verdict"]["result"], "wrong");
    assert!(
        section["lines"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    );
    let (code, out, _) = run_in(folder.path(), &["doctor", "--format", "github"], &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.lines()
            .any(|line| line.starts_with("::error title=flow a::")),
        "{out}"
    );
}

#[test]
fn shells_complete_and_the_manual_lists_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, out, _) = run_in(folder.path(), &["completions", shell], &[]);
        assert_eq!(code, Some(0));
        assert!(
            out.contains("sign-in") && out.contains("hash-key"),
            "{shell}"
        );
    }
    let (_, help, _) = run_in(folder.path(), &["--help"], &[]);
    let commands: Vec<&str> = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("Options:")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(
        commands.contains(&"init") && commands.len() > 10,
        "{commands:?}"
    );
    let (code, page, _) = run_in(folder.path(), &["man"], &[]);
    assert_eq!(code, Some(0));
    for command in commands {
        assert!(page.contains(&command.replace('-', "\\-")), "{command}");
        let (code, page, _) = run_in(folder.path(), &["man", command], &[]);
        assert_eq!(code, Some(0), "{command}");
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
        let (_, help, _) = run_in(folder.path(), &[command, "--help"], &[]);
        assert!(help.contains("xample"), "{command} --help has no example");
    }
    let (code, ..) = run_in(folder.path(), &["man", "nothing"], &[]);
    assert_eq!(code, Some(2));
    // The script is one that the shell accepts.
    let (_, script, _) = run_in(folder.path(), &["completions", "bash"], &[]);
    std::fs::write(folder.path().join("complete"), script).unwrap();
    if crate::tools::here(&["bash"]) {
        let said = crate::tools::output(
            std::process::Command::new("bash")
                .args(["-c", ". ./complete && complete -p flowgate"])
                .current_dir(folder.path()),
        );
        assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn the_version_names_the_commit_where_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = run_in(folder.path(), &["--version"], &[]);
    assert_eq!(code, Some(0));
    let commit = out
        .trim()
        .strip_prefix(concat!("flowgate ", env!("CARGO_PKG_VERSION"), " (commit "))
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or_else(|| panic!("{out}"));
    assert!(
        commit == "unknown"
            || commit
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        "{out}"
    );
}

#[allow(dead_code, reason = "the build's own main is not called here")]
#[path = "../../build.rs"]
mod build;

#[test]
fn the_build_finds_the_commit_in_every_form_git_keeps_it() {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let folder = tempfile::tempdir().unwrap();
    let git = folder.path().join(".git");
    let write = |name: &str, text: &str| {
        let path = git.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let commit = |at: &std::path::Path| build::head(at).map(|(commit, _)| commit);
    assert_eq!(commit(folder.path()), None);
    write("HEAD", &format!("{COMMIT}\n"));
    assert_eq!(commit(folder.path()).as_deref(), Some(COMMIT));
    write("HEAD", "ref: refs/heads/main\n");
    assert_eq!(commit(folder.path()), None);
    write(
        "packed-refs",
        &format!("# pack-refs\n{COMMIT} refs/heads/main\n"),
    );
    assert_eq!(commit(folder.path()).as_deref(), Some(COMMIT));
    let newer = COMMIT.replace('0', "f");
    write("refs/heads/main", &format!("{newer}\n"));
    assert_eq!(commit(folder.path()).as_deref(), Some(newer.as_str()));
    // A worktree keeps its own HEAD and shares the rest.
    write("worktrees/w/HEAD", "ref: refs/heads/main\n");
    write("worktrees/w/commondir", "../..\n");
    let other = tempfile::tempdir().unwrap();
    let at = git.join("worktrees/w");
    std::fs::write(
        other.path().join(".git"),
        format!("gitdir: {}\n", at.display()),
    )
    .unwrap();
    assert_eq!(commit(other.path()).as_deref(), Some(newer.as_str()));
    write("HEAD", "ref: refs/heads/nothing; rm -rf\n");
    assert_eq!(commit(folder.path()), None);
}
