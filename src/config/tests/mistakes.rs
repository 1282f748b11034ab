//! One case per mistake: where it is reported, and what the fix says.
//!
//! The cases are in `mistakes/*.txt`, one a line. Each becomes a file of its own beside a sound one; the problem has to be reported at the
//! line marked `<<<`, with the key path and the words of the case, and nothing else may be reported.

use super::examine_files;
use crate::validation::Secrets;
use settings::problem::Severity;

/// Sound, and enough for a case to refer to.
const BASE: &str = r"
callers:
  erp: { api_key: { sha256: { env: KEY_HASH } } }
credentials:
  flows: { client_secret: { tenant: TENANT, CLIENT } }
flows:
  base: { URL, ERP }
";

/// What the cases abbreviate.
const SHORT: [(&str, &str); 8] = [
    ("\\n", "\n"),
    ("\\t", "\t"),
    ("TENANT", "8f3b0000-0000-0000-0000-000000000001"),
    (
        "CLIENT",
        "client_id: 22220000-0000-0000-0000-000000000002, secret: { env: SECRET }",
    ),
    (
        "ACCOUNT",
        "client_id: 22220000-0000-0000-0000-000000000002, username: a@b.example, password: { env: SECRET }",
    ),
    ("STORE", "store: { file: a }, store_key: { env: KEY_HASH }"),
    ("URL,", "url: { env: FLOW_URL },"),
    ("ERP", "who_can_trigger: erp, credential: flows"),
];

fn spelled_out(text: &str) -> String {
    let replace = |text: String, (short, long): &(&str, &str)| text.replace(short, long);
    SHORT.iter().fold(text.to_owned(), replace)
}

/// Checks every case of a table; `file` makes a file of its last column.
fn validate(table: &str, file: impl Fn(&str, &str) -> String) {
    let base = spelled_out(BASE);
    let mut cases = 0;
    for case in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = case.splitn(4, " |").map(str::trim).collect();
        let [severity, path, fragment, text] = columns[..] else {
            panic!("not a case: {case}");
        };
        let text = spelled_out(&file(case, text));
        let line = text.lines().position(|line| line.contains("<<<"));
        let text = text.replace("<<<", "");
        let (severity, secrets) = match severity {
            "error" => (Severity::Error, Secrets::Required),
            "warning" => (Severity::Warning, Secrets::Required),
            _ => (Severity::Note, Secrets::Optional),
        };
        let outcome = examine_files(&[("base.yaml", &base), ("case.yaml", &text)], secrets);
        // Reported for every password, and once: by a case of its own.
        let advice = "Microsoft advises against it";
        let own = |reported: &str| case.contains(advice) || !reported.contains(advice);
        let problems: Vec<_> = outcome
            .problems
            .iter()
            .filter(|problem| own(problem.message.as_str()))
            .collect();
        let [problem] = problems[..] else {
            panic!(
                "{text}\nhas {} problems:\n{}",
                problems.len(),
                outcome.problems
            );
        };
        let location = problem.location.as_ref().expect("a place");
        assert_eq!(problem.severity, severity, "{text}\n{problem}");
        assert_eq!(&*location.path, path, "{text}\n{problem}");
        assert_eq!(&*location.file, "case.yaml", "{text}\n{problem}");
        assert_eq!(Some(location.line - 1), line, "{text}\n{problem}");
        let written = text.lines().nth(location.line - 1).unwrap_or_default();
        let below: String = written.chars().skip(location.column - 1).collect();
        let shown = &*location.key;
        assert!(
            shown == "…" || below.starts_with(shown),
            "{text}\n{problem}"
        );
        let reported = problem.to_string();
        assert!(reported.contains(fragment), "{text}\n{problem}\n{fragment}");
        cases += 1;
    }
    assert!(cases > 5);
}

#[test]
fn mistakes_of_yaml_are_reported_in_our_own_words() {
    validate(include_str!("mistakes/yaml.txt"), |_, text| text.to_owned());
}

#[test]
fn keys_that_are_unknown_or_double_are_refused_with_the_one_that_was_meant() {
    validate(include_str!("mistakes/keys.txt"), |_, text| text.to_owned());
}

#[test]
fn values_say_what_they_have_to_be() {
    validate(include_str!("mistakes/values.txt"), |_, text| {
        text.to_owned()
    });
}

#[test]
fn secrets_say_where_they_are_missing_and_never_what_they_are() {
    validate(include_str!("mistakes/secrets.txt"), |_, text| {
        text.to_owned()
    });
}

/// `unused`: whether the case is about an entry nobody refers to.
fn user(case: &str, unused: &str, own: &str) -> String {
    let other = if case.contains("no flow") {
        unused
    } else {
        own
    };
    other.to_owned()
}

#[test]
fn callers_that_admit_nobody_or_too_many_are_refused() {
    validate(include_str!("mistakes/callers.txt"), |case, entry| {
        let who = user(case, "erp", "x");
        format!(
            "callers:\n  x: {{ {entry} }} # <<<\nflows:\n  b: {{ URL, who_can_trigger: {who}, credential: flows }}"
        )
    });
}

