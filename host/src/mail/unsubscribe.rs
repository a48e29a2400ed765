//! Signed links by which a recipient changes what they get, without signing in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::db::Contact;

/// How long links in mails work. CAN-SPAM asks for 30 days, and people keep mails.
const LIFETIME: TimeDelta = TimeDelta::days(365);

/// What a link may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Unsubscribe,
    Resubscribe,
    Manage,
}

/// The signed content of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub action: Action,
    /// Seconds since 1970.
    pub exp: i64,
    /// What one click leaves; everything where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// Why a link does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("This link is not complete. Please open it again from the e-mail.")]
    Invalid,
    #[error("This link has expired. Please use the one in a newer e-mail.")]
    Expired,
}

/// Makes and checks links.
pub struct Unsubscribe {
    key: Hmac<Sha256>,
    base_url: String,
}

impl Unsubscribe {
    pub fn new(secret: &SecretString, public_url: &str) -> Self {
        let key = Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("any length");
        Self {
            key,
            base_url: public_url.trim_end_matches('/').to_owned(),
        }
    }

    /// The address that unsubscribes `contact` from `category`. It answers a bare `POST`, as
    /// RFC 8058 §3.1 asks.
    pub fn url(&self, contact: &Contact, category: &str, now: DateTime<Utc>) -> String {
        let token = token(contact, Action::Unsubscribe, Some(category), now);
        format!(
            "{}/v1/email/unsubscribe?token={}",
            self.base_url,
            self.sign(&token)
        )
    }

    /// The address of `contact`'s preference centre.
    pub fn preferences_url(&self, contact: &Contact, now: DateTime<Utc>) -> String {
        let token = token(contact, Action::Manage, None, now);
        format!(
            "{}/v1/email/preferences?token={}",
            self.base_url,
            self.sign(&token)
        )
    }

    pub fn sign(&self, token: &Token) -> String {
        let body = serde_json::to_vec(token).unwrap_or_default();
        let body = URL_SAFE_NO_PAD.encode(body);
        let signature = self.key.clone().chain_update(&body).finalize().into_bytes();
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Reads a token that this host signed. The signature is compared in constant time.
    pub fn verify(&self, text: &str, now: DateTime<Utc>) -> Result<Token, TokenError> {
        let token = self.read(text)?;
        if token.exp <= now.timestamp() {
            return Err(TokenError::Expired);
        }
        Ok(token)
    }

    /// A token for the same that works as long as any new one, whether or not the old one still
    /// does. None where this host did not sign it.
    pub fn renewed(&self, text: &str, contact: &Contact, now: DateTime<Utc>) -> Option<String> {
        let old = self.read(text).ok()?;
        let new = token(contact, old.action, old.category.as_deref(), now);
        Some(self.sign(&new))
    }

    /// Reads a token without regard to its age.
    fn read(&self, text: &str) -> Result<Token, TokenError> {
        let (body, signature) = text.split_once('.').ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Invalid)?;
        self.key
            .clone()
            .chain_update(body)
            .verify_slice(&signature)
            .map_err(|_| TokenError::Invalid)?;
        let body = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TokenError::Invalid)?;
        serde_json::from_slice(&body).map_err(|_| TokenError::Invalid)
    }
}

fn token(contact: &Contact, action: Action, category: Option<&str>, now: DateTime<Utc>) -> Token {
    Token {
        external_id: contact.external_id.clone(),
        email: contact.email.clone(),
        action,
        exp: (now + LIFETIME).timestamp(),
        category: category.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::{Action, Token, TokenError, Unsubscribe};

    #[test]
    fn only_our_own_untouched_fresh_tokens_are_read() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ours = Unsubscribe::new(&"one secret".into(), "http://localhost");
        let token = Token {
            external_id: Some("u1".into()),
            email: Some("a@b.co".into()),
            action: Action::Unsubscribe,
            exp: now.timestamp() + 60,
            category: Some("journey".into()),
        };
        let text = ours.sign(&token);
        assert_eq!(ours.verify(&text, now), Ok(token));
        assert_eq!(
            ours.verify(&text, now + TimeDelta::minutes(2)),
            Err(TokenError::Expired)
        );
        let theirs = Unsubscribe::new(&"another".into(), "http://localhost");
        assert_eq!(theirs.verify(&text, now), Err(TokenError::Invalid));
        for position in [0, text.len() / 2, text.len() - 1] {
            let mut tampered = text.clone().into_bytes();
            tampered[position] = if tampered[position] == b'A' {
                b'B'
            } else {
                b'A'
            };
            let tampered = String::from_utf8(tampered).unwrap();
            // The last character holds bits that decode to nothing; a decoder refuses those.
            assert_eq!(
                ours.verify(&tampered, now),
                Err(TokenError::Invalid),
                "{position}"
            );
        }
        for text in ["", ".", "a", "a.b", "..", "é.é"] {
            assert_eq!(ours.verify(text, now), Err(TokenError::Invalid));
        }
    }
}
