//! The mails of this installation, for looking at them in development.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::ApiError;
use super::page::{escape, page};
use crate::app::App;
use crate::db::{self, SendRow};
use crate::ids::SendId;

/// Mails on the page.
const SHOWN: i64 = 100;

/// Lists the newest mails.
pub async fn list_outbox(State(app): State<App>) -> Result<Response, ApiError> {
    let sends = {
        let mut conn = app.db.conn().await?;
        db::sends_recent(&mut conn, SHOWN).await?
    };
    let rows: String = sends.iter().map(row).collect();
    let body = if sends.is_empty() {
        "<h1>Outbox</h1><p class=\"muted\">No mail yet. Send an event that starts a journey.</p>"
            .into()
    } else {
        format!(
            "<h1>Outbox</h1><div class=\"table\"><table><tr><th>Time (UTC)</th><th>To</th>\
             <th>Subject</th><th>Template</th><th>Status</th></tr>{rows}</table></div>"
        )
    };
    Ok(page(StatusCode::OK, "Outbox", "", &body))
}

fn row(send: &SendRow) -> String {
    let reason = send
        .reason
        .as_deref()
        .map(|reason| format!(" <span class=\"muted\">{}</span>", escape(reason)));
    let subject = if send.subject.is_empty() {
        "(none)"
    } else {
        &send.subject
    };
    format!(
        "<tr><td class=\"time\">{}</td><td>{}</td><td><a href=\"/outbox/{}\">{}</a></td><td>{}</td>\
         <td><span class=\"tag\">{}</span>{}</td></tr>",
        send.created_at.format("%Y-%m-%d %H:%M:%S"),
        escape(&send.to_email),
        send.id,
        escape(subject),
        escape(&send.template_key),
        send.status,
        reason.unwrap_or_default(),
    )
}

/// Shows one mail.
pub async fn show_mail(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response, ApiError> {
    let (send, prepared) = find(&app, id).await?;
    let Some(mail) = &send.mail else {
        let reason = send.reason.as_deref().unwrap_or("unknown");
        let body = format!(
            "<p><a href=\"/outbox\">Outbox</a></p><h1>Not sent</h1><p>{}</p>",
            escape(reason)
        );
        return Ok(page(StatusCode::OK, "Not sent", "", &body));
    };
    let raw = prepared.filter(|prepared| prepared.content_type == "message/rfc822");
    let raw = raw.map(|_| format!(" · <a href=\"/outbox/{id}/raw\">raw message</a>"));
    let headers: String = mail
        .headers
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)))
        .collect();
    let body = format!(
        "<p><a href=\"/outbox\">Outbox</a>{}</p><h1>{}</h1>\
         <dl><dt>From</dt><dd>{}</dd><dt>To</dt><dd>{}</dd><dt>Status</dt><dd>{}</dd>{headers}</dl>\
         <iframe src=\"/outbox/{id}/html\" title=\"The mail\" sandbox></iframe>\
         <h1>Text part</h1><pre>{}</pre>",
        raw.unwrap_or_default(),
        escape(&mail.subject),
        escape(&mail.from),
        escape(&mail.to),
        send.status,
        escape(&mail.text),
    );
    Ok(page(StatusCode::OK, &escape(&mail.subject), "", &body))
}

/// The mail's own HTML, without scripts and without a way to reach this site.
pub async fn show_mail_html(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let (send, _) = find(&app, id).await?;
    let mail = send
        .mail
        .ok_or_else(|| ApiError::not_found("This mail was not rendered"))?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; font-src https:; frame-ancestors 'self'",
        ),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, mail.html).into_response())
}

/// The bytes handed to a provider that takes whole messages.
pub async fn show_mail_raw(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let (_, prepared) = find(&app, id).await?;
    let prepared = prepared
        .filter(|prepared| prepared.content_type == "message/rfc822")
        .ok_or_else(|| ApiError::not_found("This mail's provider does not take raw messages"))?;
    let disposition = format!("attachment; filename=\"{id}.eml\"");
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, prepared.body.0).into_response())
}

async fn find(
    app: &App,
    id: Uuid,
) -> Result<(SendRow, Option<hogsend_plugin_api::Prepared>), ApiError> {
    let mut conn = app.db.conn().await?;
    db::send_raw(&mut conn, SendId(id))
        .await?
        .ok_or_else(|| ApiError::not_found("No such mail"))
}
