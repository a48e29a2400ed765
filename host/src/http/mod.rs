//! The HTTP entry point: requests become calls to the modules, and their results answers.
//!
//! `serve` takes connections and bodies within bounds, `wire` reads requests and shapes answers, `auth`
//! says who calls. Endpoints lie in folders by who calls them, and `router` composes them.

mod admin;
pub mod auth;
mod development;
mod health;
mod hooks;
mod product;
mod recipients;
mod router;
mod serve;
mod sessions;
mod wire;

pub use development::sample;
pub use router::{document, router};
pub use serve::{DRAIN, bind, open_file_limit, serve, serve_health};
pub use wire::error::ApiError;
pub use wire::openapi;
