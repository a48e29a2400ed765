//! Endpoints for the product's own code, which calls them with a key.

pub mod contacts;
pub mod emails;
pub mod events;
pub mod lists;

use super::wire::openapi::Routes;

/// The routes about contacts and their lists.
pub fn people() -> Routes {
    Routes::new()
        .merge(contacts::routes())
        .merge(lists::routes())
}
