//! Open and click tracking: the links and the image of a mail, fetched by people and machines.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use serde_json::{Map, json};
use uuid::Uuid;

use super::unsubscribe::message_page;
use crate::app::App;
use crate::http::ApiError;
use crate::http::wire::openapi::Routes;
use crate::http::wire::params::Path;
use crate::ids::SendId;
use crate::loops::item_failed;
use crate::mail::tracking::{self, Fetch};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(follow_link))
        .routes(routes!(show_pixel))
}

/// A transparent GIF of one pixel.
const GIF: [u8; 43] = *b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0\x21\xf9\x04\x01\0\0\0\0\
    \x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3b";
/// Characters stored of a client's user agent.
const SAID_MAX: usize = 300;
/// Headers with which a client marks a prefetch or preview.
const PURPOSES: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// Records a click and redirects to the link's original URL, and to no other.
#[utoipa::path(
    get, path = "/v1/t/c/{id}", tag = "recipients",
    params(("id" = String, Path, description = "The id of a link of one mail")),
    responses(
        (status = 302, description = "Redirect to the link's URL"),
        (status = 404, description = "A page: there is no such link", body = String, content_type = "text/html"),
        (status = 503, description = "A page: the database does not answer", body = String, content_type = "text/html"),
    ),
)]
pub async fn follow_link(
    State(app): State<App>,
    id: Result<Path<Uuid>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(id)) = id else {
        return unknown(&app);
    };
    match tracking::click(&app, id, fetch(&method, &headers)).await {
        Ok(Some(url)) => match location(&url) {
            Some(location) => {
                let headers = [
                    (header::LOCATION, location),
                    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                ];
                (StatusCode::FOUND, headers).into_response()
            }
            None => unknown(&app),
        },
        Ok(None) => unknown(&app),
        Err(error) => {
            item_failed("a link could not be looked up", &error);
            let texts = &app.config.texts;
            let (title, advice) = (&texts.link_waits, &texts.link_later);
            let mut answer = message_page(&app, StatusCode::SERVICE_UNAVAILABLE, title, advice);
            let wait = HeaderValue::from_static("30");
            answer.headers_mut().insert(header::RETRY_AFTER, wait);
            answer
        }
    }
}

/// Records an open and serves the image, whether or not the mail exists.
#[utoipa::path(
    get, path = "/v1/t/o/{id}", tag = "recipients",
    params(("id" = String, Path, description = "The id of a mail")),
    responses((status = 200, description = "A transparent pixel, whether or not the mail exists", content_type = "image/gif")),
)]
pub async fn show_pixel(
    State(app): State<App>,
    id: Result<Path<Uuid>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if let Ok(Path(id)) = id {
        let noted = tracking::open(&app, SendId(id), fetch(&method, &headers)).await;
        if let Err(error) = noted {
            item_failed("an open of a mail could not be recorded", &error);
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "image/gif"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, GIF).into_response()
}

fn fetch(method: &Method, headers: &HeaderMap) -> Fetch {
    let said = |name: &str| {
        let text = String::from_utf8_lossy(headers.get(name)?.as_bytes());
        Some(text.chars().take(SAID_MAX).collect::<String>())
    };
    let mut detail = Map::new();
    if let Some(agent) = said(header::USER_AGENT.as_str()) {
        detail.insert("userAgent".into(), json!(agent));
    }
    let purposes: Vec<String> = PURPOSES.iter().filter_map(|name| said(name)).collect();
    if !purposes.is_empty() {
        detail.insert("purpose".into(), json!(purposes.join(", ")));
    }
    Fetch {
        head: method == Method::HEAD,
        detail: detail.into(),
    }
}

/// The URL as a header value (RFC 3986 §2). Non-ASCII characters are percent-encoded as browsers do;
/// the rest is unchanged.
fn location(url: &str) -> Option<HeaderValue> {
    if url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return HeaderValue::from_str(url).ok();
    }
    HeaderValue::from_str(Url::parse(url).ok()?.as_str()).ok()
}

fn unknown(app: &App) -> Response {
    let texts = &app.config.texts;
    message_page(
        app,
        StatusCode::NOT_FOUND,
        &texts.link_broken,
        &texts.link_gone,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_out_as_it_was_written_or_as_a_browser_writes_it() {
        for (url, expected) in [
            (
                "https://x.test/a?b=1&c=%20#d",
                "https://x.test/a?b=1&c=%20#d",
            ),
            ("HTTP://X.test:80/../a?q={'}", "HTTP://X.test:80/../a?q={'}"),
            (
                "https://x.test/ü?q=日#é",
                "https://x.test/%C3%BC?q=%E6%97%A5#%C3%A9",
            ),
            ("https://bücher.test/", "https://xn--bcher-kva.test/"),
            (
                "https://x.test/a b\r\nSet-Cookie:c",
                "https://x.test/a%20bSet-Cookie:c",
            ),
        ] {
            assert_eq!(location(url).unwrap(), expected);
        }
    }
}
