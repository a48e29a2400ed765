//! The `hogsend` command.

hogsend::main!();
