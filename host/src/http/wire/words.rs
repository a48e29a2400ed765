//! Closed vocabularies: the OpenAPI document lists their words, and requests are checked against them.
//!
//! The states of [`crate::states`] are enums and appear in bodies as they are. The other vocabularies stay
//! texts in Rust; `#[schema(value_type = AlertType)]` makes the document list their words.

use strum::VariantNames as _;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::alerts::{CHANNELS, Kind};
use crate::db::HoldKind;
use crate::foreign::{Issue, one_of, some_of};
use crate::http::ApiError;
use crate::http::auth::Scope;
use crate::mail::Taking;
use crate::purpose::Purpose;
use crate::states::{
    DeadLetterKind, DeadLetterState, DeliveryState, ImportState, RunState, SendStatus,
};
use crate::webhooks::{EVENT_TYPES, KINDS};
use crate::worker::engine;

/// The allowed words of a field.
pub trait Words {
    fn words() -> Vec<&'static str>;

    fn check(path: &str, word: &str) -> Result<(), Issue> {
        one_of(path, word, &Self::words()).map_or(Ok(()), Err)
    }

    /// Checks a list that must contain at least one word.
    fn check_list(path: &str, list: &[String]) -> Vec<Issue> {
        some_of(path, list, &Self::words())
    }
}

/// Words that have an enum.
pub trait Parse: Words + Sized {
    fn parse_word(word: &str) -> Option<Self>;
}

/// The enum of a word, if there is a word.
///
/// # Errors
/// 400 where the word is none of these.
pub fn parsed<W: Parse>(path: &str, word: Option<&str>) -> Result<Option<W>, ApiError> {
    checked::<W>(path, word)?;
    Ok(word.and_then(W::parse_word))
}

/// 400 if a word is given and is not allowed.
pub fn checked<W: Words>(path: &str, word: Option<&str>) -> Result<(), ApiError> {
    let Some(word) = word else { return Ok(()) };
    W::check(path, word).map_err(|issue| ApiError::validation(&[issue]))
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)*) => { $(
        $(#[$doc])*
        pub enum $name {}

        impl Words for $name {
            fn words() -> Vec<&'static str> {
                $words.to_vec()
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
                text.enum_values(Some(Self::words())).into()
            }
        }

        impl ToSchema for $name {}
    )* };
}

words! {
    SuppressionReason = ["bounced", "complained", "manual", "erased"];
    TimelineType = ["event", "email", "journey"];
    WebhookEventType = EVENT_TYPES;
    /// How an endpoint is notified.
    WebhookKind = KINDS;
    EndpointStatus = ["enabled", "disabled"];
    ExportFormat = ["csv", "json"];
    /// Whether a delivery provider accepts mail.
    ProviderStatus = Taking::VARIANTS;
    /// What a mail is for: its category is `transactional`, or any other.
    MailPurpose = Purpose::VARIANTS;
    /// Why a delivery provider accepts no mail.
    ProviderHold = HoldKind::VARIANTS;
    /// What wakes runs.
    EngineKind = engine::KINDS;
    AlertType = Kind::VARIANTS;
    AlertChannel = CHANNELS;
}

macro_rules! states {
    ($($name:ident)*) => { $(
        impl Words for $name {
            fn words() -> Vec<&'static str> {
                Self::ALL.iter().map(|one| one.name()).collect()
            }
        }

        impl Parse for $name {
            fn parse_word(word: &str) -> Option<Self> {
                Self::parse(word)
            }
        }
    )* };
}

states! { RunState SendStatus DeliveryState ImportState DeadLetterKind DeadLetterState }

impl Words for Scope {
    fn words() -> Vec<&'static str> {
        Self::ALL.iter().map(|one| one.name()).collect()
    }
}
