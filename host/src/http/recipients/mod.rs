//! Endpoints for recipients of mail: signed pages and tracked links.

pub mod preferences;
pub mod tracking;
pub mod unsubscribe;

use super::wire::openapi::Routes;

/// The pages behind a signed link.
pub fn routes() -> Routes {
    Routes::new()
        .merge(unsubscribe::routes())
        .merge(preferences::routes())
}