#[test]
fn credentials_that_the_provider_would_refuse_are_refused_here() {
    validate(include_str!("mistakes/credentials.txt"), |case, entry| {
        let which = user(case, "flows", "c");
        format!(
            "credentials:\n  c: {{ {entry} }} # <<<\nflows:\n  b: {{ url: 'http://127.0.0.1:9/workflows/0/triggers/manual/paths/invoke?api-version=1', who_can_trigger: erp, credential: {which} }}"
        )
    });
}

#[test]
fn flows_that_cannot_work_or_would_give_too_much_are_refused() {
    validate(include_str!("mistakes/flows.txt"), |_, entry| {
        format!("flows:\n  f: {{ {entry} }} # <<<")
    });
}

#[test]
fn secrets_in_vaults_need_a_vault_and_somebody_else_to_read_them() {
    validate(include_str!("mistakes/vaults.txt"), |_, text| {
        text.to_owned()
    });
}

#[test]
fn a_token_is_not_kept_in_a_circle_of_credentials_either() {
    let text = spelled_out(
        "credentials:\n  \
         c: { client_secret: { tenant: TENANT, client_id: TENANT, secret: { key_vault: 'https://a.vault.azure.net/secrets/y', credential: planner } } }\n  \
         planner: { refresh_token: { tenant: TENANT, client_id: TENANT, store_key: { env: KEY_HASH }, store: { key_vault: 'https://a.vault.azure.net/secrets/x', credential: c } } }\n\
         flows:\n  b: { URL, who_can_trigger: erp, credential: planner }\n  d: { URL, who_can_trigger: erp, credential: c }",
    );
    let files = [("base.yaml", spelled_out(BASE)), ("case.yaml", text)];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let outcome = examine_files(&files, Secrets::Required);
    let reported: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    let [one, other] = reported.as_slice() else {
        panic!("{}", outcome.problems);
    };
    assert!(one.contains("own secret is read with itself"), "{one}");
    assert!(other.contains("own token is kept with itself"), "{other}");
}

#[test]
fn only_flows_whose_callers_are_users_exchange_their_tokens() {
    // The credential's application, and another.
    const OWN: &str = "22220000-0000-0000-0000-000000000002";
    const OTHER: &str = "11110000-0000-0000-0000-00000000000A";
    validate(include_str!("mistakes/on_behalf_of.txt"), |_, entry| {
        let (credential, flow) = match entry.split_once(' ') {
            Some(("c:", credential)) => (format!("{credential} }} # <<<"), None),
            Some(("f:", flow)) => (
                "on_behalf_of: { tenant: TENANT, CLIENT } }".to_owned(),
                Some(format!("{flow} }} # <<<")),
            ),
            _ => panic!("neither a credential nor a flow: {entry}"),
        };
        let flow = flow.unwrap_or_else(|| "who_can_trigger: users }".to_owned());
        format!(
            "callers:\n  users: {{ entra: {{ tenant: TENANT, audience: a }} }}\n  \
             members: {{ entra: {{ tenant: TENANT, audience: a, client_ids: [TENANT], groups: [TENANT] }} }}\n  \
             everybody: {{ entra: {{ tenant: TENANT, audience: a, apps: true }} }}\n  \
             applications: {{ entra: {{ tenant: TENANT, audience: a, client_ids: [TENANT] }} }}\n  \
             own: {{ entra: {{ tenant: TENANT, audience: ['api://{OWN}', '{OWN}', 'https://a.example', 'api://a/{OTHER}'] }} }}\n  \
             other: {{ entra: {{ tenant: TENANT, audience: '{OTHER}' }} }}\n  \
             both: {{ entra: {{ tenant: TENANT, audience: ['{OWN}', '{OTHER}'] }} }}\n  \
             default: {{ entra: {{ tenant: TENANT, audience: ['api://{OTHER}', '{OTHER}'] }} }}\n  \
             partner: {{ jwt: {{ issuer: 'https://idp.example', audience: a }} }}\n\
             credentials:\n  c: {{ {credential}\n\
             flows:\n  all: {{ URL, who_can_trigger: [users, members, everybody, applications, partner, own, other, both, default], credential: flows }}\n  \
             f: {{ url: 'http://127.0.0.1:9/workflows/0/triggers/manual/paths/invoke?api-version=1', credential: c, {flow}"
        )
    });
}

#[test]
fn kinds_that_are_not_built_yet_are_refused_by_name() {
    let callers = ["basic", "client_certificate", "hmac", "network"].map(|kind| {
        (
            format!("callers.x.{kind}"),
            format!("callers: {{ x: {{ {kind}: {{ a: b }} }} }}"),
        )
    });
    let others = [
        ("server.tls.client_ca", "server: { tls: { client_ca: x } }"),
        ("flows.x.schema", "flows: { x: { schema: { file: a } } }"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()));
    for (path, text) in callers.into_iter().chain(others) {
        let outcome = examine_files(&[("case.yaml", &text)], Secrets::Optional);
        let reported: Vec<_> = outcome
            .problems
            .iter()
            .filter(|problem| problem.message.as_str().contains("not built yet"))
            .filter_map(|problem| problem.location.as_ref())
            .map(|location| &*location.path)
            .collect();
        assert_eq!(reported, [path], "{}", outcome.problems);
        assert!(outcome.config.is_none());
    }
}
