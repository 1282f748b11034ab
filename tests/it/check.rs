//! `flowgate check` as its users run it: what a mistake is called, where it is, and in which order everything is said.
//!
//! In: a configuration in a file, variables, options. Out: the exit code and both streams of the real binary.

use std::process::{Command, Stdio};

use crate::process::written;

/// Sound, with every name that the cases refer to.
const BASE: &str = "
callers:
  erp: { api_key: { sha256: { env: KEY_HASH } } }
credentials:
  flows: { client_secret: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000002, secret: { env: SECRET } } }
flows:
  base: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }
";

const VARIABLES: [(&str, &str); 4] = [
    (
        "KEY_HASH",
        "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
    ),
    ("SECRET", "s~e+c/r&e%t="),
    (
        "FLOW_URL",
        "https://a.b.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/triggers/manual/paths/invoke?api-version=1",
    ),
    ("APP_SECRET", "canary-secret-canary"),
];

/// Exit code, standard output and standard error.
pub type Said = (Option<i32>, String, String);

/// Runs the binary in `folder`.
pub fn run_in(folder: &std::path::Path, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Checks one file.
fn check(text: &[u8], options: &[&str], variables: &[(&str, &str)]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flowgate.yaml");
    std::fs::write(&file, text).unwrap();
    let arguments = [&["check", "--config", file.to_str().unwrap()], options].concat();
    run_in(folder.path(), &arguments, variables)
}

/// What checking the base and this together says: every problem a line of its own, `severity: path: message = fix`.
fn told(text: &str, options: &[&str], more: &[(&str, &str)]) -> Vec<String> {
    let (folder, base) = written(BASE);
    let case = folder.path().join("case.yaml");
    std::fs::write(&case, text).unwrap();
    let variables = [&VARIABLES[..], more].concat();
    let files = [base.to_str().unwrap(), case.to_str().unwrap()];
    let arguments = [
        &["check", "--config", files[0], "--config", files[1]],
        options,
    ]
    .concat();
    let (_, _, said) = run_in(folder.path(), &arguments, &variables);
    said.split("\n\n")
        .map(|one| {
            let lines = one.lines().map(str::trim);
            let kept: Vec<&str> = lines
                .filter(|line| {
                    ["error: ", "warning: ", "note: ", "= "]
                        .iter()
                        .any(|start| line.starts_with(start))
                })
                .collect();
            kept.join(" ")
        })
        .filter(|one| !one.is_empty())
        .collect()
}

/// Each case says exactly this one thing: the severity, the key path and these fragments.
fn cases(table: &[(&str, &str, &[&str], &str)]) {
    for (severity, path, fragments, text) in table {
        let told = told(text, &["--secrets"], &[]);
        let [one] = told.as_slice() else {
            panic!("{text}\nsays {} things: {told:#?}", told.len());
        };
        let start = if path.is_empty() {
            format!("{severity}: ")
        } else {
            format!("{severity}: {path}: ")
        };
        assert!(one.starts_with(&start), "{text}\n{one}\n{start}");
        for fragment in *fragments {
            assert!(one.contains(fragment), "{text}\n{one}\n{fragment}");
        }
        assert!(!one.contains("canary"), "{text}\n{one}");
    }
}

/// A credential `c` with this secret, and a flow that uses it.
fn with_secret(secret: &str) -> String {
    format!(
        "credentials:\n  c: {{ client_secret: {{ tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000002, secret: {secret} }} }}\nflows:\n  b: {{ url: {{ env: FLOW_URL }}, who_can_trigger: erp, credential: c }}\n"
    )
}

#[test]
fn a_variable_written_for_another_tool_is_recognised_and_never_used_as_the_secret() {
    for secret in [
        "$APP_SECRET",
        "'$(APP_SECRET)'",
        "'%APP_SECRET%'",
        "'$env:APP_SECRET'",
        "'{{ APP_SECRET }}'",
        "'env:APP_SECRET'",
        "'env: APP_SECRET'",
    ] {
        let text = with_secret(secret);
        cases(&[(
            "error",
            "credentials.c.client_secret.secret",
            &["{ env: NAME }"],
            &text,
        )]);
    }
    for name in [
        "$APP_SECRET",
        "'${APP_SECRET}'",
        "'%APP_SECRET%'",
        "'APP_SECRET=x'",
    ] {
        let text = with_secret(&format!("{{ env: {name} }}"));
        cases(&[(
            "error",
            "credentials.c.client_secret.secret.env",
            &["env: "],
            &text,
        )]);
    }
    for path in ["$HOME/secret", "~/secret", "'%USERPROFILE%/secret'"] {
        let text = with_secret(&format!("{{ file: {path} }}"));
        cases(&[(
            "error",
            "credentials.c.client_secret.secret.file",
            &["in full"],
            &text,
        )]);
    }
    for address in [
        "'https://acme.vault.azure.net/secrets/x'",
        "'@Microsoft.KeyVault(SecretUri=https://acme.vault.azure.net/secrets/x)'",
    ] {
        let text = with_secret(address);
        cases(&[(
            "error",
            "credentials.c.client_secret.secret",
            &["{ key_vault: "],
            &text,
        )]);
    }
}

#[test]
fn a_secret_written_as_an_expansion_is_that_variable() {
    let text = with_secret("'${APP_SECRET}'");
    // It is there: nothing is in plain text, and how to write it is said.
    let said = told(&text, &["--secrets"], &[]);
    let [one] = said.as_slice() else {
        panic!("{said:#?}")
    };
    assert!(one.starts_with("note: "), "{one}");
    assert!(one.contains("{ env: NAME }"), "{one}");
    // It is absent on this machine: a note like that of any other secret, an error only where secrets have to be there.
    let text = with_secret("'${OTHER_SECRET}'");
    let said = told(&text, &[], &[]).join("\n");
    assert!(said.contains("note: credentials.c.client_secret.secret: the environment variable is not set: OTHER_SECRET"), "{said}");
    assert!(!said.contains("error: "), "{said}");
    let said = told(&text, &["--secrets"], &[]).join("\n");
    assert!(said.contains("error: credentials.c.client_secret.secret: the environment variable is not set: OTHER_SECRET"), "{said}");
}

#[test]
fn blanks_at_the_ends_of_a_secret_are_said() {
    for value in [
        "canary-secret ",
        " canary-secret",
        "canary-secret\n\n",
        "canary\tsecret\t",
    ] {
        let text = with_secret("{ env: BLANK_SECRET }");
        let said = told(&text, &["--secrets"], &[("BLANK_SECRET", value)]);
        let [one] = said.as_slice() else {
            panic!("{value:?}: {said:#?}")
        };
        assert!(
            one.starts_with("warning: credentials.c.client_secret.secret: ")
                && one.contains("blank"),
            "{one}"
        );
        assert!(!one.contains("canary"), "{one}");
    }
    for value in ["canary-secret", "canary-secret\n", "canary secret"] {
        let text = with_secret("{ env: BLANK_SECRET }");
        let said = told(&text, &["--secrets"], &[("BLANK_SECRET", value)]);
        assert_eq!(said, Vec::<String>::new(), "{value:?}");
    }
}

#[test]
fn a_known_key_in_the_wrong_place_is_named_with_the_place_where_it_belongs() {
    cases(&[
        ("error", "", &["`drain`", "under `server:`"], "drain: 10s\n"),
        (
            "error",
            "",
            &["`listen`", "`server:`", "`admin:`"],
            "listen: 127.0.0.1:1\n",
        ),
        // One too deep.
        (
            "error",
            "server",
            &["`outbound`", "one level"],
            "server:\n  outbound: { ca: x }\n",
        ),
        (
            "error",
            "flows.b",
            &["`callers`", "top"],
            "flows:\n  b:\n    url: { env: FLOW_URL }\n    who_can_trigger: erp\n    credential: flows\n    callers: {}\n",
        ),
        // A kind's own keys beside the kind, or without it.
        (
            "error",
            "credentials.c",
            &["`secret`", "`client_secret:`"],
            "credentials:\n  c:\n    secret: { env: SECRET }\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: c }\n",
        ),
        (
            "error",
            "callers.c",
            &["`audience`", "`entra:`"],
            "callers:\n  c:\n    audience: x\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: [erp, c], credential: flows }\n",
        ),
        // Dedented out of its entry.
        (
            "error",
            "flows",
            &["`who_can_trigger`", "indent"],
            "flows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }\n  who_can_trigger: erp\n",
        ),
        (
            "error",
            "flows",
            &["`url`", "indent"],
            "flows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }\n  url: https://x.example\n",
        ),
        (
            "error",
            "credentials",
            &["`client_secret`", "indent"],
            "credentials:\n  client_secret: { client_id: x }\n",
        ),
        // Left out the name.
        (
            "error",
            "callers",
            &["`entra`", "name"],
            "callers:\n  entra: { audience: x }\n",
        ),
        // Known elsewhere.
        (
            "error",
            "flows.b",
            &["`buffer_memory`", "server"],
            "flows:\n  b:\n    url: { env: FLOW_URL }\n    who_can_trigger: erp\n    credential: flows\n    buffer_memory: 1MiB\n",
        ),
        // Still a slip of the pen.
        (
            "error",
            "flows.b",
            &["did you mean `scope`?"],
            "flows:\n  b:\n    url: { env: FLOW_URL }\n    who_can_trigger: erp\n    credential: flows\n    scopes: x\n",
        ),
        // What is no word of ours is not repeated.
        (
            "error",
            "server",
            &["known here: listen"],
            "server:\n  canary-value: 1\n",
        ),
    ]);
}

#[test]
fn text_in_another_encoding_is_called_by_its_name() {
    let text = "flows: {}\n";
    let mut little = vec![0xff, 0xfe];
    let mut big = vec![0xfe, 0xff];
    for unit in text.encode_utf16() {
        little.extend(unit.to_le_bytes());
        big.extend(unit.to_be_bytes());
    }
    for bytes in [&little[..], &big[..], &little[2..], &big[2..]] {
        let (code, _, said) = check(bytes, &[], &[]);
        assert_eq!(code, Some(2));
        assert!(said.contains("UTF-16") && said.contains("UTF-8"), "{said}");
        assert!(!said.contains("--config"), "{said}");
    }
    let (code, _, said) = check(b"flows: { \xfc: 1 }\n", &[], &[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("not UTF-8") && !said.contains("--config"),
        "{said}"
    );
    // A mark before UTF-8 is no mistake.
    let (_, _, said) = check("\u{feff}log: { level: loud }\n".as_bytes(), &[], &[]);
    assert!(said.contains("error: log.level"), "{said}");
}

#[test]
fn notes_follow_the_errors_that_caused_them() {
    let text = "callers:\n  lonely: { api_key: { sha256: { env: OTHER_HASH } } }\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows, kind: nothing }\n  c: { url: { env: FLOW_URL }, who_can_trigger: lonly, credential: flows }\n";
    let said = told(text, &[], &[]);
    let first_note = said.iter().position(|one| one.starts_with("note: "));
    let last_error = said.iter().rposition(|one| one.starts_with("error: "));
    assert_eq!(
        said.iter().filter(|one| one.starts_with("error: ")).count(),
        2,
        "{said:#?}"
    );
    assert!(first_note > last_error, "{said:#?}");
    // The misspelled name is the one that lists it.
    assert!(
        !said.iter().any(|one| one.contains("no flow lists")),
        "{said:#?}"
    );
}

#[test]
fn a_configuration_without_a_flow_is_a_problem() {
    for text in ["flows: {}\n", "callers: {}\n", ""] {
        let (code, out, said) = check(text.as_bytes(), &[], &[]);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("warning: ") && said.contains("no flows"),
            "{text}: {said}"
        );
        assert!(out.contains("1 warning"), "{out}");
        let (code, ..) = check(text.as_bytes(), &["--strict"], &[]);
        assert_eq!(code, Some(2));
    }
}

#[test]
fn a_store_s_missing_folder_is_seen_where_secrets_have_to_be_there() {
    let text = "credentials:\n  c: { refresh_token: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000002, store: { file: no/folder/token }, store_key: { env: KEY_HASH } } }\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: c }\n";
    cases(&[(
        "error",
        "credentials.c.refresh_token.store.file",
        &["folder", "no/folder"],
        text,
    )]);
    let said = told(text, &[], &[]);
    assert!(
        said.len() == 1 && said[0].starts_with("note: credentials.c.refresh_token.store.file: "),
        "{said:#?}"
    );
}

#[test]
fn hosts_that_no_request_can_ever_match_are_refused_with_the_right_form() {
    cases(&[
        (
            "error",
            "outbound.no_proxy[0]",
            &["`.corp`"],
            "outbound: { no_proxy: ['*.corp'] }\n",
        ),
        (
            "error",
            "outbound.no_proxy[0]",
            &["alone"],
            "outbound: { no_proxy: ['https://a.corp'] }\n",
        ),
        (
            "error",
            "outbound.no_proxy[0]",
            &["without a port"],
            "outbound: { no_proxy: ['a.corp:8443'] }\n",
        ),
        (
            "error",
            "outbound.no_proxy[0]",
            &[""],
            "outbound: { no_proxy: ['10.0.*'] }\n",
        ),
        (
            "error",
            "outbound.no_proxy[0]",
            &[""],
            "outbound: { no_proxy: ['10.0.0.0/40'] }\n",
        ),
        (
            "error",
            "outbound.no_proxy[0]",
            &["each"],
            "outbound: { no_proxy: ['a.corp,b.corp'] }\n",
        ),
        (
            "error",
            "outbound.no_proxy[0]",
            &[""],
            "outbound: { no_proxy: ['[::1]'] }\n",
        ),
        (
            "error",
            "outbound.insecure_hosts[0]",
            &["port"],
            "outbound: { insecure_hosts: ['a.corp:8080'] }\n",
        ),
        (
            "error",
            "outbound.insecure_hosts[0]",
            &[""],
            "outbound: { insecure_hosts: ['.corp'] }\n",
        ),
        (
            "error",
            "server.hosts[0]",
            &["port"],
            "server: { hosts: ['a.example:8080'] }\n",
        ),
        (
            "error",
            "server.hosts[0]",
            &[""],
            "server: { hosts: ['*.example'] }\n",
        ),
        (
            "error",
            "server.hosts[0]",
            &["[::1]"],
            "server: { hosts: ['::1'] }\n",
        ),
        (
            "error",
            "server.hosts[0]",
            &[""],
            "server: { hosts: ['.example'] }\n",
        ),
    ]);
    for sound in [
        "'*'",
        ".corp",
        "corp",
        "a.corp",
        "10.0.0.0/8",
        "192.0.2.1",
        "'::1'",
        "'fd00::/8'",
        "a_b.corp",
    ] {
        let said = told(
            &format!("outbound: {{ no_proxy: [{sound}] }}\n"),
            &["--secrets"],
            &[],
        );
        assert_eq!(said, Vec::<String>::new(), "{sound}");
    }
}

#[test]
fn a_proxy_is_written_as_other_tools_write_it() {
    let said = told(
        "outbound: { proxy: 'proxy.corp:3128' }\n",
        &["--secrets"],
        &[],
    );
    assert_eq!(said, Vec::<String>::new());
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        for value in [
            "proxy.corp:3128",
            "http://proxy.corp:3128",
            "192.0.2.1:3128",
            "user:canary@proxy.corp:3128",
        ] {
            let said = told("", &["--secrets"], &[(name, value)]);
            assert_eq!(said, Vec::<String>::new(), "{name}={value}");
        }
    }
    let said = told(
        "",
        &["--secrets"],
        &[("HTTPS_PROXY", "socks5://canary:1080")],
    );
    assert!(
        said.len() == 1
            && said[0].starts_with("warning: HTTPS_PROXY")
            && !said[0].contains("canary"),
        "{said:?}"
    );
    // As Go and Python read the variable; what can never match is said.
    let said = told(
        "",
        &["--secrets"],
        &[("NO_PROXY", "*.corp, localhost ,10.0.0.0/8,.b.corp:443")],
    );
    assert_eq!(said, Vec::<String>::new());
    let said = told("", &["--secrets"], &[("NO_PROXY", "https://canary.corp/")]);
    assert!(
        said.len() == 1 && said[0].starts_with("warning: ") && !said[0].contains("canary"),
        "{said:?}"
    );
}

