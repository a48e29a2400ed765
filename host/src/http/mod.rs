//! The HTTP entry point: it turns requests into calls to the modules, and their results into responses.
//!
//! `serve` accepts connections and bodies within limits, `wire` parses requests and builds responses,
//! `auth` identifies callers. The endpoints are in folders by caller, and `router` composes them.

mod admin;
pub mod auth;
mod development;
mod health;
mod hooks;
mod metrics;
mod product;
mod recipients;
mod router;
mod serve;
mod sessions;
mod wire;

pub use development::sample;
pub use router::{document, router};
pub use serve::{DRAIN, bind, open_file_limit, serve, serve_health, serve_metrics};
pub use wire::error::ApiError;
pub use wire::openapi;
