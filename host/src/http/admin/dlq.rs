//! Dead letters: what broke for good, of runs, mails, webhooks and analytics.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::states::refused;
use crate::app::App;
use crate::audit::{Change, audit};
use crate::db::{self, Conn, DeadLetter, Topic, Tx};
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::ErasedOut;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Path, Query};
use crate::http::wire::words::parsed;
use crate::ids::{ContactId, SendId, StateId};
use crate::mail;
use crate::runs::decide;
use crate::states::{DeadLetterKind, DeadLetterState};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(retry_dead_letter))
        .routes(routes!(dismiss_dead_letter))
}

/// Something that broke.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterOut {
    /// Of the run, mail, delivery or capture.
    id: Uuid,
    #[serde(rename = "type")]
    kind: DeadLetterKind,
    /// `failed`; of runs also `stuck`, of mails also `ambiguous`.
    status: DeadLetterState,
    /// The journey's id, the template's key, the type or name of the event.
    subject: String,
    /// Null where it is about nobody, as the test of a webhook is.
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

/// Lists what broke and nobody put aside, the latest first.
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
    /// The new mail, where a mail was retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_send_id: Option<SendId>,
}

/// Tries it again: a failed run takes the step that failed once more, a stuck one goes on, a mail is
/// sent as a mail of its own with the same content, past the same guards, and a webhook or capture
/// is told once more with the same id. For an `ambiguous` mail this is the word that it may arrive
/// twice.
#[utoipa::path(
    post, path = "/v1/admin/dlq/{id}/retry", tag = "dead-letters",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 202, description = "It is tried again", body = RetriedOut),
        (status = 404, response = NotFound),
        (status = 409, description = "It cannot be tried again; the text says why", body = ErrorOut),
    ),
)]
pub async fn retry_dead_letter(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<RetriedOut>), ApiError> {
    let now = app.clock.now();
    let work = async |tx: Tx| retry(&app, tx, &caller, id, now).await;
    let email_send_id = app.db.transact(work).await?;
    let out = RetriedOut {
        retried: true,
        email_send_id,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

async fn retry(
    app: &App,
    mut tx: Tx,
    caller: &Caller<FullAdmin>,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(Tx, Option<SendId>), ApiError> {
    let letter = found(&mut tx, id).await?;
    let mut email_send_id = None;
    let topic = match letter.kind {
        DeadLetterKind::Email => {
            email_send_id = Some(send_again(app, &mut tx, SendId(id)).await?);
            Topic::Mails
        }
        DeadLetterKind::Webhook => {
            once(db::delivery_retry(&mut tx, id, now).await?)?;
            Topic::Webhooks
        }
        DeadLetterKind::Analytics => {
            once(db::capture_again(&mut tx, id, now).await?)?;
            Topic::Captures
        }
        DeadLetterKind::Journey => {
            let done = match letter.status {
                DeadLetterState::Stuck => decide::resume_in(app, &mut tx, StateId(id)).await,
                _ => decide::retry_in(app, &mut tx, StateId(id)).await,
            };
            done.map_err(refused)?;
            Topic::Runs
        }
    };
    let after = json!({ "type": letter.kind, "emailSendId": email_send_id });
    let change = Change::created(after);
    keep(&mut tx, caller, "dead_letter.retry", id, change, now).await?;
    db::stir(topic);
    Ok((tx, email_send_id))
}

/// Puts it aside: it leaves this list and stays what it is.
#[utoipa::path(
    delete, path = "/v1/admin/dlq/{id}", tag = "dead-letters",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "It is off the list", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn dismiss_dead_letter(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<Uuid>,
) -> Result<Json<ErasedOut>, ApiError> {
    let now = app.clock.now();
    let work = async |mut tx: Tx| {
        let letter = found(&mut tx, id).await?;
        match letter.kind {
            DeadLetterKind::Email => once(db::send_dismiss(&mut tx, SendId(id), now).await?)?,
            DeadLetterKind::Webhook => once(db::delivery_dismiss(&mut tx, id, now).await?)?,
            DeadLetterKind::Analytics => once(db::capture_dismiss(&mut tx, id).await?)?,
            DeadLetterKind::Journey => {
                let done = decide::dismiss_in(&app, &mut tx, StateId(id)).await;
                done.map_err(refused)?;
            }
        }
        let change = Change::deleted(json!({ "type": letter.kind, "status": letter.status }));
        keep(&mut tx, &caller, "dead_letter.dismiss", id, change, now).await?;
        Ok::<_, ApiError>((tx, ()))
    };
    app.db.transact(work).await?;
    Ok(Json(ErasedOut { deleted: true }))
}

/// Sends a mail as a new one and puts the old one aside.
async fn send_again(app: &App, tx: &mut Conn, id: SendId) -> Result<SendId, ApiError> {
    let now = app.clock.now();
    once(db::send_dismiss(tx, id, now).await?)?;
    let story = db::send_story(tx, id).await?.ok_or_else(unknown)?;
    let again = mail::send_again(tx, (&app.links, &app.addresses), &story, now).await?;
    again.ok_or_else(|| ApiError::conflict("This mail has no content any more"))
}

/// Whoever is second finds that it is no dead letter any more.
fn once(first: bool) -> Result<(), ApiError> {
    if first { Ok(()) } else { Err(unknown()) }
}

async fn found(conn: &mut Conn, id: Uuid) -> Result<DeadLetter, ApiError> {
    let letters = db::dead_letters(conn, None, Some(id), 1, 0).await?;
    letters.into_iter().next().ok_or_else(unknown)
}

async fn keep(
    conn: &mut Conn,
    caller: &Caller<FullAdmin>,
    action: &str,
    id: Uuid,
    change: Change,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    let about = ("dead_letter", &*id.to_string());
    audit(conn, &caller.actor, action, about, change, now).await?;
    Ok(())
}

fn unknown() -> ApiError {
    ApiError::not_found("Dead letter not found")
}
