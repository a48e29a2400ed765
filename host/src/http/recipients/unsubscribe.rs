//! Unsubscribing by the signed link in a mail, and subscribing again.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use hogsend_mime as mime;
use hogsend_render::Brand;
use utoipa::IntoParams;

use crate::app::App;
use crate::catalog::title;
use crate::contacts::consent::{Decision, Grounds, Source};
use crate::db::Conn;
use crate::http::ApiError;
use crate::http::wire::body::Raw;
use crate::http::wire::openapi::Routes;
use crate::http::wire::page::{escape, fill, page_in};
use crate::ingest;
use crate::mail::{Recipient, recipient};
use crate::signed_link::{Action, Token, TokenError, Whom};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(show_unsubscribe, unsubscribe))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Link {
    /// The signed token of the link.
    pub(super) token: String,
}

/// Accepts any query, so that a link that a mail program damaged is answered with a page.
impl<S: Send + Sync> FromRequestParts<S> for Link {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let token = pairs.find(|(name, _)| name == "token");
        Ok(Self {
            token: token.map_or_else(String::new, |(_, token)| token.into_owned()),
        })
    }
}

impl Link {
    /// The token, if it is valid for one of these actions.
    pub(super) fn read(&self, app: &App, actions: &[Action]) -> Result<Token, TokenError> {
        let token = app.links.verify(&self.token, app.clock.now())?;
        if actions.contains(&token.action) {
            Ok(token)
        } else {
            Err(TokenError::Invalid)
        }
    }
}

/// The actions of links to this page.
const ACTIONS: [Action; 2] = [Action::Unsubscribe, Action::Resubscribe];

/// Shows a page with one button. Changes nothing, since link scanners follow links.
#[utoipa::path(
    get, path = "/v1/email/unsubscribe", tag = "recipients", params(Link),
    responses((status = 200, description = "A page with one button", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html"), (status = 503, description = "A page: the database does not answer", body = String, content_type = "text/html")),
)]
pub async fn show_unsubscribe(State(app): State<App>, link: Link) -> Result<Response, ApiError> {
    let token = match link.read(&app, &ACTIONS) {
        Ok(token) => token,
        Err(error) => return Ok(refused(&app, error)),
    };
    let mut conn = app.db.conn().await?;
    let reader = recipient(&app, &mut conn, &token).await?;
    let category = category(&app, &mut conn, &reader, &token).await?;
    let wants = reader.preferences(&mut conn).await?;
    drop(conn);
    let gets = match &category {
        Some(category) => wants.allow(category),
        None => !wants.unsubscribed_all,
    };
    let texts = &app.config.texts;
    if token.action == Action::Unsubscribe && !gets {
        // No question whose answer is already stored.
        let body = format!(
            "<h1>{}</h1><p>{}</p>{}{}",
            escape(&texts.left),
            notice(&app, &texts.left_notice, &reader, category.as_deref()),
            choose(&app, &reader),
            sender(&app),
        );
        return Ok(card(&app, StatusCode::OK, &texts.left, &body));
    }
    let (title, button, text) = match token.action {
        Action::Resubscribe => (&texts.join_question, &texts.join, &texts.join_notice),
        _ => (&texts.leave_question, &texts.leave, &texts.leave_notice),
    };
    let body = format!(
        "<h1>{}</h1><p>{}</p>\
         <form method=\"post\" action=\"?token={}\"><button>{}</button></form>{}{}",
        escape(title),
        notice(&app, text, &reader, category.as_deref()),
        escape(&link.token),
        escape(button),
        choose(&app, &reader),
        sender(&app),
    );
    Ok(card(&app, StatusCode::OK, button, &body))
}

