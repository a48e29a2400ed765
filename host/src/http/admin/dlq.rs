//! Dead letters: runs and mails that broke for good.

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
use crate::db::{self, Conn, DeadLetter, Topic};
use crate::http::ApiError;
use crate::http::audit::{Change, audit};
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::contacts::ErasedOut;
use crate::http::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::paging::{Page, PageParams};
use crate::http::params::{Path, Query};
use crate::ids::{ContactId, SendId, StateId};
use crate::issue::Issue;
use crate::journeys::admin;
use crate::mail;

/// A run or a mail that broke.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterOut {
    /// Of the run or mail.
    id: Uuid,
    /// `journey` or `email`.
    #[serde(rename = "type")]
    kind: String,
    /// `failed`; of runs also `stuck`, of mails also `ambiguous`.
    status: String,
    /// The journey's id or the template's key.
    subject: String,
    contact_id: ContactId,
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
            contact_id: ContactId(letter.contact_id),
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
    /// `journey` or `email`.
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Lists what broke and nobody put aside, the latest first.
#[utoipa::path(
    get, path = "/v1/admin/dlq", tag = "dead-letters",
    security(("key" = ["read"]), ("session" = [])),
    params(DeadLettersQuery, PageParams),
    responses((status = 200, description = "A page of dead letters", body = DeadLettersOut), (status = 400, response = BadRequest)),
)]
pub async fn list_dead_letters(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<DeadLettersQuery>,
    page: Page,
) -> Result<Json<DeadLettersOut>, ApiError> {
    let kind = query.kind.as_deref();
    if kind.is_some_and(|kind| !["journey", "email"].contains(&kind)) {
        let issue = Issue::new("type", "must be journey or email");
        return Err(ApiError::validation(&[issue]));
    }
    let mut conn = app.db.conn().await?;
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

/// Tries it again: a failed run takes the step that failed once more, a stuck one goes on, and a
/// mail is sent as a mail of its own with the same content, past the same guards. For an
/// `ambiguous` mail this is the word that it may arrive twice.
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
    let letter = {
        let mut conn = app.db.conn().await?;
        found(&mut conn, id).await?
    };
    let email_send_id = match letter.kind.as_str() {
        "email" => Some(send_again(&app, SendId(id)).await?),
        _ => {
            let done = match letter.status.as_str() {
                "stuck" => admin::resume(&app, StateId(id)).await,
                _ => admin::retry(&app, StateId(id)).await,
            };
            done.map_err(refused)?;
            None
        }
    };
    let after = json!({ "type": letter.kind, "emailSendId": email_send_id });
    keep(
        &app,
        &caller,
        "dead_letter.retry",
        &letter,
        Change::created(after),
    )
    .await?;
    let out = RetriedOut {
        retried: true,
        email_send_id,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
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
    let letter = {
        let mut conn = app.db.conn().await?;
        let letter = found(&mut conn, id).await?;
        if letter.kind == "email" {
            db::send_dismiss(&mut conn, SendId(id), app.clock.now()).await?;
        }
        letter
    };
    if letter.kind == "journey" {
        admin::dismiss(&app, StateId(id)).await.map_err(refused)?;
    }
    let change = Change::deleted(json!({ "type": letter.kind, "status": letter.status }));
    keep(&app, &caller, "dead_letter.dismiss", &letter, change).await?;
    Ok(Json(ErasedOut { deleted: true }))
}

/// Sends a mail as a new one and puts the old one aside, both or neither.
async fn send_again(app: &App, id: SendId) -> Result<SendId, ApiError> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    // Whoever is second finds it put aside.
    if !db::send_dismiss(&mut tx, id, now).await? {
        return Err(unknown());
    }
    let story = db::send_story(&mut tx, id).await?.ok_or_else(unknown)?;
    let again = mail::send_again(&mut tx, &story, now).await?;
    let again = again.ok_or_else(|| ApiError::conflict("This mail has no content any more"))?;
    app.db.commit_and_wake(tx, &[Topic::Mails]).await?;
    Ok(again)
}

async fn found(conn: &mut Conn, id: Uuid) -> Result<DeadLetter, ApiError> {
    let letters = db::dead_letters(conn, None, Some(id), 1, 0).await?;
    letters.into_iter().next().ok_or_else(unknown)
}

async fn keep(
    app: &App,
    caller: &Caller<FullAdmin>,
    action: &str,
    letter: &DeadLetter,
    change: Change,
) -> Result<(), ApiError> {
    let mut conn = app.db.conn().await?;
    let id = letter.id.to_string();
    let about = ("dead_letter", id.as_str());
    audit(
        &mut conn,
        &caller.actor,
        action,
        about,
        change,
        app.clock.now(),
    )
    .await?;
    Ok(())
}

fn unknown() -> ApiError {
    ApiError::not_found("Dead letter not found")
}
