//! The requests a plugin may send to the host.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body::Body;
use crate::replay::Replay;
use crate::step::StepError;

/// Kinds of requests, stored in [`Command::kind`](crate::Command::kind), with input → output.
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

/// Access to the outside world, for the duration of one call.
#[derive(Clone)]
pub struct Host {
    replay: Replay,
    deadline: Option<DateTime<Utc>>,
}

/// How much a line in the log matters. One of a later version counts as [`LogLevel::Info`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogLevel {
    /// Something is broken; an operator must act.
    Error,
    /// Something is wrong but the plugin copes.
    Warn,
    /// For looking for the cause of a problem.
    Debug,
    /// Worth knowing.
    #[default]
    #[serde(other)]
    Info,
}

/// A line for the host's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogLine {
    /// How much it matters.
    #[serde(default)]
    pub level: LogLevel,
    /// What it says.
    pub text: String,
}

impl Host {
    pub(crate) fn new(replay: Replay, deadline: Option<DateTime<Utc>>) -> Self {
        Self { replay, deadline }
    }

    /// Writes a line to the host's log, with the plugin's id. The host writes each line once, however
    /// often it runs the code, and at most [`LOG_LINES_MAX`](crate::limits::LOG_LINES_MAX) lines of a
    /// call. The text must not contain secrets or people's addresses.
    pub fn log(&self, level: LogLevel, text: &str) {
        let text = text.chars().take(crate::limits::LOG_TEXT_MAX).collect();
        self.replay.log(LogLine { level, text });
    }

    /// When the host stops waiting for the result of this call; `None` from a host that does not say.
    pub fn deadline(&self) -> Option<DateTime<Utc>> {
        self.deadline
    }

    /// Sends an HTTP request. The host follows no redirects and allows only the hosts in
    /// [`Manifest::http_hosts`](crate::Manifest::http_hosts).
    ///
    /// # Errors
    ///
    /// There was no response. A response with any status is `Ok`.
    pub async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let args = serde_json::to_value(&request).unwrap_or(Value::Null);
        let value = self.replay.step(ask::HTTP, args).await?;
        serde_json::from_value(value).map_err(|error| HttpError {
            kind: HttpErrorKind::Refused,
            message: error.to_string(),
        })
    }

    /// The value that any process of this plugin stored under this key. `None` also where the cache
    /// fails or is not configured.
    pub async fn cache_get(&self, key: &str) -> Option<String> {
        let value = self
            .replay
            .step(ask::CACHE_GET, json!({ "key": key }))
            .await;
        value.ok()?.as_str().map(str::to_owned)
    }

    /// Stores a value for `ttl`. The cache may lose it sooner.
    pub async fn cache_put(&self, key: &str, value: &str, ttl: Duration) {
        let args = json!({ "key": key, "value": value, "ttl_ms": ttl.as_millis() as u64 });
        let _ = self.replay.step(ask::CACHE_PUT, args).await;
    }

    /// The value under this key of the cache, else what `fetch` finds, which is then stored for `ttl`. The
    /// host keeps the keys of plugins apart. A cached value that cannot be read as `T` counts as none.
    ///
    /// # Errors
    ///
    /// That of `fetch`. An error is not stored.
    pub async fn cached<T: Serialize + DeserializeOwned, E>(
        &self,
        key: &str,
        ttl: Duration,
        fetch: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if let Some(kept) = self.cache_get(key).await
            && let Ok(known) = serde_json::from_str(&kept)
        {
            return Ok(known);
        }
        let found = fetch.await?;
        if let Ok(text) = serde_json::to_string(&found) {
            self.cache_put(key, &text, ttl).await;
        }
        Ok(found)
    }

    /// Writes a whole file into this plugin's folder of the data directory, atomically. `name` is
    /// a plain file name without a path. An existing file with this name is replaced.
    ///
    /// # Errors
    ///
    /// The host could not write the file.
    pub async fn file_put(&self, name: &str, body: &Body) -> Result<(), StepError> {
        let args = json!({ "name": name, "body": body });
        self.replay.step(ask::FILE_PUT, args).await.map(|_| ())
    }

    /// When the call began, or when the last answer arrived if that is later. Never the wall clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.replay.now()
    }
}

