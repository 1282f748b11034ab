//! The same failures towards a flow's own server: the caller, the log and `doctor`.

use serde_json::Value;
use tracing::Level;

use super::{Way, ask, rows};
use crate::diagnostics::Diagnostics;
use crate::doctor::Said;
use crate::house::{House, KEY};

fn yaml(way: &Way) -> String {
    let Way {
        token_url,
        outbound,
        ..
    } = way;
    format!(
        r#"
server: {{ listen: "127.0.0.1:8080" }}
outbound: {{ connect_timeout: 1s, token_timeout: 2s{outbound} }}
callers: {{ erp: {{ api_key: {{ plain: {{ env: ERP_KEY }} }} }} }}
flows:
  f: {{ url: "{token_url}", kind: other, methods: [GET], who_can_trigger: [erp], credential: none, timeout: 5s }}
"#
    )
}

#[tokio::test]
async fn every_failure_on_the_way_to_a_flow_is_explained_in_log_and_doctor_and_its_fix_works() {
    let mut wrong = Vec::new();
    let mut table = vec![
        "| reason | caller | cause in the log | fix in log and doctor (tried) |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    let all = rows().await;
    // Those that end before there is a connection: what a flow answers is its own.
    let tried = all.iter().take_while(|row| row.reason.word() != "web_page");
    for row in tried {
        let entry = row.reason.entry();
        let word = entry.word;
        let diagnostics = Diagnostics::capture(Level::INFO);
        let yaml_of = yaml(&row.broken);
        let house = House::around(House::simulator().await, &yaml_of, &[]).await;
        let (status, code, fault) = ask(&house).await;
        let call: Value = diagnostics.lines("a call failed").pop().unwrap();
        let doctor = tokio::task::spawn_blocking(move || {
            Said::run(&yaml_of, &[], &[("ERP_KEY".to_owned(), KEY.to_owned())])
        })
        .await
        .unwrap();
        let section = doctor.of("flow f");
        let cause = call["cause"].as_str().unwrap_or_default();
        let checks = [
            (
                status == 502 && code == "flow_unreachable" && fault == "flow",
                "caller",
            ),
            (call["reason"] == word, "reason"),
            (call["meaning"] == entry.meaning, "meaning"),
            (call["cure"] == entry.fix, "cure"),
            (call["run"] == "not_started", "run"),
            (cause.contains(row.cause), "cause"),
            (doctor.code == 1, "doctor's exit code"),
            (section.contains(&format!("({word})")), "doctor: reason"),
            (section.contains(entry.meaning), "doctor: meaning"),
            (section.contains(entry.fix), "doctor: fix"),
            (section.contains(row.cause), "doctor: cause"),
            (section.contains("(host "), "doctor: host"),
        ];
        for (_, what) in checks.iter().filter(|(holds, _)| !holds) {
            wrong.push(format!("{word}: {what}: {call}\n{section}"));
        }
        table.push(format!(
            "| `{word}` | {status} `{code}`, {fault} | {} | {} |",
            cause.replace('|', "\\|"),
            entry.fix
        ));
        for mended in &row.mended {
            let house = House::around(House::simulator().await, &yaml(mended), &[]).await;
            let answer = ask(&house).await;
            if answer.0 != 200 {
                wrong.push(format!("{word}: the fix: {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    super::write_table("flows", &table);
}
