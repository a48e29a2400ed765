//! Logs: text lines in development, JSON in production.
//!
//! The spans that a line is written in carry its ids: the request, the run, the mail.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogLevel;

/// Which lines are written. Spans are entered at every level: a warning needs its ids too.
pub(super) fn filter(level: LogLevel) -> String {
    let lines = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,hogsend=info,hogsend::http::access=off",
        LogLevel::Http => "warn,hogsend=info",
        LogLevel::Debug => "info,hogsend=debug",
    };
    format!("{lines},{}=info", super::traces::TARGET)
}

/// Writes lines to standard error, since commands print their results to standard output.
pub(super) fn layer<S>(production: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(super::mask::Masked);
    if production {
        lines
            .json()
            .flatten_event(true)
            // The list of all spans has it.
            .with_current_span(false)
            .boxed()
    } else {
        lines
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .boxed()
    }
}
