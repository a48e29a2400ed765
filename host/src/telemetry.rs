//! Logging: text lines in development, JSON in production.

use tracing_subscriber::EnvFilter;

use crate::config::LogLevel;

/// Sets up logging for the process. A second call changes nothing.
pub fn init(level: LogLevel, production: bool) {
    let filter = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,hogsend=info,hogsend::http::access=off",
        LogLevel::Http => "warn,hogsend=info",
        LogLevel::Debug => "info,hogsend=debug",
    };
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter));
    // Standard error, since commands print their results to standard output.
    let logs = logs.with_writer(std::io::stderr);
    let set = if production {
        logs.json().flatten_event(true).try_init()
    } else {
        use std::io::IsTerminal as _;
        logs.with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
    // Already set up: tests run several servers in one process.
    let _ = set;
}
