//! What a plugin may ask of the host.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body::Body;
use crate::replay::Replay;
use crate::step::StepError;

/// Kinds of requests, as they stand in [`Command::kind`](crate::Command::kind).
pub mod ask {
    /// [`HttpRequest`](super::HttpRequest) → [`HttpResponse`](super::HttpResponse).
    pub const HTTP: &str = "http";
    /// `{key}` → string or null.
    pub const CACHE_GET: &str = "cache_get";
    /// `{key, value, ttl_ms}` → null.
    pub const CACHE_PUT: &str = "cache_put";
    /// `{name, body}` → null.
    pub const FILE_PUT: &str = "file_put";
}

/// The outside world, lent for one call.
#[derive(Clone)]
pub struct Host(Replay);

impl Host {
    pub(crate) fn new(replay: Replay) -> Self {
        Self(replay)
    }

    /// Sends an HTTP request. Any status is an answer; an error means there was none.
    /// The host follows no redirects and allows only the hosts of the manifest.
    pub async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let args = serde_json::to_value(&request).unwrap_or(Value::Null);
        let value = self.0.step(ask::HTTP, args).await?;
        serde_json::from_value(value).map_err(|error| HttpError {
            kind: HttpErrorKind::Refused,
            message: error.to_string(),
        })
    }

    /// A value put earlier under this key, by any process. Errors and an absent cache read as
    /// nothing.
    pub async fn cache_get(&self, key: &str) -> Option<String> {
        let value = self.0.step(ask::CACHE_GET, json!({ "key": key })).await;
        value.ok()?.as_str().map(str::to_owned)
    }

    /// Keeps a value for `ttl`. Losing it later is not an error.
    pub async fn cache_put(&self, key: &str, value: &str, ttl: std::time::Duration) {
        let args = json!({ "key": key, "value": value, "ttl_ms": ttl.as_millis() as u64 });
        let _ = self.0.step(ask::CACHE_PUT, args).await;
    }

    /// Writes a whole file into this plugin's folder of the data directory, atomically. `name` is
    /// a plain file name. Writing the same name again replaces the file.
    pub async fn file_put(&self, name: &str, body: &Body) -> Result<(), StepError> {
        let args = json!({ "name": name, "body": body });
        self.0.step(ask::FILE_PUT, args).await.map(|_| ())
    }

    /// When the call began, or the last answer arrived.
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.0.now()
    }
}

/// Methods a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// A request for the host to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    pub method: HttpMethod,
    /// Absolute, `http` or `https`.
    pub url: String,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: Body,
    /// Bound for the whole exchange, in milliseconds; the host has one of its own as well.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

impl HttpRequest {
    pub fn new(method: HttpMethod, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Body::default(),
            timeout_ms: None,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub fn timeout(mut self, bound: std::time::Duration) -> Self {
        self.timeout_ms = Some(bound.as_millis() as u64);
        self
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    pub status: u16,
    /// Names in lower case.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: Body,
}

impl HttpResponse {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Milliseconds of `retry-after`, in seconds or as a date (RFC 9110 §10.2.3).
    pub fn retry_after_ms(&self, now: chrono::DateTime<chrono::Utc>) -> Option<u64> {
        let asked = self.header("retry-after")?;
        self.seconds_ms("retry-after").or_else(|| {
            let at = chrono::DateTime::parse_from_rfc2822(asked.trim()).ok()?;
            // A date that has passed is a wish for no wait.
            Some((at.to_utc() - now).num_milliseconds().max(0).unsigned_abs())
        })
    }

    /// A header that holds seconds, in milliseconds.
    pub fn seconds_ms(&self, name: &str) -> Option<u64> {
        let seconds: f64 = self.header(name)?.trim().parse().ok()?;
        let sound = seconds.is_finite() && seconds >= 0.0;
        // Rounded up: a moment early is another refusal.
        sound.then(|| (seconds * 1_000.0).ceil() as u64)
    }

    /// The body as JSON, without what cannot be stored ([`crate::json`]).
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        crate::json::from_slice(self.body.as_slice())
    }
}

/// What is known about a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpErrorKind {
    /// Not sent: the host refused it (not an allowed host, malformed URL).
    Refused,
    /// Not sent: no connection could be made.
    Connect,
    /// May have been sent and acted on: the answer was lost or late.
    Lost,
}

/// No HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    pub kind: HttpErrorKind,
    pub message: String,
}

impl HttpError {
    /// The form in which the host records it.
    pub fn into_step_error(self) -> StepError {
        let code = match self.kind {
            HttpErrorKind::Refused => "http_refused",
            HttpErrorKind::Connect => "http_connect",
            HttpErrorKind::Lost => "http_lost",
        };
        StepError::new(code, self.message)
    }
}

impl From<StepError> for HttpError {
    fn from(error: StepError) -> Self {
        let kind = match error.code.as_str() {
            "http_connect" => HttpErrorKind::Connect,
            // An answer that is too large to keep came after the request.
            "http_lost" | "result_too_large" => HttpErrorKind::Lost,
            _ => HttpErrorKind::Refused,
        };
        Self {
            kind,
            message: error.message,
        }
    }
}
