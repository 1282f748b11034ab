//! Text as an argument, a string or a value of somebody else's language.
//!
//! In: any text without control characters. Out: the same text, quoted so that nothing in it is read as anything but text.

use super::Language;

/// For this shell, or Terraform.
#[must_use]
pub fn for_shell(text: &str, shell: Language) -> String {
    match shell {
        Language::Posix => posix(text),
        Language::PowerShell => powershell(text),
        Language::Terraform => terraform(text),
    }
}

/// For `sh`: in single quotes nothing means anything but the quote itself.
fn posix(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// For PowerShell, which takes typographic single quotes for quotes, too.
fn powershell(text: &str) -> String {
    let mut quoted = String::from("'");
    for letter in text.chars() {
        quoted.push(letter);
        if matches!(
            letter,
            '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}'
        ) {
            quoted.push(letter);
        }
    }
    quoted.push('\'');
    quoted
}

/// For Terraform: a string whose templates are text.
fn terraform(text: &str) -> String {
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace("${", "$${")
        .replace("%{", "%%{");
    format!("\"{escaped}\"")
}

/// For the configuration: a JSON string is YAML; `${` would be a variable there.
#[must_use]
pub fn yaml(text: &str) -> String {
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}
