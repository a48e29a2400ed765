//! Closed vocabularies: the document lists their words, and requests are held against them.
//!
//! Fields stay texts in Rust, since the store keeps texts; `#[schema(value_type = EmailStatus)]` has
//! the document tell what they may say.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{RefOr, schema};
use utoipa::{PartialSchema, ToSchema};

use super::ApiError;
use super::auth::Scope;
use crate::alerts::Kind;
use crate::issue::Issue;
use crate::webhooks::EVENT_TYPES;

/// The words a field may have.
pub trait Words {
    const WORDS: &'static [&'static str];

    fn check(path: &str, word: &str) -> Result<(), Issue> {
        if Self::WORDS.contains(&word) {
            return Ok(());
        }
        let message = format!("must be one of {}", Self::WORDS.join(", "));
        Err(Issue::new(path, message))
    }
}

/// 400 where there is a word and it is none of these.
pub fn checked<W: Words>(path: &str, word: Option<&str>) -> Result<(), ApiError> {
    let Some(word) = word else { return Ok(()) };
    W::check(path, word).map_err(|issue| ApiError::validation(&[issue]))
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)*) => { $(
        $(#[$doc])*
        pub enum $name {}

        impl Words for $name {
            const WORDS: &'static [&'static str] = $words;
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                enumeration(Self::WORDS)
            }
        }

        impl ToSchema for $name {}
    )* };
}

fn enumeration(words: &[&str]) -> RefOr<schema::Schema> {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    text.enum_values(Some(words.iter().copied())).into()
}

words! {
    /// Where a mail stands.
    EmailStatus = &[
        "queued", "sending", "sent", "delivered", "opened", "clicked", "bounced", "complained",
        "failed", "ambiguous", "skipped",
    ];
    /// Where a run of a journey stands.
    StateStatus = &["active", "waiting", "completed", "failed", "exited", "stuck"];
    /// Where something stands that is told to an endpoint or a channel.
    DeliveryStatus = &["pending", "delivered", "failed"];
    ImportStatus = &["pending", "running", "completed", "failed"];
    SuppressionReason = &["bounced", "complained", "manual", "erased"];
    DeadLetterType = &["journey", "email", "webhook", "analytics"];
    DeadLetterStatus = &["failed", "stuck", "ambiguous"];
    TimelineType = &["event", "email", "journey"];
    WebhookEventType = &EVENT_TYPES;
    ExportFormat = &["csv", "json"];
    AlertType = &Kind::NAMES;
    AlertChannel = &["webhook", "slack", "email"];
}

impl Words for Scope {
    const WORDS: &'static [&'static str] = &Self::NAMES;
}
