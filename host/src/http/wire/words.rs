//! Closed vocabularies: the document lists their words, and requests are held against them.
//!
//! Fields stay texts in Rust, since the store keeps texts; `#[schema(value_type = EmailStatus)]` has
//! the document tell what they may say.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::alerts::{CHANNELS, Kind};
use crate::http::ApiError;
use crate::http::auth::Scope;
use crate::issue::Issue;
use crate::mail::Taking;
use crate::webhooks::EVENT_TYPES;

/// The words a field may have.
pub trait Words {
    fn words() -> Vec<&'static str>;

    fn check(path: &str, word: &str) -> Result<(), Issue> {
        let words = Self::words();
        if words.contains(&word) {
            return Ok(());
        }
        let message = format!("must be one of {}", words.join(", "));
        Err(Issue::new(path, message))
    }

    /// What is wrong with a list of at least one of them.
    fn check_list(path: &str, list: &[String]) -> Vec<Issue> {
        if list.is_empty() {
            let message = format!("must name at least one of {}", Self::words().join(", "));
            return vec![Issue::new(path, message)];
        }
        let each = list.iter().enumerate();
        each.filter_map(|(at, word)| Self::check(&format!("{path}.{at}"), word).err())
            .collect()
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
    /// Where a mail stands.
    EmailStatus = [
        "queued", "sending", "sent", "delivered", "opened", "clicked", "bounced", "complained",
        "failed", "ambiguous", "skipped",
    ];
    /// Where a run of a journey stands.
    StateStatus = ["active", "waiting", "completed", "failed", "exited", "stuck"];
    /// Where something stands that is told to an endpoint or a channel.
    DeliveryStatus = ["pending", "delivered", "failed"];
    ImportStatus = ["pending", "running", "completed", "failed"];
    SuppressionReason = ["bounced", "complained", "manual", "erased"];
    DeadLetterType = ["journey", "email", "webhook", "analytics"];
    DeadLetterStatus = ["failed", "stuck", "ambiguous"];
    TimelineType = ["event", "email", "journey"];
    WebhookEventType = EVENT_TYPES;
    /// How an endpoint is told.
    WebhookKind = ["webhook"];
    EndpointStatus = ["enabled", "disabled"];
    ExportFormat = ["csv", "json"];
    /// Whether a delivery provider takes mail.
    ProviderStatus = Taking::ALL.map(Taking::name);
    /// Why a delivery provider takes no mail.
    ProviderHold = ["limit", "rest", "block"];
    AlertType = Kind::ALL.map(Kind::name);
    AlertChannel = CHANNELS;
}

impl Words for Scope {
    fn words() -> Vec<&'static str> {
        Self::ALL.map(Self::name).to_vec()
    }
}
