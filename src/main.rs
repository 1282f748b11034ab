//! Arguments in, exit code out.

use std::process::ExitCode;

/// Fewer page faults and less fragmentation than the system's under many small, short-lived buffers (design decision 1). Without huge pages
/// (`no_thp`): two megabytes at a time, a gateway that idles or waits would hold twice what it uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flowgate::cli::run()
}