/// Unsubscribes the recipient or, with a link created for it, subscribes them again.
///
/// The body is ignored: mail clients post `List-Unsubscribe=One-Click` as a form, multipart or not,
/// without cookies, and follow no redirect (RFC 8058 §3.1, §3.2).
#[utoipa::path(
    post, path = "/v1/email/unsubscribe", tag = "recipients", params(Link),
    responses((status = 200, description = "A page that confirms it", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html"), (status = 503, description = "A page: the database does not answer", body = String, content_type = "text/html")),
)]
pub async fn unsubscribe(
    State(app): State<App>,
    link: Link,
    body: Result<Raw, ApiError>,
) -> Result<Response, ApiError> {
    let token = match link.read(&app, &ACTIONS) {
        Ok(token) => token,
        Err(error) => return Ok(refused(&app, error)),
    };
    let subscribed = token.action == Action::Resubscribe;
    let now = app.clock.now();
    let mut conn = app.db.conn().await?;
    let reader = recipient(&app, &mut conn, &token).await?;
    let category = category(&app, &mut conn, &reader, &token).await?;
    drop(conn);
    let decision = match category.clone() {
        Some(id) => Decision::Category { id, subscribed },
        None => Decision::All { subscribed },
    };
    let grounds = match body {
        Ok(Raw(body)) if is_one_click(&body) => {
            Grounds::new(Source::OneClick, "List-Unsubscribe=One-Click")
        }
        _ => Grounds::new(Source::Page, "the button of the page"),
    };
    ingest::change_consent(&app, &reader.subject, &[decision], &grounds).await?;
    let wants = reader.preferences(&mut *app.db.conn().await?).await?;
    tracing::info!(category, subscribed, "changed a subscription by link");
    let gets = match &category {
        Some(category) => wants.allow(category),
        None => !wants.unsubscribed_all,
    };
    let texts = &app.config.texts;
    let (title, text, back) = match (gets, wants.unsubscribed_all) {
        (true, _) => (&texts.joined, &texts.joined_notice, Action::Unsubscribe),
        (false, true) if subscribed => (
            &texts.left_everything_still,
            &texts.left_notice,
            Action::Unsubscribe,
        ),
        (false, _) => (&texts.left, &texts.left_notice, Action::Resubscribe),
    };
    let undo = app.links.sign(
        &Token {
            whom: Whom::Ids(reader.ids()),
            action: back,
            category: token.category.clone(),
        },
        now,
    );
    let body = format!(
        "<h1>{}</h1><p>{}</p>\
         <form method=\"post\" action=\"?token={undo}\"><button class=\"quiet\">{}</button></form>{}{}",
        escape(title),
        notice(&app, text, &reader, category.as_deref()),
        escape(&texts.undo),
        choose(&app, &reader),
        sender(&app),
    );
    Ok(card(&app, StatusCode::OK, title, &body))
}

/// The category of a link. A category that no longer exists counts as everything.
async fn category(
    app: &App,
    conn: &mut Conn,
    reader: &Recipient,
    token: &Token,
) -> Result<Option<String>, ApiError> {
    match &token.category {
        Some(category) => Ok(reader.category(app, conn, category).await?),
        None => Ok(None),
    }
}

/// Whether a mail client posted this for one-click unsubscribing, as a form of either kind
/// (RFC 8058 §3.2).
fn is_one_click(body: &[u8]) -> bool {
    const MARK: &[u8] = b"One-Click";
    body.windows(MARK.len()).any(|part| part == MARK)
}

/// A page with a message and a link to write to the sender.
pub(super) fn message_page(app: &App, status: StatusCode, title: &str, advice: &str) -> Response {
    let body = format!(
        "<h1>{}</h1><p>{}</p>{}",
        escape(title),
        escape(advice),
        sender(app)
    );
    card(app, status, title, &body)
}

/// Answers recipients with a page when a request fails on our side, whatever the cause.
pub async fn failing_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if !response.status().is_server_error() {
        return response;
    }
    let texts = &app.config.texts;
    let mut page = message_page(
        &app,
        response.status(),
        &texts.link_waits,
        &texts.link_later,
    );
    if let Some(wait) = response.headers().get(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    page
}

/// A page for recipients, in the language of `PAGE_TEXTS`.
pub(super) fn card(app: &App, status: StatusCode, title: &str, body: &str) -> Response {
    let lang = escape(&app.config.texts.lang);
    let config = &app.config;
    let body = branded(&config.brand, &config.postal_address, body);
    page_in(&lang, status, &escape(title), "card", &body)
}

