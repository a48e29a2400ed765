//! Incoming webhooks of event sources and delivery providers, verified by the plugin's secret.

pub mod feedback;
mod hook;
pub mod sources;

use super::wire::openapi::Routes;

/// The routes for both kinds of vendors.
pub fn routes() -> Routes {
    Routes::new()
        .merge(sources::routes())
        .merge(feedback::routes())
}
