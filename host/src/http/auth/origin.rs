//! Protection against cross-site requests that use a session (CSRF).

use axum::http::header::{HOST, HeaderName, ORIGIN, REFERER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use crate::app::App;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request only reads, comes from a program, or comes from a page of a trusted origin.
///
/// Browsers send `Origin` with every request whose method is not GET or HEAD. Other programs send
/// none, and a foreign page cannot make them call.
pub fn origin_is_trusted(app: &App, parts: &Parts) -> bool {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method) {
        return true;
    }
    let headers = &parts.headers;
    let Some(origin) = text(headers, &ORIGIN)
        .map(str::to_owned)
        .or_else(|| referer(headers))
    else {
        let site = text(headers, &SEC_FETCH_SITE);
        return site.is_none_or(|site| site == "same-origin" || site == "none");
    };
    is_trusted(app, &origin) || (!app.config.production && is_own(headers, &origin))
}

/// Whether this origin is trusted, or is the host the request was sent to.
pub fn origin_is_known(app: &App, headers: &HeaderMap, origin: &str) -> bool {
    is_trusted(app, origin) || is_own(headers, origin)
}

/// Whether pages of this origin are trusted.
pub fn is_trusted(app: &App, origin: &str) -> bool {
    let trusted = &app.config.access.trusted_origins;
    trusted
        .iter()
        .any(|known| known.eq_ignore_ascii_case(origin))
}

/// Whether this origin is the host the request was sent to. In development the address in use may
/// differ from the configured ones.
fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(headers, &HOST)
}

fn referer(headers: &HeaderMap) -> Option<String> {
    let url = reqwest::Url::parse(text(headers, &REFERER)?).ok()?;
    Some(url.origin().ascii_serialization())
}

/// A header value that is not readable text counts as the opaque origin `null`.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().unwrap_or("null"))
}
