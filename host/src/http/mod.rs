//! The API's door: requests become calls to the rooms, and their answers responses.

mod admin;
pub mod auth;
mod body;
mod connection;
mod contacts;
mod development;
mod docs;
mod emails;
mod encoding;
mod error;
mod events;
mod feedback;
mod health;
mod lists;
mod memory;
pub mod openapi;
mod outbox;
mod page;
mod paging;
mod params;
mod patience;
mod people;
mod preferences;
mod router;
mod search;
mod serve;
mod sessions;
mod shed;
mod tracking;
mod unsubscribe;
mod webhooks;
mod words;

pub use development::sample;
pub use error::ApiError;
pub use router::{document, router};
pub use serve::{DRAIN, bind, open_file_limit, serve, serve_health};