#[test]
fn what_to_ask_an_unknown_host_s_token_for_is_never_guessed_silently() {
    let flow = |url: &str, more: &str| {
        format!("flows:\n  b: {{ url: '{url}', who_can_trigger: erp, credential: flows{more} }}\n")
    };
    for (url, more) in [
        ("http://127.0.0.1:4000/graph/v1.0/me", ""),
        ("https://graph.corp.example/v1.0/me", ", allow_host: true"),
        ("https://management.azure.com/x", ""),
        ("https://acme.crm.dynamics.com/api", ", kind: other"),
    ] {
        cases(&[("warning", "flows.b.url", &["`scope:`"], &flow(url, more))]);
    }
    let trigger = "/workflows/0/triggers/manual/paths/invoke?api-version=1";
    for (url, more) in [
        (format!("http://127.0.0.1:4000{trigger}"), ""),
        ("https://graph.microsoft.com/v1.0/me".to_owned(), ""),
        (
            "http://127.0.0.1:4000/graph/v1.0/me".to_owned(),
            ", scope: 'https://graph.microsoft.com/.default'",
        ),
    ] {
        assert_eq!(
            told(&flow(&url, more), &["--secrets"], &[]),
            Vec::<String>::new(),
            "{url}"
        );
    }
}

#[test]
fn what_no_request_could_ever_use_is_an_error() {
    let flow = |more: &str| {
        format!(
            "flows:\n  b: {{ url: {{ env: FLOW_URL }}, who_can_trigger: erp, credential: flows, {more} }}\n"
        )
    };
    cases(&[
        (
            "error",
            "flows.b.response_headers.pass",
            &["both"],
            &flow("response_headers: { remove: Server, pass: server }"),
        ),
        (
            "error",
            "flows.b.response_headers.pass",
            &["hop"],
            &flow("response_headers: { pass: Transfer-Encoding }"),
        ),
        (
            "error",
            "flows.b.query",
            &["URL itself"],
            "flows:\n  b: { url: 'https://graph.microsoft.com/v1.0/me?$select=id', query: $select, who_can_trigger: erp, credential: flows }\n",
        ),
        (
            "error",
            "flows.b.url",
            &["port"],
            "flows:\n  b: { url: 'https://x.example:99999/a', who_can_trigger: erp, credential: none }\n",
        ),
        (
            "error",
            "flows.b.url",
            &["port"],
            "flows:\n  b: { url: 'https://x.example:0/a', who_can_trigger: erp, credential: none }\n",
        ),
        (
            "error",
            "flows.b.url",
            &["host"],
            "flows:\n  b: { url: 'https://*.example/a', who_can_trigger: erp, credential: none }\n",
        ),
        (
            "error",
            "defaults.flow.credential",
            &["no credential has this name"],
            "defaults: { flow: { credential: nobody } }\n",
        ),
        (
            "error",
            "defaults.flow.methods[0]",
            &["did you mean `POST`?"],
            "defaults: { flow: { methods: [post] } }\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows, methods: [POST] }\n",
        ),
        (
            "error",
            "defaults.entra.authority",
            &["tenant"],
            "defaults: { entra: { authority: 'https://login.microsoftonline.com/8f3b0000-0000-0000-0000-000000000001' } }\n",
        ),
        (
            "error",
            "credentials.c.client_secret.authority",
            &["tenant"],
            "credentials:\n  c: { client_secret: { authority: 'https://login.microsoftonline.com/common/oauth2/v2.0', tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000002, secret: { env: SECRET } } }\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: c }\n",
        ),
    ]);
}

#[test]
fn several_flows_share_a_path_by_their_methods() {
    let two = |one: &str, other: &str| {
        format!(
            "flows:\n  a: {{ url: {{ env: FLOW_URL }}, who_can_trigger: erp, credential: flows, path: /x, methods: {one} }}\n  b: {{ url: {{ env: FLOW_URL }}, who_can_trigger: erp, credential: flows, path: /x, methods: {other} }}\n"
        )
    };
    assert_eq!(
        told(&two("[POST]", "[OPTIONS, GET]"), &["--secrets"], &[]),
        Vec::<String>::new()
    );
    cases(&[(
        "error",
        "flows.b.path",
        &["`a`", "methods"],
        &two("[POST, GET]", "[GET]"),
    )]);
}
