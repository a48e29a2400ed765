//! Signed links by which a recipient changes what they get, without signing in.
//!
//! A link names our own ids, never an address: `base64url(payload) "." base64url(mac)`, at most
//! [`TOKEN_MAX`] bytes, where the MAC is HMAC-SHA256 (RFC 2104) over the payload. Links of older
//! versions, whose payload is JSON with the names of the contact, still work.

mod payload;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::db::Contact;
use crate::ids::ContactId;
use crate::mailbox::{Addresses, SHORT};
use payload::Payload;

pub use payload::Category;

/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 200;
/// Lifetime of a link that subscribes or shows preferences. Links that unsubscribe never expire.
const LIFETIME: TimeDelta = TimeDelta::days(60);

type Key = Hmac<Sha256>;

/// What a link may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Unsubscribe,
    Resubscribe,
    Manage,
}

/// The recipient a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Identified by our own ids.
    Ids(Ids),
    /// Identified by names, in a link of an older version.
    Names {
        external_id: Option<String>,
        email: Option<String>,
    },
}

/// A contact, and the mailbox the mail went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    pub contact: Option<ContactId>,
    /// The keyed hash of the address.
    pub mailbox: Option<[u8; SHORT]>,
    /// The mailbox was the contact's own, not that of another recipient of their journey.
    pub own: bool,
}

impl Ids {
    /// The ids for a mail of `contact` that is sent to `to`.
    pub fn of(addresses: &Addresses, contact: &Contact, to: &str) -> Self {
        let mailbox = addresses.mailbox(to);
        let own = contact.email.as_deref();
        let own = own.is_some_and(|email| addresses.mailbox(email) == mailbox);
        Self {
            contact: Some(contact.id),
            mailbox: Some(mailbox.short()),
            own,
        }
    }
}

/// The signed content of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub whom: Whom,
    pub action: Action,
    /// The category one click leaves; None means all mail.
    pub category: Option<Category>,
}

/// Why a link does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the link is not complete or was not made here")]
    Invalid,
    #[error("the link has expired")]
    Expired,
}

/// Makes and checks links.
pub struct LinkSigner {
    /// The key of the current secret, then those of previous ones.
    keys: Vec<Keys>,
    base_url: String,
}

struct Keys {
    /// Identifies the key in a link.
    id: [u8; 4],
    links: Key,
    /// Links of older versions are signed with the secret itself.
    plain: Key,
}

impl Keys {
    fn of(secret: &SecretString) -> Self {
        let plain = Key::new_from_slice(secret.expose_secret().as_bytes()).expect("any length");
        let derive = |what: &str| plain.clone().chain_update(what).finalize().into_bytes();
        let id = derive("link key id\0");
        Self {
            id: std::array::from_fn(|at| id[at]),
            links: Key::new_from_slice(&derive("link key\0")).expect("any length"),
            plain,
        }
    }
}

impl LinkSigner {
    /// Links begin with `public_url`, its host in ASCII (RFC 3492), because mail headers are ASCII.
    pub fn new(secret: &SecretString, previous: &[SecretString], public_url: &str) -> Self {
        let secrets = std::iter::once(secret).chain(previous);
        let base_url = match reqwest::Url::parse(public_url) {
            Ok(url) => url.as_str().trim_end_matches('/').to_owned(),
            Err(_) => public_url.trim_end_matches('/').to_owned(),
        };
        Self {
            keys: secrets.map(Keys::of).collect(),
            base_url,
        }
    }

    /// The URL that unsubscribes from `category`. It accepts a bare `POST`, as RFC 8058 §3.1
    /// requires.
    pub fn url(&self, ids: Ids, category: &str) -> String {
        let token = Token {
            whom: Whom::Ids(ids),
            action: Action::Unsubscribe,
            category: Some(Category::new(category)),
        };
        let token = self.sign(&token, DateTime::UNIX_EPOCH);
        format!("{}/v1/email/unsubscribe?token={token}", self.base_url)
    }

    /// The URL of the preference centre.
    pub fn preferences_url(&self, ids: Ids, now: DateTime<Utc>) -> String {
        let token = Token {
            whom: Whom::Ids(ids),
            action: Action::Manage,
            category: None,
        };
        let token = self.sign(&token, now);
        format!("{}/v1/email/preferences?token={token}", self.base_url)
    }

    /// Signs a token whose lifetime starts now. Names are not encoded: a token for [`Whom::Names`]
    /// is for nobody.
    pub fn sign(&self, token: &Token, now: DateTime<Utc>) -> String {
        let keys = &self.keys[0];
        let expires = match token.action {
            Action::Unsubscribe => None,
            Action::Resubscribe | Action::Manage => Some(now + LIFETIME),
        };
        let payload = Payload {
            key_id: keys.id,
            token,
            expires,
        };
        let payload = payload.bytes();
        let mac = keys.links.clone().chain_update(&payload).finalize();
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&payload),
            URL_SAFE_NO_PAD.encode(mac.into_bytes())
        )
    }

    /// Reads a token that this host signed. Compares the signature in constant time.
    pub fn verify(&self, text: &str, now: DateTime<Utc>) -> Result<Token, TokenError> {
        let (token, expires) = self.read(text)?;
        // Unsubscribing works however old the mail is.
        let lives = token.action == Action::Unsubscribe || expires.is_none_or(|at| at > now);
        if lives {
            Ok(token)
        } else {
            Err(TokenError::Expired)
        }
    }

    /// A new token for the same content with a full lifetime, even if the old one has expired. None
    /// where this host did not sign the old one.
    pub fn renewed(
        &self,
        text: &str,
        (contact, addresses): (&Contact, &Addresses),
        now: DateTime<Utc>,
    ) -> Option<String> {
        let (mut token, _) = self.read(text).ok()?;
        if let Whom::Names { email, .. } = &token.whom {
            let to = email.as_deref().or(contact.email.as_deref())?;
            token.whom = Whom::Ids(Ids::of(addresses, contact, to));
        }
        Some(self.sign(&token, now))
    }

    /// Reads a token and its expiry, without checking the expiry.
    fn read(&self, text: &str) -> Result<(Token, Option<DateTime<Utc>>), TokenError> {
        let (body, mac) = text.split_once('.').ok_or(TokenError::Invalid)?;
        let decode = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenError::Invalid)
        };
        let (payload, mac) = (decode(body)?, decode(mac)?);
        let is =
            |key: &Key, signed: &[u8]| key.clone().chain_update(signed).verify_slice(&mac).is_ok();
        if payload.first() == Some(&b'{') {
            // Older versions signed the encoded payload.
            let ours = self
                .keys
                .iter()
                .any(|keys| is(&keys.plain, body.as_bytes()) || is(&keys.plain, &payload));
            return match ours {
                true => payload::read_earlier(&payload).ok_or(TokenError::Invalid),
                false => Err(TokenError::Invalid),
            };
        }
        let id = payload::key_id(&payload).ok_or(TokenError::Invalid)?;
        let mut keys = self.keys.iter().filter(|keys| keys.id == id);
        if !keys.any(|keys| is(&keys.links, &payload)) {
            return Err(TokenError::Invalid);
        }
        payload::read(&payload).ok_or(TokenError::Invalid)
    }
}

#[cfg(test)]
mod tests;
