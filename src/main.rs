//! Arguments in, exit code out.

use std::process::ExitCode;

/// Fewer page faults and less fragmentation than the system's under many small, short-lived buffers (design decision 1).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flowgate::cli::run()
}
