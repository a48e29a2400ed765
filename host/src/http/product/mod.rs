//! What the product's own code calls, with a key.

pub mod contacts;
pub mod emails;
pub mod events;
pub mod lists;

use super::wire::openapi::Routes;

/// The routes about people and their lists.
pub fn people() -> Routes {
    Routes::new()
        .merge(contacts::routes())
        .merge(lists::routes())
}
