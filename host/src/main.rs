//! The `hogsend` command.

use std::process::ExitCode;

/// Plugins have their own allocators: memory is always freed on the side that allocated it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hogsend::cli::main()
}
