//! The preference centre: a page by which recipients choose what they get. It works without
//! scripts.

use std::fmt::Write as _;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::ApiError;
use super::body::{Fields, Raw};
use super::page::{escape, page};
use super::unsubscribe::{Link, refused};
use crate::app::App;
use crate::contacts::{self, Decision};
use crate::db::{Contact, Preferences};
use crate::mail::{Action, Token};

/// Shows the choices and changes nothing.
#[utoipa::path(
    get, path = "/v1/email/preferences", tag = "recipients", params(Link),
    responses((status = 200, description = "A page with the choices", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html")),
)]
pub async fn show_preferences(
    State(app): State<App>,
    Query(link): Query<Link>,
) -> Result<Response, ApiError> {
    let token = match link.read(&app, &[Action::Manage]) {
        Ok(token) => token,
        Err(error) => return Ok(refused(error)),
    };
    let (people, preferences) = look(&app, &token).await?;
    Ok(show(&app, &link, &token, &people, &preferences, ""))
}

/// Saves the choices: a ticked `category` is wanted, one that is not is left; `all=unsubscribe`
/// leaves everything and `all=resubscribe` takes that back.
#[utoipa::path(
    post, path = "/v1/email/preferences", tag = "recipients", params(Link),
    request_body(content = Object, description = "`category` for each category that is wanted, or `all`", content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page, with what was saved", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html")),
)]
pub async fn save_preferences(
    State(app): State<App>,
    Query(link): Query<Link>,
    headers: axum::http::HeaderMap,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let token = match link.read(&app, &[Action::Manage]) {
        Ok(token) => token,
        Err(error) => return Ok(refused(error)),
    };
    let fields = Fields::read(&headers, body).await?;
    let (people, before) = look(&app, &token).await?;
    let decisions = match fields.first("all") {
        Some("unsubscribe") => vec![Decision::All { subscribed: false }],
        Some("resubscribe") => vec![Decision::All { subscribed: true }],
        _ => chosen(&app, &before, &fields),
    };
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    for person in &people {
        contacts::decide(&app, &mut tx, person.id, &decisions, now).await?;
    }
    app.db
        .commit_and_wake(tx, &super::unsubscribe::TOLD)
        .await?;
    let (people, preferences) = look(&app, &token).await?;
    let note = "<p class=\"note\" role=\"status\">Saved.</p>";
    Ok(show(&app, &link, &token, &people, &preferences, note))
}

/// Every box there was, ticked or not. Whoever ticks one wants mail again.
fn chosen(app: &App, before: &Preferences, fields: &Fields) -> Vec<Decision> {
    let choices = contacts::choices(app, before);
    let ticked = fields.all("category");
    let mut decisions: Vec<Decision> = choices
        .into_iter()
        .map(|choice| Decision::Category {
            subscribed: ticked.contains(&choice.id.as_str()),
            id: choice.id,
        })
        .collect();
    if !ticked.is_empty() {
        decisions.push(Decision::All { subscribed: true });
    }
    decisions
}

async fn look(app: &App, token: &Token) -> Result<(Vec<Contact>, Preferences), ApiError> {
    let mut conn = app.db.conn().await?;
    let people = contacts::named(
        &mut conn,
        token.external_id.as_deref(),
        token.email.as_deref(),
    )
    .await?;
    let preferences = match people.first() {
        Some(person) => contacts::preferences(&mut conn, person.id).await?,
        None => Preferences::default(),
    };
    Ok((people, preferences))
}

fn show(
    app: &App,
    link: &Link,
    token: &Token,
    people: &[Contact],
    preferences: &Preferences,
    note: &str,
) -> Response {
    if people.is_empty() {
        let body = "<h1>Nothing to choose</h1><p>We know nothing about you any more.</p>";
        return page(StatusCode::OK, "E-mail preferences", "card", body);
    }
    let action = format!("?token={}", escape(&link.token));
    let whom = escape(token.email.as_deref().unwrap_or("you"));
    let mut boxes = String::new();
    for choice in contacts::choices(app, preferences) {
        let ticked = if choice.subscribed { " checked" } else { "" };
        let _ = write!(
            boxes,
            "<label class=\"choice\"><input type=\"checkbox\" name=\"category\" value=\"{}\"{ticked}> {}</label>",
            escape(&choice.id),
            escape(&choice.title)
        );
    }
    let (state, button, value) = if preferences.unsubscribed_all {
        (
            "<p>You are unsubscribed from everything.</p>",
            "Receive e-mails again",
            "resubscribe",
        )
    } else {
        ("", "Unsubscribe from everything", "unsubscribe")
    };
    let body = format!(
        "<h1>E-mail preferences</h1><p>What shall we send to <b>{whom}</b>?</p>{note}{state}\
         <form method=\"post\" action=\"{action}\">\
         <fieldset><legend class=\"hidden\">Kinds of e-mails</legend>{boxes}</fieldset>\
         <button>Save</button></form>\
         <form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"all\" value=\"{value}\">\
         <button class=\"quiet\">{button}</button></form>\
         <p class=\"muted\">E-mails about your own account, such as a new password, come in any case.</p>"
    );
    page(StatusCode::OK, "E-mail preferences", "card", &body)
}
