//! Mails and their delivery.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::db::{self, ClickStory, SendFilter, SendHappening, SendStory, Waiting};
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{CursorParam, Page, PartParams};
use crate::http::wire::params::{Path, Query, time};
use crate::http::wire::words::parsed;
use crate::ids::{ContactId, SendId, StateId};
use crate::mail;
use crate::states::SendStatus;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_emails))
        .routes(routes!(show_email))
        .routes(routes!(resend_email))
        .routes(routes!(cancel_emails))
}

/// A mail without its content.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailOut {
    id: SendId,
    contact_id: ContactId,
    template_key: String,
    from_email: String,
    to_email: String,
    subject: String,
    category: String,
    status: SendStatus,
    /// Why the mail is not sent, or not sent yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    provider: Option<String>,
    /// The provider's id of the mail.
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journey_state_id: Option<StateId>,
    attempts: i32,
    created_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    opened_at: Option<DateTime<Utc>>,
    clicked_at: Option<DateTime<Utc>>,
    bounced_at: Option<DateTime<Utc>>,
    complained_at: Option<DateTime<Utc>>,
}

impl From<SendStory> for EmailOut {
    fn from(story: SendStory) -> Self {
        Self {
            id: story.id,
            contact_id: story.contact_id,
            template_key: story.template_key,
            from_email: story.from_email,
            to_email: story.to_email,
            subject: story.subject,
            category: story.category,
            status: story.status,
            reason: story.reason,
            provider: story.provider,
            message_id: story.message_id,
            journey_state_id: story.journey_state_id,
            attempts: story.attempts,
            created_at: story.created_at,
            sent_at: story.sent_at,
            delivered_at: story.delivered_at,
            opened_at: story.opened_at,
            clicked_at: story.clicked_at,
            bounced_at: story.bounced_at,
            complained_at: story.complained_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailsOut {
    emails: Vec<EmailOut>,
    total: i64,
    limit: i64,
    offset: i64,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EmailsQuery {
    #[param(inline, value_type = Option<SendStatus>)]
    status: Option<String>,
    template_key: Option<String>,
    category: Option<String>,
    contact_id: Option<Uuid>,
    /// The product's id of the contact.
    user_id: Option<String>,
    /// The recipient's address.
    to: Option<String>,
    /// Only mails created at this time or later.
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    /// Only mails created before this time.
    #[serde(default, deserialize_with = "time")]
    until: Option<DateTime<Utc>>,
}

/// Lists mails, newest first.
#[utoipa::path(
    get, path = "/v1/admin/emails", tag = "emails",
    security(("key" = ["read"]), ("session" = [])),
    params(EmailsQuery, PartParams, CursorParam),
    responses((status = 200, description = "A page of mails", body = EmailsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_emails(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<EmailsQuery>,
    page: Page,
) -> Result<Json<EmailsOut>, ApiError> {
    let filter = SendFilter {
        status: parsed("status", query.status.as_deref())?,
        template_key: query.template_key,
        category: query.category,
        contact: query.contact_id.map(ContactId),
        user: query.user_id,
        to: query.to,
        since: query.since,
        until: query.until,
        after: page.after,
    };
    let mut conn = app.db.report().await?;
    let stories = db::send_stories(&mut conn, &filter, page.limit, page.offset).await?;
    let total = db::send_count(&mut conn, &filter).await?;
    Ok(Json(EmailsOut {
        next_cursor: page.next_cursor(stories.iter().map(|one| (one.created_at, one.id.0))),
        emails: stories.into_iter().map(EmailOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// A mail with its journey, links and history.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailStoryOut {
    #[serde(flatten)]
    email: EmailOut,
    tracked_links: Vec<LinkOut>,
    /// The journey that sent it.
    journey: Option<JourneyRefOut>,
    /// Delivery attempts and the provider's reports, oldest first.
    history: Vec<HappeningOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JourneyRefOut {
    id: String,
    state_id: StateId,
}

/// A link of a mail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkOut {
    id: Uuid,
    original_url: String,
    /// Clicks by people. Clicks by machines are listed but not counted.
    click_count: i64,
    clicks: Vec<ClickOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClickOut {
    at: DateTime<Utc>,
    /// Why the click is attributed to a machine; absent for a person's click.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

impl From<&ClickStory> for ClickOut {
    fn from(click: &ClickStory) -> Self {
        let agent = click.detail.get("userAgent").and_then(Value::as_str);
        Self {
            at: click.at,
            machine: click.machine.clone(),
            user_agent: agent.map(str::to_owned),
        }
    }
}

/// A delivery attempt, or a later report about the mail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HappeningOut {
    /// `attempt`, or what happened: `delivered`, `opened`, `clicked`, `bounced`, …
    #[serde(rename = "type")]
    kind: String,
    at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i32>,
    /// The batch: the request to the provider that carried several mails.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
    /// Absent if the attempt was cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

impl From<SendHappening> for HappeningOut {
    fn from(one: SendHappening) -> Self {
        Self {
            kind: one.kind,
            at: one.at,
            provider: one.provider,
            number: one.number,
            batch_id: one.batch_id,
            ended_at: one.ended_at,
            outcome: one.outcome,
            reason: one.reason,
            machine: one.machine,
            detail: one.detail,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct OneEmailOut {
    email: EmailStoryOut,
}

/// Shows a mail with its attempts, links, clicks and the provider's reports.
#[utoipa::path(
    get, path = "/v1/admin/emails/{id}", tag = "emails",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = SendId, Path)),
    responses((status = 200, description = "The mail", body = OneEmailOut), (status = 404, response = NotFound)),
)]
pub async fn show_email(
    State(app): State<App>,
    _: Caller<Read>,
    Path(id): Path<SendId>,
) -> Result<Json<OneEmailOut>, ApiError> {
    let mut conn = app.db.conn().await?;
    let story = db::send_story(&mut conn, id).await?;
    let story = story.ok_or_else(|| ApiError::not_found("Email not found"))?;
    let links = db::send_links(&mut conn, id).await?;
    let clicks = db::send_clicks(&mut conn, id).await?;
    let history = db::send_history(&mut conn, id).await?;
    let tracked_links = links.into_iter().map(|link| LinkOut {
        clicks: clicks
            .iter()
            .filter(|click| click.link_id == link.id)
            .map(ClickOut::from)
            .collect(),
        id: link.id,
        original_url: link.url,
        click_count: link.clicks,
    });
    let journey = story
        .journey_id
        .clone()
        .zip(story.journey_state_id)
        .map(|(id, state_id)| JourneyRefOut { id, state_id });
    let email = EmailStoryOut {
        tracked_links: tracked_links.collect(),
        journey,
        history: history.into_iter().map(HappeningOut::from).collect(),
        email: story.into(),
    };
    Ok(Json(OneEmailOut { email }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResentOut {
    email_send_id: SendId,
    #[schema(example = "queued")]
    status: SendStatus,
}

/// Sends a mail again, as a new mail to the same contact with the same content.
///
/// The same checks apply: a suppressed address gets nothing.
#[utoipa::path(
    post, path = "/v1/admin/emails/{id}/resend", tag = "emails",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = SendId, Path)),
    responses(
        (status = 202, description = "The new mail is queued", body = ResentOut),
        (status = 404, response = NotFound),
        (status = 409, description = "The mail's content was deleted, or the mail is still being sent", body = crate::http::wire::openapi::ErrorOut),
    ),
)]
pub async fn resend_email(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<SendId>,
) -> Result<(StatusCode, Json<ResentOut>), ApiError> {
    let again = mail::resend(&app, &caller.actor, id).await?;
    let out = ResentOut {
        email_send_id: again,
        status: SendStatus::Queued,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

/// Which of the mails that wait to be sent are cancelled: those that meet every field that is given. One of
/// `journey`, `template`, `category` and `until` is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelEmailsIn {
    /// The id of a journey.
    journey: Option<String>,
    /// The key of a template.
    template: Option<String>,
    category: Option<String>,
    /// Only mails created at this time or later.
    #[serde(default, deserialize_with = "time")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    since: Option<DateTime<Utc>>,
    /// Only mails created before this time.
    #[serde(default, deserialize_with = "time")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    until: Option<DateTime<Utc>>,
    /// Only count them.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    dry_run: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelledEmailsOut {
    /// With `dryRun`, how many would be cancelled.
    cancelled: i64,
    /// There was no time for all of them: ask again.
    more: bool,
    dry_run: bool,
}

/// Cancels mails that wait to be sent. They are skipped with the reason `cancelled`, which their journeys see.
/// Attempts that have begun are finished. To be sure that none goes out meanwhile, pause first.
#[utoipa::path(
    post, path = "/v1/admin/emails/cancel", tag = "emails",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = CancelEmailsIn,
    responses((status = 200, description = "How many were cancelled", body = CancelledEmailsOut), (status = 400, response = BadRequest)),
)]
pub async fn cancel_emails(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<CancelEmailsIn>,
) -> Result<Json<CancelledEmailsOut>, ApiError> {
    let waiting = Waiting {
        journey: body.journey,
        template: body.template,
        category: body.category,
        since: body.since,
        until: body.until,
    };
    if body.dry_run {
        let mut conn = app.db.report().await?;
        return Ok(Json(CancelledEmailsOut {
            cancelled: db::sends_waiting_count(&mut conn, &waiting).await?,
            more: false,
            dry_run: true,
        }));
    }
    let done = mail::cancel(&app, &caller.actor, &waiting).await?;
    Ok(Json(CancelledEmailsOut {
        cancelled: i64::try_from(done.cancelled).unwrap_or(i64::MAX),
        more: done.more,
        dry_run: false,
    }))
}
