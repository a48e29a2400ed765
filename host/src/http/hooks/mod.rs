//! What vendors call: event sources and mail providers, with the secret of their plugin.

pub mod feedback;
mod hook;
pub mod sources;

use super::wire::openapi::Routes;

/// The routes of both kinds of vendors.
pub fn routes() -> Routes {
    Routes::new()
        .merge(sources::routes())
        .merge(feedback::routes())
}
