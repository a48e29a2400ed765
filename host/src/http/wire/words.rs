//! Enumerations of stored words. The OpenAPI document lists them, and requests are validated against
//! them.
//!
//! The fields are strings in Rust, since the database stores text. `#[schema(value_type = EmailStatus)]`
//! adds the allowed words to the document.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::alerts::Kind;
use crate::http::ApiError;
use crate::http::auth::Scope;
use crate::issue::Issue;
use crate::mail::Taking;
use crate::webhooks::EVENT_TYPES;

/// The allowed words of a field.
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

    /// Checks a list that must contain at least one word.
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
    /// The status of a mail.
    EmailStatus = [
        "queued", "sending", "sent", "delivered", "opened", "clicked", "bounced", "complained",
        "failed", "ambiguous", "skipped",
    ];
    /// The status of a run.
    StateStatus = ["active", "waiting", "completed", "failed", "exited", "stuck"];
    /// The status of a delivery to a webhook endpoint or an alert channel.
    DeliveryStatus = ["pending", "delivered", "failed"];
    ImportStatus = ["pending", "running", "completed", "failed"];
    SuppressionReason = ["bounced", "complained", "manual", "erased"];
    DeadLetterType = ["journey", "email", "webhook", "analytics"];
    DeadLetterStatus = ["failed", "stuck", "ambiguous"];
    TimelineType = ["event", "email", "journey"];
    WebhookEventType = EVENT_TYPES;
    /// How events are delivered to an endpoint.
    WebhookKind = ["webhook"];
    EndpointStatus = ["enabled", "disabled"];
    ExportFormat = ["csv", "json"];
    /// Whether a delivery provider takes mail.
    ProviderStatus = Taking::ALL.map(Taking::name);
    /// Why a delivery provider takes no mail.
    ProviderHold = ["limit", "rest", "block"];
    AlertType = Kind::ALL.map(Kind::name);
    AlertChannel = ["webhook", "slack", "email"];
}

impl Words for Scope {
    fn words() -> Vec<&'static str> {
        Self::ALL.map(Self::name).to_vec()
    }
}