/// The HTTP methods a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// A request for the host to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The HTTP method.
    pub method: HttpMethod,
    /// Absolute, with the scheme `http` or `https`.
    pub url: String,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Empty for a request without a body.
    #[serde(default)]
    pub body: Body,
    /// Limit for the whole exchange, in milliseconds. The host has its own limit as well.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

impl HttpRequest {
    /// A request without headers and body.
    pub fn new(method: HttpMethod, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Body::default(),
            timeout_ms: None,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Limits the whole exchange.
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.timeout_ms = Some(bound.as_millis() as u64);
        self
    }
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The whole body, as received.
    #[serde(default)]
    pub body: Body,
}

impl HttpResponse {
    /// A response, for a test. Header names must be in lower case.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            status,
            headers: headers.iter().map(own).collect(),
            body: body.into(),
        }
    }

    /// The value of the first header with this name, which must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The wait that `Retry-After` requests; see [`retry_after_ms`].
    pub fn retry_after_ms(&self, now: DateTime<Utc>) -> Option<u64> {
        retry_after_ms(self.header("retry-after")?, now)
    }

    /// A header that holds seconds, converted to milliseconds and rounded up. `None` where it is
    /// missing, not a number or negative.
    pub fn seconds_ms(&self, name: &str) -> Option<u64> {
        seconds_ms(self.header(name)?)
    }

    /// The body parsed as JSON, after replacing text that cannot be stored ([`crate::json`]).
    ///
    /// # Errors
    ///
    /// The body is not JSON, or does not fit the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        crate::json::from_slice(self.body.as_slice())
    }
}

/// The wait in milliseconds that the value of a `Retry-After` requests: seconds, or a date in one of
/// the three formats of HTTP (RFC 9110 §10.2.3, §5.6.7). A date in the past gives 0. `None` where it
/// is neither.
pub fn retry_after_ms(value: &str, now: DateTime<Utc>) -> Option<u64> {
    seconds_ms(value).or_else(|| {
        let at = DateTime::<Utc>::from(httpdate::parse_http_date(value.trim()).ok()?);
        Some((at - now).num_milliseconds().max(0).unsigned_abs())
    })
}

fn seconds_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.trim().parse().ok()?;
    let sound = seconds.is_finite() && seconds >= 0.0;
    // Rounded up: a request sent too early would be refused again.
    sound.then(|| (seconds * 1_000.0).ceil() as u64)
}

/// What is known about a request that got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// Not sent: the host refused it, because the target is not allowed or the URL is malformed.
    Refused,
    /// Not sent: the connection failed.
    Connect,
    /// May have been sent and acted on: the response was lost, late or too large.
    Lost,
}

/// A request that got no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct HttpError {
    /// Whether the request may have been sent.
    pub kind: HttpErrorKind,
    /// For the operator.
    pub message: String,
}

impl HttpError {
    /// An error for the operator.
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The form in which the host records it, with the code `http_refused`, `http_connect` or
    /// `http_lost`.
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
            // The request was sent; only its response was too large to store.
            "http_lost" | "result_too_large" => HttpErrorKind::Lost,
            _ => HttpErrorKind::Refused,
        };
        Self {
            kind,
            message: error.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::retry_after_ms;

    #[test]
    fn retry_after_is_seconds_or_a_date_in_a_format_of_http() {
        let now = "2026-03-02T09:00:00Z".parse().unwrap();
        for (value, ms) in [
            ("60", Some(60_000)),
            (" 0.25 ", Some(250)),
            ("0", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("Mon, 02 Mar 2026 09:01:00 GMT", Some(60_000)),
            ("Monday, 02-Mar-26 09:01:00 GMT", Some(60_000)),
            ("Mon Mar  2 09:01:00 2026", Some(60_000)),
            ("Mon, 02 Mar 2026 08:59:00 GMT", Some(0)),
            // Not the day of that date.
            ("Tue, 02 Mar 2026 09:01:00 GMT", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("1m", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after_ms(value, now), ms, "{value}");
        }
    }
}
