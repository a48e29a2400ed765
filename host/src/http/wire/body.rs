//! Request bodies.

use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use hogsend_plugin_api::json;
use serde::de::DeserializeOwned;

use crate::foreign;
use crate::foreign::Issue;
use crate::http::ApiError;

/// Bodies above this many bytes are parsed on a blocking thread.
const READ_AT_ONCE: usize = 32 * 1024;
/// The largest body in bytes, unless a route allows more.
pub const BODY_MAX: usize = 1024 * 1024;

/// The raw bytes of a body, within the route's size limit.
pub struct Raw(pub Bytes);

impl Raw {
    /// Reads a body of at most `max` bytes.
    pub async fn read(body: Body, max: usize) -> Result<Self, ApiError> {
        match axum::body::to_bytes(body, max).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(error) if is_too_large(&error) => {
                let message = format!("The body is larger than {} KiB", max / 1024);
                Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
            }
            Err(_) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "The body did not arrive whole",
            )),
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        Self::read(request.into_body(), BODY_MAX).await
    }
}

/// A JSON body of type `T`. Unknown fields are ignored.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if kind != "application/json"
            && !(kind.starts_with("application/") && kind.ends_with("+json"))
        {
            let message = "Send the body as JSON, with 'Content-Type: application/json'";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let read = if bytes.len() > READ_AT_ONCE {
            let read = tokio::task::spawn_blocking(move || parse(&bytes)).await;
            read.map_err(|error| ApiError::internal(&error))?
        } else {
            parse(&bytes)
        };
        read.map(Self)
            .map_err(|issue| ApiError::validation(&[issue]))
    }
}

/// Parses a JSON object; the issue names the field that does not fit. NUL and lone surrogates become
/// U+FFFD.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Issue> {
    let bytes = &*json::repaired(bytes);
    // serde would also read a struct from an array, by position.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(
            match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
                Ok(_) => Issue::new("", "The body must be a JSON object"),
                Err(error) => Issue::new("", format!("The body is not valid JSON: {error}")),
            },
        );
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        let cause = error.into_inner();
        if cause.is_data() {
            let text = cause.to_string();
            // The path says where; line and column in one-line JSON do not help.
            let text = text
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            match text.strip_prefix("missing field `") {
                Some(field) => {
                    let field = field.trim_end_matches('`');
                    let dot = if path.is_empty() { "" } else { "." };
                    Issue::new(&format!("{path}{dot}{field}"), "is required")
                }
                None => Issue::new(&path, text),
            }
        } else {
            Issue::new("", format!("The body is not valid JSON: {cause}"))
        }
    })?;
    reader
        .end()
        .map_err(|error| Issue::new("", format!("The body is not valid JSON: {error}")))?;
    Ok(value)
}

/// The fields of a form, in either encoding. Any other body has none.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578).
    pub async fn read(headers: &HeaderMap, body: Bytes) -> Result<Self, ApiError> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let unreadable = || ApiError::new(StatusCode::BAD_REQUEST, "The form cannot be read");
        let mut request = Request::new(axum::body::Body::from(body));
        *request.method_mut() = axum::http::Method::POST;
        if let Some(value) = headers.get(header::CONTENT_TYPE) {
            request
                .headers_mut()
                .insert(header::CONTENT_TYPE, value.clone());
        }
        if kind.to_ascii_lowercase().starts_with("multipart/form-data") {
            let form = Multipart::from_request(request, &()).await;
            let mut form = form.map_err(|_| unreadable())?;
            let mut fields = Vec::new();
            while let Some(field) = form.next_field().await.map_err(|_| unreadable())? {
                let name = field.name().unwrap_or_default().to_owned();
                fields.push((name, field.text().await.map_err(|_| unreadable())?));
            }
            return Ok(Self::clean(fields));
        }
        if kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
        {
            let form = Form::<Vec<(String, String)>>::from_request(request, &()).await;
            return form
                .map(|Form(fields)| Self::clean(fields))
                .map_err(|_| unreadable());
        }
        Ok(Self(Vec::new()))
    }

    fn clean(mut fields: Vec<(String, String)>) -> Self {
        for (name, value) in &mut fields {
            foreign::cleaned(name);
            foreign::cleaned(value);
        }
        Self(fields)
    }

    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The idempotency key of a request: the header `Idempotency-Key`, or else the body's key.
pub fn idempotency_key(
    headers: &HeaderMap,
    body: Option<&str>,
) -> Result<Option<String>, ApiError> {
    let (path, key) = match headers.get("idempotency-key").map(|key| key.to_str()) {
        Some(Ok(key)) => ("Idempotency-Key", key),
        Some(Err(_)) => {
            let issue = Issue::new("Idempotency-Key", "must be plain ASCII text");
            return Err(ApiError::validation(&[issue]));
        }
        None => match body {
            Some(key) => ("idempotencyKey", key),
            None => return Ok(None),
        },
    };
    if key.trim().is_empty() || key.chars().count() > 256 {
        let issue = Issue::new(path, "must have 1 to 256 characters");
        return Err(ApiError::validation(&[issue]));
    }
    Ok(Some(key.to_owned()))
}
