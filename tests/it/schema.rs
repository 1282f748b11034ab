//! The JSON Schema of `flowgate schema` beside the reader: a validator that knows nothing of this project accepts what the reader accepts, and
//! refuses what is wrong in shape.
//!
//! In: every example configuration and every case of `src/config/tests/mistakes`. Out: the reader's verdict against the schema's.

use std::path::Path;

use flowgate::clock::Clock;
use flowgate::config::{self, Secrets};
use serde_json::Value as Json;
use settings::Environment;
use settings::tree;

/// As the mistakes' own test spells them out.
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

/// What the reader says of a mistake in shape, which a schema can see.
const SHAPE: &[&str] = &[
    "is not known here",
    "not built yet",
    "has to be one of",
    "has to be a section",
    "has to be a single value",
    "has to be true or false",
    "has to be a whole number",
    "has to be a duration",
    "has to be a size",
    "has to be a date",
    "there is no value",
    "the list is empty",
    "this is empty",
    "a secret comes from exactly one place",
    "a key is given by exactly one of",
    "a key travels in one place",
    "are both given",
    "the token is kept in two places",
    "where the token is kept is not said",
    "`credential` belongs to a `key_vault`",
    "` is missing",
    "several ways",
    "no authentication method",
    "two kinds",
    "no kind",
    "not the name of an environment variable",
    "where a name is expected",
    "this is not a name",
];

fn schema() -> Json {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .arg("schema")
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn json(text: &str) -> Option<Json> {
    tree::parse(&"case.yaml".into(), text)
        .ok()
        .map(|node| node.json())
}

/// The mistakes' tables and the file that each case becomes.
fn mistakes() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/mistakes");
    let mut cases = Vec::new();
    let mut tables = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let table = path.file_stem().unwrap().to_str().unwrap().to_owned();
        tables += 1;
        for case in std::fs::read_to_string(&path).unwrap().lines() {
            let columns: Vec<&str> = case.splitn(4, " |").map(str::trim).collect();
            let [severity, _, _, text] = columns[..] else {
                continue;
            };
            if severity.starts_with('#') {
                continue;
            }
            let file = match table.as_str() {
                "callers" => format!("callers:\n  x: {{ {text} }}"),
                "credentials" => format!("credentials:\n  c: {{ {text} }}"),
                "flows" => format!("flows:\n  f: {{ {text} }}"),
                "on_behalf_of" => match text.split_once(' ') {
                    Some(("c:", entry)) => format!("credentials:\n  c: {{ {entry} }}"),
                    Some((_, entry)) => format!("flows:\n  f: {{ {entry} }}"),
                    None => continue,
                },
                _ => text.to_owned(),
            };
            let text = SHORT
                .iter()
                .fold(file, |text, (short, long)| text.replace(short, long));
            cases.push((format!("{table}: {case}"), text.replace("<<<", "")));
        }
    }
    assert!(tables >= 8 && cases.len() > 200);
    cases
}

#[test]
fn the_schema_is_a_schema_and_accepts_every_example() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(schema["$id"], "urn:flowgate:configuration");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in [
        "config/example.yaml",
        "config/default.yaml",
        "src/cli/demo.yaml",
    ] {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let instance = json(&text).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&instance)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{name}");
    }
    // What an editor shows beside a key.
    assert_eq!(
        schema["properties"]["server"]["properties"]["drain"]["default"],
        "140s"
    );
    assert_eq!(
        schema["properties"]["server"]["properties"]["max_in_flight"]["default"],
        2000
    );
}

#[test]
fn the_schema_refuses_each_mistake_of_shape_and_nothing_else() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let environment = Environment::fixed([("SECRET", "x")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.yaml");
    let mut differing = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for (case, text) in mistakes() {
        // What is no YAML no schema sees.
        let Some(instance) = json(&text) else {
            continue;
        };
        std::fs::write(&file, &text).unwrap();
        let outcome = config::examine(
            std::slice::from_ref(&file),
            &environment,
            &Clock::manual(1_795_305_600),
            Secrets::Optional,
        );
        let messages: Vec<String> = outcome
            .problems
            .iter()
            .map(|problem| problem.message.as_str().to_owned())
            .collect();
        // Two of the same key are one in JSON; a variable may represent any value.
        let unseen = messages
            .iter()
            .any(|one| one.contains("the same key twice") || one.contains("defined twice"))
            || text.contains("${");
        // A default may give the tenant, and `client_ids` may represent an audience.
        let shape = messages
            .iter()
            .filter(|one| !one.contains("`tenant` is missing") && !one.contains("in its place"))
            .any(|one| SHAPE.iter().any(|known| one.contains(known)));
        if unseen {
            continue;
        }
        if shape {
            refused += 1;
        } else {
            accepted += 1;
        }
        let first = validator.iter_errors(&instance).next();
        if first.is_some() != shape {
            let why = first.map(|error| error.to_string());
            differing.push(format!("{case}\n  reader: {messages:?}\n  schema: {why:?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(accepted > 40 && refused > 40, "{accepted} {refused}");
}

#[test]
fn the_schema_sees_what_excludes_each_other() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let valid = |text: &str| validator.is_valid(&json(text).unwrap());
    for text in [
        "callers: { a: { api_key: { sha256: { env: A } } } }",
        "callers: { a: { api_key: { header: X-Key, keys: [{ plain: { env: A } }, { sha256: abc }] } } }",
        "flows: { a: { url: { key_vault: x, credential: y }, who_can_trigger: b, methods: [GET, POST] } }",
        "flows: { a: { url: '${URL}', who_can_trigger: b, methods: '${METHOD}' } }",
    ] {
        assert!(valid(text), "{text}");
    }
    for text in [
        "callers: { a: {} }",
        "callers: { a: { api_key: { sha256: x }, jwt: { issuer: x, audience: y } } }",
        "callers: { a: { api_key: { sha256: x, plain: y } } }",
        "callers: { a: { api_key: {} } }",
        "callers: { a: { api_key: { header: X, scheme: Bearer, sha256: x } } }",
        "callers: { a: { api_key: { keys: [{ sha256: x, plain: y }] } } }",
        "credentials: { a: {} }",
        "credentials: { a: { bearer: { token: x }, managed_identity: {} } }",
        "flows: { a: { url: { env: A, file: b }, who_can_trigger: b } }",
        "flows: { a: { url: { env: A, credential: b }, who_can_trigger: b } }",
        "flows: { a: { url: {}, who_can_trigger: b } }",
        "flows: { a: { url: { env: $A }, who_can_trigger: b } }",
        "flows: { a: { url: x, who_can_trigger: b, methods: [post] } }",
        "flows: { a: { url: x, who_can_trigger: b, trigger: { method: GRAB } } }",
    ] {
        assert!(!valid(text), "{text}");
    }
}
