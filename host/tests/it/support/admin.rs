//! A server with an administrator's key, and calls with it.

use axum::http::Method;
use serde_json::Value;

use super::{Answer, Server, Store};

pub const KEY: &str = "an-admin-key-of-tests";

pub async fn server() -> Server {
    Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await
}

/// Reads below `/v1/admin`.
pub async fn get(server: &Server, path: &str) -> Answer {
    let path = format!("/v1/admin{path}");
    server.call(Method::GET, &path, KEY, None).await
}

/// Asks below `/v1/admin` for a change.
pub async fn call(server: &Server, method: Method, path: &str, body: Value) -> Answer {
    let path = format!("/v1/admin{path}");
    server.call(method, &path, KEY, Some(&body)).await
}
