//! The API token, a JWT that the engine signs. It is only decoded here: the engine verifies it, and refuses
//! it when its own `SERVER_URL` or keys change.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tonic::metadata::{Ascii, MetadataValue};

use crate::problem::Problem;
use crate::settings::names;

/// A decoded token. Its text is a secret: `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct Token {
    secret: SecretString,
    /// Where the engine says it can be reached, `host:port`.
    pub address: Option<String>,
    /// The tenant that the token is for.
    pub tenant: String,
    pub expires: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    grpc_broadcast_address: Option<String>,
    #[serde(default)]
    exp: Option<u64>,
}

const FIX: &str = "set it to the whole output of 'hatchet-admin token create'";

impl Token {
    /// Decodes a token.
    ///
    /// # Errors
    /// One line where it is not a JWT of Hatchet's, or expired before `now`.
    pub fn decode(text: &str, now: SystemTime) -> Result<Self, Problem> {
        let problem = |text: String| Problem::new(names::TOKEN, text);
        let parts: Vec<&str> = text.split('.').collect();
        let [_, payload, _] = parts[..] else {
            let count = parts.len();
            return Err(problem(format!(
                "is not a token: it has {count} parts between dots instead of 3; {FIX}"
            )));
        };
        let payload = URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .map_err(|_| {
                problem(format!(
                    "is not a token: its middle part is not base64url; {FIX}"
                ))
            })?;
        // The error of serde_json could quote the payload.
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| {
            problem(format!(
                "is not a token of Hatchet: its claims lack the tenant; {FIX}"
            ))
        })?;
        let expires = claims
            .exp
            .and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        if expires.is_some_and(|at| at <= now) {
            return Err(problem(
                "has expired: create a new one with 'hatchet-admin token create' and restart"
                    .into(),
            ));
        }
        Ok(Self {
            secret: text.to_owned().into(),
            address: claims.grpc_broadcast_address.filter(|it| !it.is_empty()),
            tenant: claims.sub,
            expires,
        })
    }

    /// The value of the header `authorization`, marked as sensitive.
    pub(crate) fn header(&self) -> Result<MetadataValue<Ascii>, Problem> {
        let text = format!("Bearer {}", self.secret.expose_secret());
        let mut value = MetadataValue::try_from(text).map_err(|_| {
            Problem::new(names::TOKEN, format!("has characters no token has; {FIX}"))
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}
