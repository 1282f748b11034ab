//! Programs that tests need besides Rust: named where they are missing.
//!
//! In: a program's name. Out: a command that starts it. A test that cannot do without says which program to install; one that is worth
//! nothing without is skipped and says so on standard error, which the test runner does not swallow. With `CI` set nothing is skipped.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs a command; a program that is not there is named.
pub fn output(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .unwrap_or_else(|error| panic!("this test needs the program `{name}`: {error}"))
}

/// Whether these programs are here. If not, the test that asks is skipped, and says so.
pub fn here(names: &[&str]) -> bool {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !starts(name)).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(" and ");
    assert!(
        std::env::var_os("CI").is_none(),
        "this test needs {missing}, and with CI set nothing is skipped"
    );
    let test = std::thread::current();
    // Not by eprintln!: what a passing test prints so is never shown.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {} needs {missing}",
        test.name().unwrap_or("a test")
    );
    false
}

fn starts(name: &str) -> bool {
    let status = Command::new(name)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // Some know no such option; they are there all the same.
    status.is_ok()
}

#[test]
fn a_missing_program_is_named() {
    let missing = std::panic::catch_unwind(|| output(&mut Command::new("no-such-program")));
    let said = missing.unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(said.contains("`no-such-program`"), "{said}");
    assert!(!starts("no-such-program") && starts("sh"));
}
