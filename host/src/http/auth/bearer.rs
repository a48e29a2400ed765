//! Keys in `Authorization: Bearer …`.

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::gate::Known;
use super::{Actor, Scope};
use crate::app::App;
use crate::http::ApiError;

/// Who the request's key belongs to; `None` where it brings no key.
pub async fn by_key(app: &App, headers: &HeaderMap) -> Result<Option<Known>, ApiError> {
    let Some(given) = token(headers) else {
        return Ok(None);
    };
    if let Some(known) = by_environment(app, headers) {
        return Ok(Some(known));
    }
    let key = app
        .keys
        .find(&app.db, given)
        .await?
        .ok_or_else(ApiError::unauthorized)?;
    let now = app.clock.now();
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "API key expired"));
    }
    app.keys.note_use(&app.db, &key, now).await;
    Ok(Some(Known {
        scopes: key
            .scopes
            .iter()
            .filter_map(|name| Scope::parse(name))
            .collect(),
        actor: Actor::Key {
            id: key.id,
            name: key.name.clone(),
        },
    }))
}

/// Who brings the key of the settings.
pub fn by_environment(app: &App, headers: &HeaderMap) -> Option<Known> {
    let expected = app.config.admin_api_key.as_ref()?;
    same(token(headers)?, expected).then(|| Known {
        actor: Actor::Environment,
        scopes: vec![Scope::FullAdmin],
    })
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1; the scheme is case-insensitive).
fn token(headers: &HeaderMap) -> Option<&str> {
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
