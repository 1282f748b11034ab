//! `flowgate hash-key`: the configuration line of an API key.
//!
//! In: a key on standard input, or nothing when one shall be made. Out, on standard output: the `sha256:` line and, for a new key, the key
//! itself, this once. Refuses keys that can be guessed: under 128 bits, counted by the kinds of characters they use. No key is taken
//! by argument, where every process of the machine could read it.

use std::io::{self, IsTerminal as _, Read, Write};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::BAD_CONFIGURATION;
use crate::clock::Random;
use crate::identity::api_key;

/// Longest key read, in bytes.
const LIMIT: u64 = 4 << 10;
/// Least strength of a key, in bits.
const BITS: f64 = 128.0;

/// Arguments of `hash-key`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate hash-key --generate
  flowgate hash-key < key.txt
Then in the configuration: callers: { erp: { api_key: { sha256: … } } }")]
pub struct Args {
    /// Make a strong key instead of reading one; also done when standard input is a terminal.
    #[arg(long)]
    generate: bool,
    /// Hash a password for a `basic` caller (not built yet in this version).
    #[arg(long, conflicts_with = "generate")]
    password: bool,
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("--password: basic callers are not built yet in this version")]
    Password,
    #[error("standard input cannot be read as text")]
    Unreadable,
    #[error("standard input is empty; give the key on it, or use --generate")]
    Empty,
    #[error("the key is over 4 KiB")]
    TooLong,
    #[error("a key travels in a header: visible ASCII characters only, no spaces, no commas")]
    NotAHeader,
    #[error(
        "the key can be guessed: it has less than 128 bits even if it is random; --generate makes a strong one"
    )]
    Weak,
}

/// Reads or makes a key and prints its line.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let stdin = io::stdin();
    let make = args.generate || (stdin.is_terminal() && !args.password);
    let line = if args.password {
        Err(Refused::Password)
    } else if make {
        Ok(made(&Random::system()))
    } else {
        read(&mut stdin.lock())
    };
    match line {
        Ok(line) => {
            let written = io::stdout().lock().write_all(line.as_bytes());
            if written.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(refused) => {
            super::complain(&refused);
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// A new key of 256 bits with its line.
fn made(random: &Random) -> String {
    let key = URL_SAFE_NO_PAD.encode(random.bytes::<32>());
    format!(
        "# the key, for the caller; it is shown this once and kept nowhere:\n# {key}\n{}",
        line(&key)
    )
}

/// The line of a given key.
fn read(input: &mut dyn Read) -> Result<String, Refused> {
    let mut key = String::new();
    input
        .take(LIMIT + 1)
        .read_to_string(&mut key)
        .map_err(|_| Refused::Unreadable)?;
    if key.len() as u64 > LIMIT {
        return Err(Refused::TooLong);
    }
    // One newline, as everywhere a secret is read.
    let key = key.strip_suffix('\n').unwrap_or(&key);
    let key = key.strip_suffix('\r').unwrap_or(key);
    if key.is_empty() {
        return Err(Refused::Empty);
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) || !api_key::can_travel(key) {
        return Err(Refused::NotAHeader);
    }
    if strength(key) < BITS {
        return Err(Refused::Weak);
    }
    Ok(line(key))
}

fn line(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    format!("sha256: {}\n", settings::values::hex(digest.as_ref()))
}

/// Bits of a key if its characters are random ones of the kinds it uses: an upper bound.
fn strength(key: &str) -> f64 {
    let uses = |kind: fn(&u8) -> bool| key.as_bytes().iter().any(kind);
    let hex = key
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        || key
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    let kinds = if hex {
        16.0
    } else {
        f64::from(u8::from(uses(u8::is_ascii_digit)) * 10)
            + f64::from(u8::from(uses(u8::is_ascii_lowercase)) * 26)
            + f64::from(u8::from(uses(u8::is_ascii_uppercase)) * 26)
            + f64::from(u8::from(uses(u8::is_ascii_punctuation)) * 12)
    };
    let mut different = key.as_bytes().to_vec();
    different.sort_unstable();
    different.dedup();
    // A few characters over and over are no random choice among all of their kind.
    let alphabet = if different.len() < 8 {
        f64::from(u8::try_from(different.len()).unwrap_or(u8::MAX))
    } else {
        kinds
    };
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    f64::from(length) * alphabet.log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(key: &str) -> Result<String, Refused> {
        read(&mut key.as_bytes())
    }

    #[test]
    fn the_line_is_the_sha256_of_the_key_without_its_newline() {
        let key = "correct-horse-battery-staple-2026";
        let line = hashed(key).unwrap();
        assert_eq!(
            line,
            "sha256: 2728b18ec032dcfcd3e59bf36311ebf83a287a41f411bb851e8f2447a3566020\n"
        );
        for ended in ["\n", "\r\n"] {
            assert_eq!(hashed(&format!("{key}{ended}")).unwrap(), line);
        }
        assert_ne!(hashed(&format!("{key}x")).unwrap(), line);
    }

    #[test]
    fn keys_that_can_be_guessed_or_cannot_travel_are_refused() {
        for (key, refused) in [
            ("", Refused::Empty),
            ("\n", Refused::Empty),
            ("secret", Refused::Weak),
            ("0123456789abcdef", Refused::Weak),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Refused::Weak),
            ("with a space 0123456789ABCDEFabcdef", Refused::NotAHeader),
            ("with,comma-0123456789ABCDEFabcdef", Refused::NotAHeader),
            ("ümlaut-0123456789ABCDEFabcdef", Refused::NotAHeader),
        ] {
            assert_eq!(hashed(key), Err(refused), "{key}");
        }
        assert_eq!(hashed(&"x1".repeat(3000)), Err(Refused::TooLong));
        assert!(hashed("0123456789abcdef0123456789abcdef").is_ok());
        assert!(hashed("q3Zk0vW8rT5yB1nM6xC9dF").is_ok());
    }

    #[test]
    fn a_made_key_is_strong_and_its_line_is_its_own() {
        let text = made(&Random::system());
        let lines: Vec<&str> = text.lines().collect();
        let key = lines[1].strip_prefix("# ").unwrap();
        assert_eq!(key.len(), 43);
        assert_eq!(hashed(key).unwrap().trim_end(), lines[2]);
        assert_ne!(made(&Random::system()), text);
    }
}
