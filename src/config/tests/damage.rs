//! A slip of a finger never shows a secret: every one-character damage of a configuration full of canaries (security rule 20).
//!
//! The canaries look like everything a configuration may contain: a name, a variable, a path, a URL, base64. They repeat one short
//! word, so that half a canary is noticed too.

use std::sync::Arc;

use super::NOW;
use crate::clock::Clock;
use crate::config::source::File;
use crate::config::{DEFAULTS, Secrets, find_over};
use settings::Environment;
use settings::tree::{self, Node};

/// In any case, this word appears in nothing that is printed.
const WORD: &str = "zqxj";

const BLOCK: &str = r#"
outbound:
  proxy: http://zqxj:zqxj@127.0.0.1:3128
callers:
  erp:
    api_key:
      keys:
        - plain: zqxjzqxjzqxjzqxjzqxj
          expires: 2030-01-01
        - { plain: "ZQXJ_ZQXJ_ZQXJ_ZQXJ_ZQXJ", not_before: 2026-01-01 }
        - sha256: { env: HASH }
  idp:
    jwt: { issuer: "https://127.0.0.1/${PART}", audience: a, claims: { zqxj: zqxj } }
credentials:
  flows:
    client_secret:
      token_url: 'https://127.0.0.1/token'
      client_id: ${PART}
      secret: zqxj-zqxj-zqxj
      parameters: { zqxj: zqxj }
  other:
    client_secret: {token_url: "http://127.0.0.1/t", client_id: a, secret: {file: /run/none/a}}
  third:
    client_secret: {token_url: "http://127.0.0.1/t", client_id: a, secret: {env: ZQXJ}}
flows:
  order:
    url: "http://127.0.0.1/workflows/1/triggers/manual/paths/invoke?api-version=1&sig=zqxjZQXJ"
    who_can_trigger: [erp, idp]
    credential: none
  first: { url: { file: FILE }, who_can_trigger: idp, timeout: 5s }
  second:
    url: |
      http://127.0.0.1/zqxj
    who_can_trigger:
      - erp
    path: /second
    timeout: 5s
    credential: flows
"#;

/// What has a meaning in YAML or in our own expansion: tried everywhere.
const SLIPS: &str = " \n:{}[],\"'#&*-|$";

/// What a typist, an editor or a template may leave behind as well: each tried at every seventh place.
const RARE: &str = "\t>!%?\\~/.<@`=a0Zé\r\u{0}\u{feff}";

/// Of these, what is tried in place of each character too.
const REPLACING: &str = " \n:,\"#";

fn defaults() -> Node {
    tree::parse(&Arc::from("default.yaml"), DEFAULTS).unwrap_or_else(|problem| panic!("{problem}"))
}

fn output(defaults: &Node, text: &str, secrets: Secrets) -> String {
    let file = File {
        name: Arc::from("flowgate.yaml"),
        text: text.to_owned(),
    };
    let environment = Environment::fixed([
        ("PART", "zqxjzqxj"),
        ("ZQXJ", "zqxjzqxjzqxj"),
        ("HASH", "zqxjzqxjzqxjzqxjzqxjzqxjzqxjzqxj"),
        ("HTTPS_PROXY", "zqxj://zqxj"),
    ]);
    let outcome = find_over(
        defaults,
        &[file],
        &environment,
        &Clock::manual(NOW),
        secrets,
    )
    .outcome();
    let mut output = outcome.problems.to_string();
    for problem in outcome.problems.iter() {
        output.push_str(&problem.line());
    }
    output
}

fn damaged(text: &str) -> Vec<String> {
    let mut texts = vec![text.to_owned()];
    let ends = text
        .char_indices()
        .map(|(at, letter)| (at, letter.len_utf8()));
    for (at, length) in ends {
        let (before, after) = (&text[..at], &text[at + length..]);
        texts.push(format!("{before}{after}"));
        let rare = RARE.chars().enumerate();
        let rare = rare.filter(|(turn, _)| (at + turn) % 7 == 0);
        for slip in SLIPS.chars().chain(rare.map(|(_, slip)| slip)) {
            texts.push(format!("{before}{slip}{}", &text[at..]));
            if REPLACING.contains(slip) {
                texts.push(format!("{before}{slip}{after}"));
            }
        }
    }
    texts
}

/// The configuration, and the file with a canary that it names.
fn sound() -> (String, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ftp://zqxj/zqxj?sig=zqxj").unwrap();
    let text = BLOCK.replace("FILE", &file.path().to_string_lossy());
    (text, file)
}

#[test]
fn no_one_character_damage_of_a_configuration_shows_a_secret() {
    let (text, _file) = sound();
    let texts = damaged(&text);
    let half = texts.len() / 2;
    std::thread::scope(|scope| {
        for part in [&texts[..half], &texts[half..]] {
            scope.spawn(move || {
                let defaults = defaults();
                for text in part {
                    let output = output(&defaults, text, Secrets::Required);
                    assert!(
                        !output.to_ascii_lowercase().contains(WORD),
                        "{text}\n=====\n{output}"
                    );
                }
            });
        }
    });
}

#[test]
fn no_cut_of_a_configuration_shows_a_secret() {
    let defaults = defaults();
    let (whole, _file) = sound();
    for (at, _) in whole.char_indices() {
        for text in [&whole[..at], &whole[at..]] {
            for secrets in [Secrets::Required, Secrets::Optional] {
                let output = output(&defaults, text, secrets);
                assert!(
                    !output.to_ascii_lowercase().contains(WORD),
                    "{text}\n=====\n{output}"
                );
            }
        }
    }
}
