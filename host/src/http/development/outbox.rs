//! The outbox: a development page that shows the mails of this installation.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hogsend_plugin_api::Prepared;

use super::{Here, page};
use crate::app::App;
use crate::db::{self, SendRow};
use crate::http::ApiError;
use crate::http::wire::page::escape;
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
        "<h1>Outbox</h1><p>No mail yet. Send an event that starts a journey: <a href=\"/\">the start \
         page</a> has one to try.</p>"
            .into()
    } else {
        format!(
            "<h1>Outbox</h1><p class=\"soft\">The newest {SHOWN} mails. Times are UTC.</p>\
             <table class=\"rows\"><thead><tr><th scope=\"col\">Time</th><th scope=\"col\">To</th>\
             <th scope=\"col\">Subject</th><th scope=\"col\">Template</th><th scope=\"col\">Status</th>\
             </tr></thead><tbody>{rows}</tbody></table>"
        )
    };
    Ok(page(StatusCode::OK, Here::Outbox, "Outbox", &body))
}

fn row(send: &SendRow) -> String {
    let reason = send
        .reason
        .as_deref()
        .map(|reason| format!(" <span class=\"soft\">{}</span>", escape(reason)));
    let subject = if send.subject.is_empty() {
        "(none)"
    } else {
        &send.subject
    };
    format!(
        "<tr><td class=\"time\">{}</td><td data-name=\"To\">{}</td>\
         <td class=\"main\"><a href=\"/outbox/{}\">{}</a></td><td data-name=\"Template\">{}</td>\
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
pub async fn show_mail(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let Some((send, prepared)) = find(&app, &id).await? else {
        return Ok(no_such_mail());
    };
    let id = send.id;
    let Some(mail) = &send.mail else {
        let reason = send.reason.as_deref().unwrap_or("unknown");
        let body = format!(
            "<h1>Not sent</h1><p>This mail was not rendered: <code>{}</code>. \
             docs/reference/mail.md explains each reason.</p><p><a href=\"/outbox\">All mails</a></p>",
            escape(reason)
        );
        return Ok(page(StatusCode::OK, Here::Outbox, "Not sent", &body));
    };
    let raw = prepared.filter(|prepared| prepared.content_type == "message/rfc822");
    let raw = raw.map(|_| format!(" · <a href=\"/outbox/{id}/raw\">Raw message</a>"));
    let headers: String = mail
        .headers
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)))
        .collect();
    let body = format!(
        "<h1>{}</h1><p><a href=\"/outbox\">All mails</a> · <a href=\"/outbox/{id}/html\">The mail \
         alone</a>{}</p>\
         <dl><dt>From</dt><dd>{}</dd><dt>To</dt><dd>{}</dd><dt>Status</dt><dd>{}</dd>{headers}</dl>\
         <p class=\"soft\">Links open in a new tab, and work.</p>\
         <iframe src=\"/outbox/{id}/html\" title=\"The mail\" \
         sandbox=\"allow-popups allow-popups-to-escape-sandbox\"></iframe>\
         <h2>Text part</h2><pre tabindex=\"0\">{}</pre>",
        escape(&mail.subject),
        raw.unwrap_or_default(),
        escape(&mail.from),
        escape(&mail.to),
        send.status,
        escape(&mail.text),
    );
    Ok(page(
        StatusCode::OK,
        Here::Outbox,
        &escape(&mail.subject),
        &body,
    ))
}

/// Shows the HTML of a mail, without scripts and isolated from this site.
pub async fn show_mail_html(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let found = find(&app, &id).await?;
    let Some(mail) = found.and_then(|(send, _)| send.mail) else {
        return Ok(no_such_mail());
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; font-src https:; frame-ancestors 'self'",
        ),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, in_new_tabs(&mail.html)).into_response())
}

/// Makes the links of a mail open in a new tab, since the frame's sandbox blocks them inside it.
fn in_new_tabs(html: &str) -> String {
    const BASE: &str = "<base target=\"_blank\">";
    let lower = html.to_ascii_lowercase();
    let head = lower.find("<head").and_then(|head| {
        let rest = lower.get(head..)?;
        Some(head + rest.find('>')? + 1)
    });
    match head.and_then(|at| html.split_at_checked(at)) {
        Some((before, after)) => format!("{before}{BASE}{after}"),
        None => format!("{BASE}{html}"),
    }
}

/// Downloads the message as it was passed to a provider that takes raw messages.
pub async fn show_mail_raw(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let found = find(&app, &id).await?;
    let raw = found.and_then(|(send, prepared)| {
        let raw = prepared.filter(|prepared| prepared.content_type == "message/rfc822")?;
        Some((send.id, raw))
    });
    let Some((id, prepared)) = raw else {
        return Ok(no_such_mail());
    };
    let disposition = format!("attachment; filename=\"{id}.eml\"");
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, prepared.body.0).into_response())
}

/// The mail of this id, if it exists.
async fn find(app: &App, id: &str) -> Result<Option<(SendRow, Option<Prepared>)>, ApiError> {
    let Ok(id) = id.parse() else {
        return Ok(None);
    };
    let mut conn = app.db.conn().await?;
    Ok(db::send_raw(&mut conn, SendId(id)).await?)
}

fn no_such_mail() -> Response {
    let body = "<h1>No such mail</h1><p>The mail was erased with its contact or was never rendered, its \
                content was deleted because of its age, or the link is wrong. <a href=\"/outbox\">All mails</a></p>";
    page(StatusCode::NOT_FOUND, Here::Outbox, "No such mail", body)
}
