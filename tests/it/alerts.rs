//! The alert rules that come with the gateway: Prometheus itself fires and resolves each one, every row of the 3 a.m. page has a test, and
//! what they watch is there before it happens.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::House;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn every_alert_fires_and_resolves() {
    let ran = Command::new("promtool")
        .args(["test", "rules", "rules.test.yaml"])
        .current_dir(file("deploy/prometheus"))
        .output();
    let Ok(ran) = ran else {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool is missing: Debian's package `prometheus` has it"
        );
        eprintln!("skipped: promtool is missing (Debian's package `prometheus` has it)");
        return;
    };
    let said = String::from_utf8_lossy(&ran.stderr) + String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
}

/// What follows a key in the lines of a YAML file, quotes removed.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| {
        let (_, value) = line.split_once(key)?;
        Some(value.trim().trim_matches('"'))
    })
}

#[test]
fn every_row_of_the_3_am_page_and_every_alert_has_a_test() {
    let page = read("docs/operations.md");
    let (_, page) = page.split_once("| symptom |").unwrap();
    let (table, _) = page.split_once("\n\n").unwrap();
    let symptoms: Vec<&str> = table
        .lines()
        .skip(2)
        .map(|row| row.trim_matches('|').split('|').next().unwrap().trim())
        .collect();
    assert!(symptoms.len() > 15, "{symptoms:?}");
    let tests = read("deploy/prometheus/rules.test.yaml");
    let names: Vec<&str> = values(&tests, "- name: ").collect();
    for symptom in symptoms {
        assert!(
            names.contains(&symptom),
            "no alert is tested for {symptom:?}"
        );
    }
    let fired: Vec<&str> = values(&tests, "alertname: ").collect();
    for alert in values(&read("deploy/prometheus/rules.yaml"), "- alert: ") {
        let tested = fired.iter().filter(|name| **name == alert).count();
        assert!(tested >= 2, "{alert} is not seen to fire and to resolve");
    }
}

#[tokio::test]
async fn what_the_alerts_count_is_there_before_it_happens() {
    let house = House::standard().await;
    let text = house.metrics.text().unwrap();
    let series = |name: &str, labels: &[&str]| {
        text.lines().any(|line| {
            line.starts_with(&format!("{name}{{")) && labels.iter().all(|one| line.contains(one))
        })
    };
    for flow in ["order-created", "report", "legacy"] {
        let flow = format!("flow=\"{flow}\"");
        for outcome in [
            "credential_rejected",
            "flow_unreachable",
            "overloaded",
            "flow_timeout",
            "token_renewed",
            "not_allowed",
        ] {
            let outcome = format!("outcome=\"{outcome}\"");
            assert!(
                series("flowgate_requests_total", &[&flow, &outcome]),
                "{flow} {outcome}: {text}"
            );
        }
    }
    for result in ["ok", "rejected"] {
        let result = format!("result=\"{result}\"");
        let labels = ["credential=\"flows\"", &*result];
        assert!(series("flowgate_token_requests_total", &labels), "{text}");
    }
    assert!(series("flowgate_identity_failures_total", &[]), "{text}");
    assert!(series("flowgate_key_set_refreshes_total", &[]), "{text}");
    assert!(text.contains("flowgate_config_last_reload_success 1"));
}
