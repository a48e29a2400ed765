//! Looking up what a path names; 404 if it does not exist.

use crate::db::{self, Conn, ContactRow, Topic};
use crate::http::ApiError;

pub(super) fn unknown_journey() -> ApiError {
    ApiError::not_found("Journey not found")
}

/// The contact of this id or product id; 404 if there is none.
pub(super) async fn found(conn: &mut Conn, name: &str) -> Result<ContactRow, ApiError> {
    let row = db::contact_row(conn, name).await?;
    row.ok_or_else(|| ApiError::not_found("Contact not found"))
}

/// What a change of contacts wakes.
pub(super) const WOKEN: [Topic; 2] = [Topic::Runs, Topic::Captures];
