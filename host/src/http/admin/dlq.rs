//! Dead letters: runs, mails, webhook deliveries and captures that failed for good.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::db::{self, DeadLetter};
use crate::dead_letters::{self, DeadLetterError};
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::ErasedOut;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Path, Query};
use crate::http::wire::words::parsed;
use crate::ids::{ContactId, SendId};
use crate::states::{DeadLetterKind, DeadLetterState};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(retry_dead_letter))
        .routes(routes!(dismiss_dead_letter))
}

/// A dead letter: a run, mail, webhook delivery or capture that failed for good.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterOut {
    /// Id of the run, mail, delivery or capture.
    id: Uuid,
    #[serde(rename = "type")]
    kind: DeadLetterKind,
    /// `failed`; a run can also be `stuck`, a mail also `ambiguous`.
    status: DeadLetterState,
    /// The journey's id, the template's key, or the type or name of the event.
    subject: String,
    /// Null if it concerns no contact, such as a webhook test.
    contact_id: Option<ContactId>,
    error: Option<String>,
    created_at: DateTime<Utc>,
    failed_at: DateTime<Utc>,
}

impl From<DeadLetter> for DeadLetterOut {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            kind: letter.kind,
            status: letter.status,
            subject: letter.subject,
            contact_id: letter.contact_id.map(ContactId),
            error: letter.error,
            created_at: letter.created_at,
            failed_at: letter.failed_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct DeadLettersOut {
    dlq: Vec<DeadLetterOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    #[param(inline, value_type = Option<DeadLetterKind>)]
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Lists the dead letters that were not dismissed, newest first.
#[utoipa::path(
    get, path = "/v1/admin/dlq", tag = "dead-letters",
    security(("key" = ["read"]), ("session" = [])),
    params(DeadLettersQuery, PartParams),
    responses((status = 200, description = "A page of dead letters", body = DeadLettersOut), (status = 400, response = BadRequest)),
)]
pub async fn list_dead_letters(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<DeadLettersQuery>,
    page: Part,
) -> Result<Json<DeadLettersOut>, ApiError> {
    let kind = parsed("type", query.kind.as_deref())?;
    let mut conn = app.db.report().await?;
    let letters = db::dead_letters(&mut conn, kind, None, page.limit, page.offset).await?;
    Ok(Json(DeadLettersOut {
        dlq: letters.into_iter().map(DeadLetterOut::from).collect(),
        total: db::dead_letter_count(&mut conn, kind).await?,
        limit: page.limit,
        offset: page.offset,
    }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetriedOut {
    retried: bool,
    /// Id of the new mail, if a mail was retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_send_id: Option<SendId>,
}

/// Retries a dead letter.
///
/// A failed run repeats the step that failed, and a stuck run continues. A mail is sent again as a new
/// mail with the same content, after the same checks; an `ambiguous` mail may arrive twice. A webhook
/// delivery or capture is sent again with the same id.
#[utoipa::path(
    post, path = "/v1/admin/dlq/{id}/retry", tag = "dead-letters",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 202, description = "The retry is queued", body = RetriedOut),
        (status = 404, response = NotFound),
        (status = 409, description = "It cannot be retried; the error says why", body = ErrorOut),
    ),
)]
pub async fn retry_dead_letter(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<RetriedOut>), ApiError> {
    let retried = dead_letters::retry(&app, &caller.actor, id).await;
    let email_send_id = retried.map_err(refused)?;
    let out = RetriedOut {
        retried: true,
        email_send_id,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

/// Dismisses a dead letter: it leaves this list and keeps its status.
#[utoipa::path(
    delete, path = "/v1/admin/dlq/{id}", tag = "dead-letters",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "The dead letter is dismissed", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn dismiss_dead_letter(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<Uuid>,
) -> Result<Json<ErasedOut>, ApiError> {
    let dismissed = dead_letters::dismiss(&app, &caller.actor, id).await;
    dismissed.map_err(refused)?;
    Ok(Json(ErasedOut { deleted: true }))
}

fn refused(error: DeadLetterError) -> ApiError {
    match error {
        DeadLetterError::NotFound(_) => ApiError::not_found("Dead letter not found"),
        DeadLetterError::Conflict(why) => ApiError::conflict(&why),
        DeadLetterError::Database(error) => error.into(),
    }
}
