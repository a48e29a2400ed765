//! Errors for a path that names nothing.

use crate::http::ApiError;

pub(super) fn unknown_journey() -> ApiError {
    ApiError::not_found("Journey not found")
}
