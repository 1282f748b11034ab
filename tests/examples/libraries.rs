//! Do Microsoft's own libraries obtain tokens from the simulator, and does the gateway take them?
//!
//! In: the programs in `tests/libraries`. Out: each prints a status for every call that it made through a gateway, and every one is 200.
//! Packages are installed once, under `target/libraries`, at pinned versions. A language whose tools are missing is skipped by name, but not
//! where `CI` is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Running, Variables, call, free_port, root, serve, simulated};

const CONFIGURATION: &str = r#"
outbound: { ca: ca.pem }
defaults:
  entra: { tenant: 8f3b0000-0000-4000-8000-000000000001, authority: "${ENTRA_AUTHORITY}" }
callers:
  application:
    entra: { audience: ["api://11110000-0000-4000-8000-000000000001", 11110000-0000-4000-8000-000000000001], client_ids: [55550000-0000-4000-8000-000000000001] }
  staff:
    entra: { audience: ["api://11110000-0000-4000-8000-000000000001", 11110000-0000-4000-8000-000000000001] }
credentials:
  flows:
    client_secret: { client_id: 22220000-0000-4000-8000-000000000001, secret: { env: FLOWS_SECRET } }
flows:
  order-created: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [application, staff], credential: flows }
"#;

/// A simulator that speaks TLS, and a gateway in front of it.
struct Stage {
    folder: tempfile::TempDir,
    variables: Variables,
    _running: [Running; 2],
}

impl Stage {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let listen = format!("127.0.0.1:{}", free_port());
        let (simulator, mut variables) = simulated(&[
            "--listen",
            &listen,
            "--tls",
            "--ca-file",
            ca.to_str().unwrap(),
        ]);
        let configuration = folder.path().join("flowgate.yaml");
        fs::write(&configuration, CONFIGURATION).unwrap();
        let (gateway, address) = serve(&configuration, &variables);
        for (name, value) in [
            ("GATEWAY", address.as_str()),
            ("TENANT", "8f3b0000-0000-4000-8000-000000000001"),
            ("API_APP", "11110000-0000-4000-8000-000000000001"),
            ("CALLER_APP", "55550000-0000-4000-8000-000000000001"),
            ("PUBLIC_APP", "22220000-0000-4000-8000-000000000002"),
            ("USER_NAME", "user@flowgate.example"),
            ("NO_PROXY", "*"),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        // Each language has its own way to name a certificate authority.
        for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
            variables.insert(name.to_owned(), ca.to_str().unwrap().to_owned());
        }
        Self {
            folder,
            variables,
            _running: [simulator, gateway],
        }
    }

    /// Runs a program and compares what it prints with the calls that have to succeed.
    fn run(&self, mut command: Command, calls: &[&str]) {
        let output = command.envs(&self.variables).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = printed
            .lines()
            .filter(|line| line.ends_with(" 200"))
            .collect();
        let wanted: Vec<String> = calls.iter().map(|call| format!("{call} 200")).collect();
        assert_eq!(
            lines,
            wanted,
            "{printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Where a language's packages are, once `script` has installed them; `None`: its tools are missing.
fn installed(language: &str, tools: &[&str], script: &str) -> Option<PathBuf> {
    for tool in tools {
        let there = Command::new(tool)
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if there.is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "the test with Microsoft's libraries for {language} needs {tool}"
            );
            eprintln!("skipped: the test with Microsoft's libraries for {language} needs {tool}");
            return None;
        }
    }
    let target = Path::new(env!("CARGO_BIN_EXE_flowgate"))
        .ancestors()
        .nth(2)
        .unwrap();
    let place = target.join("libraries").join(language);
    fs::create_dir_all(&place).unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(root().join("tests/libraries").join(language))
        .env("PLACE", &place)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{language}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(place)
}

#[test]
fn python_s_msal_and_azure_identity_obtain_tokens_and_call_the_gateway() {
    let Some(place) = installed(
        "python",
        &["python3"],
        r#"cmp -s requirements.txt "$PLACE/installed" || {
            python3 -m venv "$PLACE" && "$PLACE/bin/pip" install --quiet --requirement requirements.txt && cp requirements.txt "$PLACE/installed"
        }"#,
    ) else {
        return;
    };
    let mut program = Command::new(place.join("bin/python"));
    program.arg(root().join("tests/libraries/python/main.py"));
    Stage::start().run(
        program,
        &["msal client-secret", "azure-identity client-secret"],
    );
}

