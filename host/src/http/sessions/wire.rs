//! The responses that Better Auth's client reads.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::accounts::Session;
use crate::db::User;
use crate::ids::{SessionId, UserId};

/// Better Auth's client reads all digits after the decimal point as milliseconds, so there are always
/// three.
fn in_millis<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserOut {
    pub id: UserId,
    pub name: String,
    pub email: String,
    pub email_verified: bool,
    pub image: Option<String>,
    #[serde(serialize_with = "in_millis")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "in_millis")]
    pub updated_at: DateTime<Utc>,
}

impl From<User> for UserOut {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: user.email,
            email_verified: false,
            image: None,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionOut {
    pub id: SessionId,
    pub token: String,
    pub user_id: UserId,
    #[serde(serialize_with = "in_millis")]
    pub expires_at: DateTime<Utc>,
    #[serde(serialize_with = "in_millis")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "in_millis")]
    pub updated_at: DateTime<Utc>,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct StatusOut {
    #[schema(example = true)]
    pub status: bool,
}

#[derive(Serialize, ToSchema)]
pub struct SentOut {
    #[schema(example = true)]
    pub status: bool,
    pub message: &'static str,
}

/// The user whose password changed.
#[derive(Serialize, ToSchema)]
pub struct ChangedPasswordOut {
    /// Token of the new session, if the others were revoked.
    pub token: Option<String>,
    pub user: UserOut,
}

/// The user who signed up or signed in, with the session's token.
#[derive(Serialize, ToSchema)]
pub struct SignedInOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<bool>,
    pub token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub user: UserOut,
}

/// A session and its user.
#[derive(Serialize, ToSchema)]
pub struct CurrentOut {
    pub session: SessionOut,
    pub user: UserOut,
}

/// An error in Better Auth's format.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthError)]
pub struct AuthErrorOut {
    #[schema(example = "INVALID_EMAIL_OR_PASSWORD")]
    pub code: &'static str,
    pub message: String,
    pub error: String,
}

impl From<Session> for SessionOut {
    fn from(session: Session) -> Self {
        Self {
            id: session.id,
            token: session.token,
            user_id: session.user.id,
            expires_at: session.expires_at,
            created_at: session.created_at,
            updated_at: session.updated_at,
            ip_address: session.client.address,
            user_agent: session.client.agent,
        }
    }
}

impl From<Session> for CurrentOut {
    fn from(session: Session) -> Self {
        let user = session.user.clone().into();
        Self {
            session: session.into(),
            user,
        }
    }
}
