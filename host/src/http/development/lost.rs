//! The 404 page that browsers get in development.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::layout::{Here, page};
use crate::http::ApiError;

/// Answers programs with the usual error, and browsers with a page that links to the existing ones.
pub async fn show_lost(headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT);
    let browses = accepted.is_some_and(|accept| {
        let accept = accept.to_str().unwrap_or_default();
        accept.contains("text/html")
    });
    if !browses {
        return ApiError::not_found("Not found").into_response();
    }
    let body = "<h1>There is no such page</h1><p>The <a href=\"/\">start page</a> shows what to do next, the \
                <a href=\"/outbox\">outbox</a> shows the mails, and the <a href=\"/docs\">API</a> lists every \
                endpoint.</p>";
    page(StatusCode::NOT_FOUND, Here::Nowhere, "Not found", body)
}
