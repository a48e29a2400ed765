//! The bytes of a link's payload, and the JSON of older versions.
//!
//! Layout: one byte version, four bytes key id, one byte action, one byte flags, four bytes expiry
//! in seconds since 1970 (zero for none), then the ids whose flags are set, sixteen bytes each,
//! then the category.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Action, Ids, Token, Whom};
use crate::ids::ContactId;
use crate::mailbox::SHORT;

const VERSION: u8 = 1;
const HAS_CONTACT: u8 = 1;
const HAS_MAILBOX: u8 = 2;
const OWN: u8 = 4;
const HAS_CATEGORY: u8 = 8;
const HASHED_CATEGORY: u8 = 16;
/// Bytes left for a category in the longest token.
const CATEGORY_MAX: usize = 74;

/// A category as encoded in a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Category {
    Named(String),
    /// The first 16 bytes of the SHA-256 of a name that is too long for a link.
    Hashed([u8; 16]),
}

impl Category {
    pub fn new(name: &str) -> Self {
        match name.len() {
            0..=CATEGORY_MAX => Self::Named(name.to_owned()),
            _ => Self::Hashed(hash(name)),
        }
    }

    /// Whether this is the category with that name.
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Named(own) => own == name,
            Self::Hashed(own) => *own == hash(name),
        }
    }
}

fn hash(name: &str) -> [u8; 16] {
    let hash = Sha256::digest(name);
    std::array::from_fn(|at| hash[at])
}

pub(super) struct Payload<'a> {
    pub key_id: [u8; 4],
    pub token: &'a Token,
    pub expires: Option<DateTime<Utc>>,
}

impl Payload<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let ids = match &self.token.whom {
            Whom::Ids(ids) => *ids,
            Whom::Names { .. } => Ids {
                contact: None,
                mailbox: None,
                own: false,
            },
        };
        let mut flags = 0;
        flags |= ids.contact.map_or(0, |_| HAS_CONTACT);
        flags |= ids.mailbox.map_or(0, |_| HAS_MAILBOX);
        flags |= if ids.own { OWN } else { 0 };
        flags |= match &self.token.category {
            None => 0,
            Some(Category::Named(_)) => HAS_CATEGORY,
            Some(Category::Hashed(_)) => HAS_CATEGORY | HASHED_CATEGORY,
        };
        let action = match self.token.action {
            Action::Unsubscribe => 0,
            Action::Resubscribe => 1,
            Action::Manage => 2,
        };
        let expires = self.expires.map_or(0, |at| at.timestamp());
        let expires = u32::try_from(expires).unwrap_or(u32::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend(self.key_id);
        bytes.extend([action, flags]);
        bytes.extend(expires.to_be_bytes());
        bytes.extend(ids.contact.iter().flat_map(|id| id.0.into_bytes()));
        bytes.extend(ids.mailbox.iter().flatten());
        match &self.token.category {
            None => {}
            Some(Category::Named(name)) => bytes.extend(name.bytes()),
            Some(Category::Hashed(hash)) => bytes.extend(hash),
        }
        bytes
    }
}

/// The id of the key a payload claims to be signed with.
pub(super) fn key_id(bytes: &[u8]) -> Option<[u8; 4]> {
    match bytes {
        [VERSION, a, b, c, d, ..] => Some([*a, *b, *c, *d]),
        _ => None,
    }
}

/// Reads a payload and its expiry.
pub(super) fn read(bytes: &[u8]) -> Option<(Token, Option<DateTime<Utc>>)> {
    let mut rest = bytes.get(5..)?;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(taken)
    };
    let [action, flags] = take(2)?.try_into().ok()?;
    let action = match action {
        0 => Action::Unsubscribe,
        1 => Action::Resubscribe,
        2 => Action::Manage,
        _ => return None,
    };
    let expires = u32::from_be_bytes(take(4)?.try_into().ok()?);
    let expires = match expires {
        0 => None,
        seconds => DateTime::from_timestamp(seconds.into(), 0),
    };
    let contact = match flags & HAS_CONTACT {
        0 => None,
        _ => Some(ContactId(uuid::Uuid::from_slice(take(16)?).ok()?)),
    };
    let mailbox: Option<[u8; SHORT]> = match flags & HAS_MAILBOX {
        0 => None,
        _ => Some(take(SHORT)?.try_into().ok()?),
    };
    let category = match flags & (HAS_CATEGORY | HASHED_CATEGORY) {
        0 => None,
        HAS_CATEGORY => Some(Category::Named(String::from_utf8(rest.to_vec()).ok()?)),
        _ => Some(Category::Hashed(rest.try_into().ok()?)),
    };
    let token = Token {
        whom: Whom::Ids(Ids {
            contact,
            mailbox,
            own: flags & OWN != 0,
        }),
        action,
        category,
    };
    Some((token, expires))
}

/// Reads a payload of an older version.
pub(super) fn read_earlier(bytes: &[u8]) -> Option<(Token, Option<DateTime<Utc>>)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Earlier {
        external_id: Option<String>,
        email: Option<String>,
        action: Action,
        /// Seconds since 1970.
        exp: i64,
        category: Option<String>,
    }
    let earlier: Earlier = serde_json::from_slice(bytes).ok()?;
    let token = Token {
        whom: Whom::Names {
            external_id: earlier.external_id,
            email: earlier.email,
        },
        action: earlier.action,
        category: earlier.category.map(Category::Named),
    };
    Some((token, DateTime::from_timestamp(earlier.exp, 0)))
}
