//! Errors as HTTP responses.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::audit::Refused;
use crate::contacts::NoRoom;
use crate::foreign::ISSUES_MAX;
use crate::foreign::Issue;
use crate::ingest::IngestError;
use crate::loops::database_failed;

/// An error response.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Value,
    retry_after: Option<u32>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            body: json!({ "error": message.into() }),
            retry_after: None,
            header: None,
        }
    }

    pub fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: the resource's state does not allow this.
    pub fn conflict(message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized")
    }

    pub fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 400 with the first 100 problems, by field. `issues` must not be empty.
    pub fn validation(issues: &[Issue]) -> Self {
        let issues = &issues[..issues.len().min(ISSUES_MAX)];
        let message = issues.first().map(ToString::to_string).unwrap_or_default();
        Self {
            status: StatusCode::BAD_REQUEST,
            body: json!({
                "success": false,
                "error": { "name": "ValidationError", "message": message, "issues": issues },
            }),
            retry_after: None,
            header: None,
        }
    }

    /// 400 with this body.
    pub fn bad_request(body: Value) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body,
            retry_after: None,
            header: None,
        }
    }

    /// 500. The log has the details, the response has none.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        tracing::error!(error = causes.join(": "), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    /// The same error with a header.
    pub fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    /// 429. `retry_after` is in seconds.
    pub fn too_many(retry_after: u32) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests")
        }
    }

    /// 503: the database does not answer. If it failed during a commit, it is unknown whether the
    /// transaction was stored.
    fn outage(error: &sqlx::Error) -> Self {
        database_failed(error);
        if crate::db::is_full(error) {
            return Self::unavailable("The database cannot store anything: its disk is full", 60);
        }
        if crate::db::may_be_committed(error) {
            return Self::unavailable(
                "The database stopped answering during the commit: this may have been stored. Repeat \
                 the request with the same Idempotency-Key",
                5,
            );
        }
        Self::unavailable("The database does not answer; nothing was stored", 5)
    }

    /// 503: nothing was stored, and a retry may succeed.
    pub fn unavailable(message: &str, retry_after: u32) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(what) => Self::not_found(what),
            Refused::Conflict(why) => Self::conflict(why),
            Refused::Invalid(issues) => Self::validation(&issues),
            Refused::Busy(why) => Self::unavailable(why, 1),
            Refused::Database(error) => error.into(),
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Overloaded => Self::unavailable("Too many requests are waiting", 1),
            IngestError::Unavailable(cause) => Self::outage(&cause),
            IngestError::NoRoom(no_room) => {
                Self::validation(&no_room.issues(|_| "contactProperties".into()))
            }
            error @ (IngestError::Broken | IngestError::Failed(_)) => Self::internal(&error),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(no_room) = NoRoom::of(&error) {
            Self::validation(&no_room.issues(|_| "properties".into()))
        } else if crate::db::is_transient(&error) {
            // Only a debug line: the caller gets this only if every retry failed, see `Db::transact`.
            tracing::debug!(%error, "a request conflicted with another one");
            Self::unavailable("The database is busy", 1)
        } else if crate::db::is_overdue(&error) {
            tracing::warn!(%error, "a list or report took too long");
            Self::unavailable(
                "The database took too long: request less, with a filter or a shorter period",
                60,
            )
        } else if crate::db::is_unavailable(&error) {
            Self::outage(&error)
        } else {
            Self::internal(&error)
        }
    }
}
