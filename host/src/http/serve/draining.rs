//! The stop of the server, as handlers see it.

use tokio_util::sync::CancellationToken;

/// Whether the server was asked to stop, for handlers.
#[derive(Clone)]
pub struct Draining(pub CancellationToken);
