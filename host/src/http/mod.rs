//! The API's door: requests become calls to the rooms, and their answers responses.

mod auth;
mod body;
mod error;
mod events;
mod feedback;
mod health;
mod outbox;
mod page;
mod router;
mod serve;
mod tracking;
mod unsubscribe;
mod webhooks;

pub use error::ApiError;
pub use router::router;
pub use serve::{bind, serve};
