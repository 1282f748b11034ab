//! What the comparison needs and no tool at hand offers: caller tokens by the hundred thousand, and requests at a fixed rate.
//!
//! In: `tokens ALGORITHM KEY ISSUER COUNT` or `paced URL CA TOKENS CONNECTIONS RATE SECONDS`; `benches/compare/run` calls both.
//! Out: tokens, one per line, or one JSON line of latencies, on standard output.
//! Imports nothing of the gateway, so that it cannot make its own measurement look better.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measuring tool: what goes wrong ends the measurement, at the place where it went wrong"
)]

mod paced;
mod tokens;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["tokens", algorithm, key, issuer, count] => {
            tokens::write(
                algorithm,
                key,
                issuer,
                count.parse().expect("COUNT is a number"),
            );
        }
        ["paced", url, ca, tokens, connections, rate, seconds] => {
            let connections = connections.parse().expect("CONNECTIONS is a number");
            let rate = rate.parse().expect("RATE is a number");
            let seconds = seconds.parse().expect("SECONDS is a number");
            println!(
                "{}",
                paced::run(url, ca, tokens, connections, rate, seconds)
            );
        }
        // Also what `cargo bench` ends up with.
        _ => eprintln!("this is a part of benches/compare/run: start that instead"),
    }
}
