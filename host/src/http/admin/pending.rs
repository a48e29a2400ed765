//! Changes to contacts that untrusted events requested: listing, applying and dismissing them.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::db::{self, Conn, PendingRow};
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::ContactOut;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::Path;
use crate::ids::{ContactId, EventId, PendingId};
use crate::ingest;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_pending))
        .routes(routes!(apply_pending))
        .routes(routes!(dismiss_pending))
}

/// The most pending changes shown with one contact.
const SHOWN: i64 = 20;

/// A change to a contact that an untrusted event requested.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingOut {
    id: PendingId,
    contact_id: ContactId,
    /// The product's id of the contact.
    external_id: Option<String>,
    /// The contact's current address.
    email: Option<String>,
    /// `address`: the contact would get `address`. `unite`: the contact and `other` would be merged.
    #[schema(example = "address")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<OtherOut>,
    /// The event's source.
    #[schema(example = "posthog")]
    source: String,
    event_id: EventId,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherOut {
    id: ContactId,
    external_id: Option<String>,
    email: Option<String>,
}

impl From<PendingRow> for PendingOut {
    fn from(row: PendingRow) -> Self {
        Self {
            id: row.id,
            contact_id: row.contact_id,
            external_id: row.external_id,
            email: row.email,
            kind: match row.address {
                Some(_) => "address",
                None => "unite",
            },
            address: row.address,
            other: row.other_id.map(|id| OtherOut {
                id,
                external_id: row.other_external_id,
                email: row.other_email,
            }),
            source: row.source,
            event_id: row.event_id,
            created_at: row.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct PendingChangesOut {
    pending: Vec<PendingOut>,
    /// Counted up to 10,000.
    total: i64,
    limit: i64,
    offset: i64,
}

/// The pending changes of one contact.
pub(super) async fn of_contact(conn: &mut Conn, id: ContactId) -> db::Result<Vec<PendingOut>> {
    let rows = db::pending_list(conn, Some(id), SHOWN, 0).await?;
    Ok(rows.into_iter().map(PendingOut::from).collect())
}

/// Lists the changes that untrusted events requested, longest pending first.
#[utoipa::path(
    get, path = "/v1/admin/contacts/pending", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(PartParams),
    responses((status = 200, description = "A page of changes", body = PendingChangesOut), (status = 400, response = BadRequest)),
)]
pub async fn list_pending(
    State(app): State<App>,
    _: Caller<Read>,
    page: Part,
) -> Result<Json<PendingChangesOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let rows = db::pending_list(&mut conn, None, page.limit, page.offset).await?;
    Ok(Json(PendingChangesOut {
        pending: rows.into_iter().map(PendingOut::from).collect(),
        total: db::pending_count(&mut conn, None).await?,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// The result of a decision about a pending change.
#[derive(Serialize, ToSchema)]
pub struct DecidedOut {
    /// The contact as it is now.
    contact: ContactOut,
}

/// Applies a pending change, as a trusted call with the same data would.
#[utoipa::path(
    post, path = "/v1/admin/contacts/pending/{id}/apply", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = PendingId, Path)),
    responses(
        (status = 200, description = "The change is applied", body = DecidedOut),
        (status = 404, response = NotFound),
        (status = 409, description = "Another contact has the address", body = ErrorOut),
    ),
)]
pub async fn apply_pending(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<PendingId>,
) -> Result<Json<DecidedOut>, ApiError> {
    let contact = ingest::apply_pending(&app, &caller.actor, id).await?;
    Ok(Json(DecidedOut {
        contact: contact.into(),
    }))
}

/// Dismisses a pending change; the contact is not changed. A later event may request it again.
#[utoipa::path(
    post, path = "/v1/admin/contacts/pending/{id}/dismiss", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = PendingId, Path)),
    responses((status = 200, description = "The change is dismissed", body = DecidedOut), (status = 404, response = NotFound)),
)]
pub async fn dismiss_pending(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<PendingId>,
) -> Result<Json<DecidedOut>, ApiError> {
    let contact = ingest::dismiss_pending(&app, &caller.actor, id).await?;
    Ok(Json(DecidedOut {
        contact: contact.into(),
    }))
}
