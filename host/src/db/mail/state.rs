//! The statuses of a mail, as stored.

use sqlx::Postgres;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};

/// Status of a mail. `mail/fate/stage.rs` defines the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendStatus {
    /// Due now or later.
    Queued,
    /// An attempt began and has not ended.
    Sending,
    /// The provider may have it, and a retry could send it twice.
    Ambiguous,
    /// The provider accepted it.
    Sent,
    Delivered,
    Opened,
    Clicked,
    Bounced,
    Complained,
    /// It was certainly not sent and never will be.
    Failed,
    /// Hogsend decided not to send it.
    Skipped,
}

impl SendStatus {
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Sending,
        Self::Ambiguous,
        Self::Sent,
        Self::Delivered,
        Self::Opened,
        Self::Clicked,
        Self::Bounced,
        Self::Complained,
        Self::Failed,
        Self::Skipped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Ambiguous => "ambiguous",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Opened => "opened",
            Self::Clicked => "clicked",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl sqlx::Type<Postgres> for SendStatus {
    fn type_info() -> PgTypeInfo {
        <&str as sqlx::Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <&str as sqlx::Type<Postgres>>::compatible(ty)
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for SendStatus {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let name = <&str as sqlx::Decode<Postgres>>::decode(value)?;
        Self::parse(name).ok_or_else(|| format!("'{name}' is not a status of a mail").into())
    }
}
