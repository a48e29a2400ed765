//! An engine wakes runs; it does not decide what they do.

mod embedded;

pub use embedded::{Embedded, advance_due};

use tokio_util::sync::CancellationToken;

/// Finds runs that are due and has them advanced.
pub trait Engine {
    /// As `/v1/health` calls it.
    const KIND: &'static str;

    /// Works until `stop`, then finishes what it began.
    fn run(&self, stop: CancellationToken) -> impl Future<Output = ()>;
}