/// Adds the product's logo or name, its color and its postal address to a page.
fn branded(brand: &Brand, postal_address: &str, body: &str) -> String {
    let name = escape(&brand.name);
    let shown = match &*brand.logo_url {
        "" => name,
        logo => Cow::from(format!(
            "<img src=\"{}\" alt=\"{name}\" width=\"120\">",
            escape(logo)
        )),
    };
    let head = match (shown.is_empty(), &*brand.url) {
        (true, _) => String::new(),
        (false, "") => format!("<p class=\"brand\">{shown}</p>"),
        (false, url) => format!(
            "<p class=\"brand\"><a href=\"{}\">{shown}</a></p>",
            escape(url)
        ),
    };
    let foot = match postal_address {
        "" => String::new(),
        address => format!("<p class=\"muted\"><small>{}</small></p>", escape(address)),
    };
    // The colors were parsed, so they need no escaping.
    let (color, on) = (&brand.color, &brand.on_color);
    let (link, dark) = (&brand.link_color, &brand.link_color_dark);
    format!(
        "<style>:root {{ --accent: {color}; --on-accent: {on}; --link: {link}; }} \
         @media (prefers-color-scheme: dark) {{ :root {{ --link: {dark}; }} }}</style>\
         {head}{body}{foot}"
    )
}

/// Fills the recipient and the kind of mail into a sentence.
fn notice(app: &App, text: &str, reader: &Recipient, category: Option<&str>) -> String {
    let texts = &app.config.texts;
    let address = escape(reader.email.as_deref().unwrap_or(&texts.address_unknown));
    let mail = match category {
        Some(id) => {
            let name = format!("<b>{}</b>", escape(list_name(app, id)));
            fill(&texts.list_mail, &[("list", &name)]).into()
        }
        None => escape(&texts.all_mail),
    };
    fill(text, &[("address", &address), ("mail", &mail)])
}

/// The name of a list: from `PAGE_TEXTS`, from the plugin, or derived from its id.
pub(super) fn list_name(app: &App, id: &str) -> String {
    if let Some(told) = app.config.texts.lists.get(id) {
        return told.name.clone();
    }
    let catalog = app.catalog();
    let known = catalog.lists().iter().find(|list| list.id == id);
    known.map_or_else(|| title(id), |list| list.name.clone())
}

/// The name of the sender, with a link to write to them.
pub(super) fn sender(app: &App) -> String {
    let Ok(from) = mime::name_addr("sender", &app.config.senders.lifecycle) else {
        return String::new();
    };
    // Characters with a special meaning in a `mailto:` link (RFC 6068 §2).
    let to = from.address.replace('%', "%25").replace('?', "%3F");
    let to = to.replace('&', "%26").replace('#', "%23");
    let own = Some(&app.config.brand.name).filter(|name| !name.is_empty());
    let name = own.or(from.name.as_ref()).unwrap_or(&from.address);
    let texts = &app.config.texts;
    let name = format!("<b>{}</b>", escape(name));
    format!(
        "<p><span class=\"muted\">{}</span> <a href=\"mailto:{}\">{}</a></p>",
        fill(&texts.sender, &[("sender", &name)]),
        escape(&to),
        escape(&texts.write)
    )
}

/// The link to the preference centre.
fn choose(app: &App, reader: &Recipient) -> String {
    let manage = app.links.sign(
        &Token {
            whom: Whom::Ids(reader.ids()),
            action: Action::Manage,
            category: None,
        },
        app.clock.now(),
    );
    let text = escape(&app.config.texts.choose);
    format!("<p><a href=\"preferences?token={manage}\">{text}</a></p>")
}

pub(super) fn refused(app: &App, error: TokenError) -> Response {
    let texts = &app.config.texts;
    let why = match error {
        TokenError::Invalid => &texts.link_invalid,
        TokenError::Expired => &texts.link_expired,
    };
    let body = format!(
        "<h1>{}</h1><p>{}</p><p>{}</p>{}",
        escape(&texts.link_broken),
        escape(why),
        escape(&texts.link_advice),
        sender(app)
    );
    card(app, StatusCode::BAD_REQUEST, &texts.link_broken, &body)
}
