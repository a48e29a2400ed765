//! The `hogsend` command.

use std::process::ExitCode;

/// Plugins keep allocators of their own; nothing allocated on one side is freed on the other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hogsend::cli::main()
}
