//! Who may do what.

use axum::http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ApiError;
use crate::app::App;

/// Lets a request pass that may bring events in.
///
/// In development, while no key is configured at all, everybody may.
pub fn check_ingest(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    match &app.config.admin_api_key {
        Some(key) if bearer(headers).is_some_and(|given| same(given, key)) => Ok(()),
        None if !app.config.production => Ok(()),
        _ => Err(ApiError::unauthorized()),
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1; the scheme is case-insensitive).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in a time that tells nothing of either, not even the length.
fn same(given: &str, expected: &SecretString) -> bool {
    let given = Sha256::digest(given);
    let expected = Sha256::digest(expected.expose_secret());
    given.ct_eq(&expected).into()
}
