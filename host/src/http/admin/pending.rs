//! Changes to people that untrusted events asked for: listed, applied, dismissed.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::lookup::{WOKEN, found};
use crate::app::App;
use crate::audit::{Change, audit};
use crate::db::{self, Conn, PendingRow, Tx};
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

/// Of one contact, these are shown with it.
const SHOWN: i64 = 20;

/// A change that an untrusted event asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingOut {
    id: PendingId,
    contact_id: ContactId,
    /// The product's own id of the person.
    external_id: Option<String>,
    /// Their address by now.
    email: Option<String>,
    /// `address` where they would get `address`, `unite` where they and `other` would be one person.
    #[schema(example = "address")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<OtherOut>,
    /// The source of the event.
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
    /// Counted to 10,000.
    total: i64,
    limit: i64,
    offset: i64,
}

/// What waits for a decision about one contact.
pub(super) async fn of_contact(conn: &mut Conn, id: ContactId) -> db::Result<Vec<PendingOut>> {
    let rows = db::pending_list(conn, Some(id), SHOWN, 0).await?;
    Ok(rows.into_iter().map(PendingOut::from).collect())
}

/// Lists changes that untrusted events asked for, the longest waiting first.
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

/// What became of a change.
#[derive(Serialize, ToSchema)]
pub struct DecidedOut {
    /// The contact as it is now.
    contact: ContactOut,
}

/// Makes a change come about, as a trusted call that says the same would.
#[utoipa::path(
    post, path = "/v1/admin/contacts/pending/{id}/apply", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = PendingId, Path)),
    responses(
        (status = 200, description = "It came about", body = DecidedOut),
        (status = 404, response = NotFound),
        (status = 409, description = "Another contact holds the address", body = ErrorOut),
    ),
)]
pub async fn apply_pending(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<PendingId>,
) -> Result<Json<DecidedOut>, ApiError> {
    decide(&app, &caller, id, true).await
}

/// Lets go of a change; the contact stays as it is. The same event may ask for it again.
#[utoipa::path(
    post, path = "/v1/admin/contacts/pending/{id}/dismiss", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = PendingId, Path)),
    responses((status = 200, description = "It is gone", body = DecidedOut), (status = 404, response = NotFound)),
)]
pub async fn dismiss_pending(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<PendingId>,
) -> Result<Json<DecidedOut>, ApiError> {
    decide(&app, &caller, id, false).await
}

async fn decide(
    app: &App,
    caller: &Caller<FullAdmin>,
    id: PendingId,
    applies: bool,
) -> Result<Json<DecidedOut>, ApiError> {
    let now = app.clock.now();
    let work = async |tx: Tx| decide_in(app, tx, caller, id, applies, now).await;
    let contact = app.db.transact(work).await?;
    Ok(Json(DecidedOut { contact }))
}

async fn decide_in(
    app: &App,
    mut tx: Tx,
    caller: &Caller<FullAdmin>,
    id: PendingId,
    applies: bool,
    now: DateTime<Utc>,
) -> Result<(Tx, ContactOut), ApiError> {
    let gone = || ApiError::not_found("Pending change not found");
    let pending = db::pending_get(&mut tx, id).await?.ok_or_else(gone)?;
    let action = if applies {
        if !ingest::apply_pending(&mut tx, &app.catalog, &pending, now).await? {
            return Err(ApiError::conflict(
                "Another contact holds this address, or is gone: change or unite the contacts first",
            ));
        }
        "contact.pending_apply"
    } else {
        if !db::pending_delete(&mut tx, id).await? {
            return Err(gone());
        }
        "contact.pending_dismiss"
    };
    let mut left = db::contact_get(&mut tx, pending.contact_id).await?;
    if let (None, Some(other)) = (&left, pending.other_id) {
        left = db::contact_get(&mut tx, other).await?;
    }
    let left = left.ok_or_else(gone)?;
    let about = left.id.to_string();
    // The row says what kind of change it was, not whose address.
    let change = Change::created(json!({
        "kind": if pending.address.is_some() { "address" } else { "unite" },
        "source": pending.source, "eventId": pending.event_id,
        "contactId": pending.contact_id, "otherId": pending.other_id,
    }));
    let actor = &caller.actor;
    audit(&mut tx, actor, action, ("contact", &about), change, now).await?;
    let contact = found(&mut tx, &about).await?.into();
    WOKEN.into_iter().for_each(db::stir);
    Ok((tx, contact))
}
