//! API keys in `Authorization: Bearer …`.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::known::Known;
use super::{Actor, Scope, client_address, counted};
use crate::app::App;
use crate::http::ApiError;

/// Unknown keys per address and 60 s that are answered without delay.
const WRONG_KEYS: u32 = 60;
/// The delay before further ones are answered.
const PAUSE: Duration = Duration::from_secs(1);

/// The caller the request's key belongs to; `None` if it has no key.
pub async fn by_key(app: &App, parts: &Parts) -> Result<Option<Known>, ApiError> {
    let Some(given) = token(&parts.headers) else {
        return Ok(None);
    };
    if let Some(known) = by_environment(app, &parts.headers) {
        return Ok(Some(known));
    }
    let Some(key) = app.keys.find(&app.db, given).await? else {
        return Err(wrong_key(app, parts).await);
    };
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

/// The answer to an unknown key. An address that tries many gets a delayed 429, and only a few such
/// requests wait at a time, which limits guessing. Valid keys from the same address (such as a proxy
/// missing in `TRUSTED_PROXIES`) are not affected.
async fn wrong_key(app: &App, parts: &Parts) -> ApiError {
    let who = counted(client_address(app, parts));
    let quota = app.limits.take("wrong-key", &who, WRONG_KEYS).await;
    let Some(seconds) = quota.refused else {
        return ApiError::unauthorized();
    };
    if let Ok(_place) = app.keys.pauses.try_acquire() {
        tokio::time::sleep(PAUSE).await;
    }
    ApiError::too_many(seconds)
}

/// The caller, if the request has the key in `ADMIN_API_KEY`.
pub fn by_environment(app: &App, headers: &HeaderMap) -> Option<Known> {
    let expected = app.config.admin_api_key.as_ref()?;
    same(token(headers)?, expected).then(|| Known {
        actor: Actor::Environment,
        scopes: vec![Scope::FullAdmin],
    })
}

/// Whether the request has this token.
pub fn bears(headers: &HeaderMap, expected: &SecretString) -> bool {
    token(headers).is_some_and(|given| same(given, expected))
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1; the scheme is case-insensitive).
fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in constant time, independent of both lengths.
fn same(given: &str, expected: &SecretString) -> bool {
    let given = Sha256::digest(given);
    let expected = Sha256::digest(expected.expose_secret());
    given.ct_eq(&expected).into()
}
