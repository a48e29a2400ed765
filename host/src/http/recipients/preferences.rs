//! The preference centre: a page on which recipients choose the mail they get. It works without
//! scripts.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::unsubscribe::{Link, card, refused, sender};
use crate::app::App;
use crate::contacts::consent::{self, Decision, Grounds, Source};
use crate::db::Preferences;
use crate::http::ApiError;
use crate::http::wire::body::{Fields, Raw};
use crate::http::wire::openapi::Routes;
use crate::http::wire::page::{escape, fill};
use crate::ingest;
use crate::mail::{Recipient, recipient};
use crate::signed_link::{Action, Token};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(show_preferences, save_preferences))
}

/// Shows the preference centre. Changes nothing.
#[utoipa::path(
    get, path = "/v1/email/preferences", tag = "recipients", params(Link),
    responses((status = 200, description = "A page with the choices", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html"), (status = 503, description = "A page: the database does not answer", body = String, content_type = "text/html")),
)]
pub async fn show_preferences(State(app): State<App>, link: Link) -> Result<Response, ApiError> {
    let token = match link.read(&app, &[Action::Manage]) {
        Ok(token) => token,
        Err(error) => return Ok(refused(&app, error)),
    };
    let (reader, preferences) = look(&app, &token).await?;
    Ok(show(&app, &link, &reader, &preferences, ""))
}

/// Saves the choices of the preference centre. The recipient stays on the checked categories and
/// leaves the others; `all=unsubscribe` leaves everything and `all=resubscribe` undoes that.
#[utoipa::path(
    post, path = "/v1/email/preferences", tag = "recipients", params(Link),
    request_body(content = Object, description = "`category` for each wanted category, or `all`", content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page with the saved choices", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html"), (status = 503, description = "A page: the database does not answer", body = String, content_type = "text/html")),
)]
pub async fn save_preferences(
    State(app): State<App>,
    link: Link,
    headers: axum::http::HeaderMap,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let token = match link.read(&app, &[Action::Manage]) {
        Ok(token) => token,
        Err(error) => return Ok(refused(&app, error)),
    };
    let fields = Fields::read(&headers, body).await?;
    let (reader, before) = look(&app, &token).await?;
    let decisions = match fields.first("all") {
        Some("unsubscribe") => vec![Decision::All { subscribed: false }],
        Some("resubscribe") => vec![Decision::All { subscribed: true }],
        _ => chosen(&app, &before, &fields),
    };
    let grounds = Grounds::new(Source::Page, "the page of preferences");
    ingest::change_consent(&app, &reader.subject, &decisions, &grounds).await?;
    let (reader, preferences) = look(&app, &token).await?;
    let note = format!(
        "<p class=\"note\" role=\"status\">{}</p>",
        escape(&app.config.texts.saved)
    );
    Ok(show(&app, &link, &reader, &preferences, &note))
}

/// A decision for every checkbox that changed. Checking a box after unsubscribing from everything
/// subscribes to that category only.
fn chosen(app: &App, before: &Preferences, fields: &Fields) -> Vec<Decision> {
    let ticked = fields.all("category");
    let again = before.unsubscribed_all && !ticked.is_empty();
    let mut decisions: Vec<Decision> = consent::choices(app.catalog().lists(), before)
        .into_iter()
        .map(|choice| (ticked.contains(&choice.id.as_str()), choice))
        .filter(|(wanted, choice)| again || *wanted != choice.subscribed)
        .map(|(subscribed, choice)| Decision::Category {
            subscribed,
            id: choice.id,
        })
        .collect();
    if again {
        decisions.push(Decision::All { subscribed: true });
    }
    decisions
}

async fn look(app: &App, token: &Token) -> Result<(Recipient, Preferences), ApiError> {
    let mut conn = app.db.conn().await?;
    let reader = recipient(app, &mut conn, token).await?;
    let preferences = reader.preferences(&mut conn).await?;
    Ok((reader, preferences))
}

fn show(
    app: &App,
    link: &Link,
    reader: &Recipient,
    preferences: &Preferences,
    note: &str,
) -> Response {
    let texts = &app.config.texts;
    if !reader.is_known() {
        let body = format!(
            "<h1>{}</h1><p>{}</p>{}",
            escape(&texts.nothing_to_choose),
            escape(&texts.nothing_known),
            sender(app)
        );
        return card(app, StatusCode::OK, &texts.preferences, &body);
    }
    let action = format!("?token={}", escape(&link.token));
    let whom = escape(reader.email.as_deref().unwrap_or(&texts.address_unknown));
    let whom = format!("<b>{whom}</b>");
    let question = fill(&texts.preferences_question, &[("address", &whom)]);
    let mut boxes = String::new();
    for choice in consent::choices(app.catalog().lists(), preferences) {
        let ticked = if choice.subscribed { " checked" } else { "" };
        let told = texts.lists.get(&choice.id);
        let title = told.map_or(&choice.title, |told| &told.name);
        let more = match told.map_or(&*choice.description, |told| &told.description) {
            "" => String::new(),
            text => format!("<br><small>{}</small>", escape(text)),
        };
        let _ = write!(
            boxes,
            "<label class=\"choice\"><input type=\"checkbox\" name=\"category\" value=\"{}\"{ticked}> \
             <span>{}{more}</span></label>",
            escape(&choice.id),
            escape(title)
        );
    }
    let (state, button, value) = if preferences.unsubscribed_all {
        let state = format!("<p>{}</p>", escape(&texts.left_everything));
        (state, &texts.join_everything, "resubscribe")
    } else {
        (String::new(), &texts.leave_everything, "unsubscribe")
    };
    let body = format!(
        "<h1>{}</h1><p>{question}</p>{note}{state}\
         <form method=\"post\" action=\"{action}\">\
         <fieldset><legend class=\"hidden\">{}</legend>{boxes}</fieldset>\
         <button>{}</button></form>\
         <form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"all\" value=\"{value}\">\
         <button class=\"quiet\">{}</button></form>\
         <p class=\"muted\">{}</p>{}",
        escape(&texts.preferences),
        escape(&texts.kinds),
        escape(&texts.save),
        escape(button),
        escape(&texts.account_notice),
        sender(app)
    );
    card(app, StatusCode::OK, &texts.preferences, &body)
}