#[test]
fn node_s_msal_and_azure_identity_obtain_tokens_and_call_the_gateway() {
    let Some(place) = installed(
        "node",
        &["node", "npm"],
        r#"cmp -s package-lock.json "$PLACE/installed" || {
            cp package.json package-lock.json "$PLACE" && (cd "$PLACE" && npm ci --silent) && cp package-lock.json "$PLACE/installed"
        }
        cp main.mjs "$PLACE""#,
    ) else {
        return;
    };
    let mut program = Command::new("node");
    program.arg(place.join("main.mjs"));
    Stage::start().run(
        program,
        &[
            "msal-node client-secret",
            "msal-node password",
            "msal-node refresh",
            "azure-identity client-secret",
        ],
    );
}

#[test]
fn go_s_azidentity_obtains_tokens_and_calls_the_gateway() {
    let Some(place) = installed("go", &["go"], r#"go build -o "$PLACE/program" ."#) else {
        return;
    };
    Stage::start().run(
        Command::new(place.join("program")),
        &["azidentity client-secret", "azidentity password"],
    );
}

#[test]
fn java_s_msal4j_obtains_tokens_and_calls_the_gateway() {
    let Some(place) = installed(
        "java",
        &["java", "javac", "keytool", "mvn"],
        r#"cmp -s pom.xml "$PLACE/installed" || {
            mvn --quiet --batch-mode dependency:build-classpath -Dmdep.outputFile="$PLACE/classpath" && cp pom.xml "$PLACE/installed"
        }
        javac -d "$PLACE" -cp "$(cat "$PLACE/classpath")" Main.java"#,
    ) else {
        return;
    };
    let stage = Stage::start();
    let trusted = stage.folder.path().join("trusted.p12");
    let output = Command::new("keytool")
        .args([
            "-importcert",
            "-noprompt",
            "-alias",
            "simulator",
            "-storetype",
            "PKCS12",
            "-storepass",
            "simulator",
            "-file",
        ])
        .arg(stage.folder.path().join("ca.pem"))
        .arg("-keystore")
        .arg(&trusted)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let classpath = fs::read_to_string(place.join("classpath")).unwrap();
    let mut program = Command::new("java");
    program
        .arg(format!("-Djavax.net.ssl.trustStore={}", trusted.display()))
        .args(["-Djavax.net.ssl.trustStorePassword=simulator", "-cp"])
        .arg(format!("{}:{}", place.display(), classpath.trim()))
        .arg("Main");
    stage.run(program, &["msal4j client-secret", "msal4j password"]);
}

#[test]
fn an_outage_is_rehearsed_by_one_command_and_ends_by_another() {
    let (_simulator, variables) = simulated(&[
        "--listen",
        "127.0.0.1:0",
        "--flow",
        "moved=users:gone",
        "--flow",
        "paused=users:off",
    ]);
    let origin = &variables["ENTRA_AUTHORITY"];
    let say = |place: &str, word: &str| {
        let output = Command::new("curl")
            .args([
                "-s",
                "--noproxy",
                "*",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-X",
                "PUT",
                "-d",
                word,
            ])
            .arg(format!("{origin}/-/{place}"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let metadata = format!(
        "{origin}/8f3b0000-0000-4000-8000-000000000001/v2.0/.well-known/openid-configuration"
    );
    for (word, status) in [
        ("error", 503),
        ("throttled 7", 429),
        ("portal", 200),
        ("ok", 200),
    ] {
        assert_eq!(say("metadata", word), "204", "{word}");
        let (got, document) = call(&metadata, &[], None);
        assert_eq!(got, status, "{word}");
        assert_eq!(document["issuer"].is_string(), word == "ok", "{word}");
    }
    for (place, word) in [
        ("metadata", "nonsense"),
        ("nowhere", "ok"),
        ("flows/nobody", "off"),
        ("metadata", "throttled x"),
        ("token", "rotate"),
    ] {
        assert_eq!(say(place, word), "400", "{place} {word}");
    }
    assert_eq!(
        call(&variables["MOVED_URL"], &[], Some(b"{}")).1["error"]["code"],
        "WorkflowNotFound"
    );
    let legacy = &variables["LEGACY_URL"];
    for (word, status) in [
        ("off", 400),
        ("gone", 404),
        ("on", 200),
        ("no-response", 502),
        ("echo", 200),
        ("error", 503),
        ("ok", 200),
    ] {
        assert_eq!(say("flows/legacy", word), "204", "{word}");
        assert_eq!(call(legacy, &[], Some(b"{}")).0, status, "{word}");
    }
}
