//! The tables of codes, reasons, metrics and log fields.
//!
//! In: the lists of the code. Out: each as a Markdown table, with the name by which its page asks for it.

use flowgate::diagnosis::{self, entra, service};
use flowgate::gateway::ACCESS_LOG_FIELDS;
use flowgate::metrics::Metrics;
use flowgate::refusal::{self, Code};
use flowgate::{identity, server};

/// A Markdown table.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head_row = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    let rows = rows.into_iter().map(|row| {
        assert_eq!(row.len(), head.len(), "{row:?}");
        assert!(
            !row.iter().any(|cell| cell.contains(['|', '\n'])),
            "{row:?}"
        );
        format!("| {} |\n", row.join(" | ")).replace(" |  |", " | |")
    });
    std::iter::once(head_row).chain(rows).collect()
}

/// As code.
pub fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Every table, by name.
pub fn all() -> Vec<(String, String)> {
    let tables = [
        ("codes", codes()),
        ("service codes", service_codes()),
        ("AADSTS numbers", numbers()),
        ("suberrors", suberrors()),
        ("metrics", metrics()),
        ("connection errors", connection_errors()),
        ("identity failures", identity_failures()),
        ("reasons", reasons(diagnosis::Reason::TOKENS)),
        ("vault reasons", reasons(diagnosis::Reason::VAULTS)),
        ("access log", access_log()),
    ];
    tables.map(|(name, table)| (name.to_owned(), table)).into()
}

fn codes() -> String {
    let rows = Code::ALL.iter().map(|code| {
        let entry = code.entry();
        vec![
            entry.status.as_u16().to_string(),
            self::code(entry.name),
            entry.fault.as_str().to_owned(),
            entry.run.as_str().to_owned(),
            format!("{} {}", entry.detail, entry.fix),
            entry.operator.to_owned(),
        ]
    });
    let caller = "meaning, and what the caller can change";
    let operator = "what the operator can change";
    table(&["status", "code", "fault", "run", caller, operator], rows)
}

fn service_codes() -> String {
    let rows = service::catalogue().iter().map(|finding| {
        let words = Some(finding.message).filter(|words| !words.is_empty());
        vec![
            code(finding.code),
            words
                .map(|words| format!("\"{words}\""))
                .unwrap_or_default(),
            code(refusal::of_service(finding.verdict).entry().name),
            finding.fix.to_owned(),
        ]
    });
    let head = ["the service's code", "with the words", "becomes", "fix"];
    table(&head, rows)
}

fn numbers() -> String {
    let rows = entra::entries().map(|known| {
        let codes: Vec<String> = known.codes.iter().map(u32::to_string).collect();
        let mark = if known.observed { "**" } else { "" };
        let more = known.suberror.map(|word| format!(", `{word}`"));
        vec![
            codes.join(", "),
            format!("{mark}`{}`{mark}{}", known.error, more.unwrap_or_default()),
            known.meaning.to_owned(),
            code(known.fault.as_str()),
            known.fix.to_owned(),
        ]
    });
    table(&["AADSTS", "`error`", "meaning", "fault", "fix"], rows)
}

fn suberrors() -> String {
    let rows = entra::suberror::ALL.iter().map(|known| {
        vec![
            code(known.word),
            known.meaning.to_owned(),
            known.fix.to_owned(),
        ]
    });
    table(&["`suberror`", "meaning", "fix"], rows)
}

fn metrics() -> String {
    let metrics = Metrics::new().unwrap();
    let rows = metrics.described().iter().map(|family| {
        let labels: Vec<String> = family.variable_labels.iter().map(|one| code(one)).collect();
        vec![
            code(&family.fq_name),
            labels.join(", "),
            family.help.clone(),
        ]
    });
    table(&["metric", "labels", "meaning"], rows)
}

fn connection_errors() -> String {
    let rows = server::Reason::ALL
        .iter()
        .map(|reason| vec![code(reason.word()), reason.meaning().to_owned()]);
    table(&["reason", "meaning"], rows)
}

fn identity_failures() -> String {
    let rows = identity::Reason::ALL.iter().map(|reason| {
        vec![
            code(reason.word()),
            reason.meaning().to_owned(),
            reason.fix().to_owned(),
        ]
    });
    table(&["reason", "meaning", "fix"], rows)
}

fn reasons(reasons: &[diagnosis::Reason]) -> String {
    let rows = reasons.iter().map(|reason| {
        let entry = reason.entry();
        vec![
            code(entry.word),
            code(entry.fault.as_str()),
            entry.meaning.to_owned(),
            entry.fix.to_owned(),
        ]
    });
    table(&["reason", "fault", "meaning", "fix"], rows)
}

fn access_log() -> String {
    let rows = ACCESS_LOG_FIELDS
        .iter()
        .map(|(field, meaning)| vec![code(field), meaning.trim().to_owned()]);
    table(&["field", "meaning"], rows)
}
