//! HTTP requests on behalf of plugins.

use std::time::{Duration, Instant};

use hogsend_plugin_api::{HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, limits};
use hogsend_semantics::hosts::AllowList;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use tracing::Instrument as _;

use crate::http_client::TIMEOUT;
use crate::telemetry::metrics::{PLUGIN_REQUEST_SECONDS, PLUGIN_REQUESTS};
use crate::telemetry::traces::spans;

/// Sends one request. Errors name the host and never the path, the query or a header, which may
/// hold secrets.
pub(super) async fn send(
    client: &Client,
    plugin: &str,
    allowed: &AllowList,
    request: HttpRequest,
) -> Result<HttpResponse, HttpError> {
    fits(&request).map_err(|why| refused(format!("the request {why}")))?;
    let url = Url::parse(&request.url)
        .map_err(|error| refused(format!("the URL is malformed: {error}")))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    if !allowed.allows(&url) {
        let message = format!("'{host}' is not among the hosts plugin '{plugin}' declared");
        return Err(refused(message));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let parsed = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let (header, mut value) = parsed
            .ok_or_else(|| refused(format!("the header '{}' is malformed", name.escape_debug())))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    let method = match request.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        other => return Err(refused(format!("the method {other:?} is not known here"))),
    };
    let span = spans::plugin_request(plugin, method.as_str(), &host);
    let requested = request.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
    let started = Instant::now();
    let answer = exchange(
        client,
        method,
        url,
        headers,
        request.body.0,
        requested.min(TIMEOUT),
        &host,
    )
    .instrument(span.clone())
    .await;
    let status = answer
        .as_ref()
        .map(|answer| answer.status)
        .unwrap_or_default();
    let took = started.elapsed();
    span.record("status", status);
    PLUGIN_REQUESTS.add(&[plugin, outcome(&answer)], 1);
    PLUGIN_REQUEST_SECONDS.took(&[plugin], took);
    let duration_ms = took.as_millis() as u64;
    tracing::debug!(
        plugin,
        host,
        status,
        duration_ms,
        "performed a plugin's request"
    );
    answer
}

/// An answer as a label of metrics.
fn outcome(answer: &Result<HttpResponse, HttpError>) -> &'static str {
    match answer {
        Ok(answer) => match answer.status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
        Err(error) => match error.kind {
            HttpErrorKind::Refused => "refused",
            HttpErrorKind::Connect => "connect",
            _ => "lost",
        },
    }
}

fn fits(request: &HttpRequest) -> Result<(), String> {
    limits::HTTP_URL.check(request.url.len())?;
    limits::HTTP_HEADERS.check(request.headers.len())?;
    let headers = request.headers.iter();
    limits::HTTP_HEADER_BYTES.check(headers.map(|(name, value)| name.len() + value.len()).sum())?;
    limits::HTTP_BODY.check(request.body.0.len())
}

async fn exchange(
    client: &Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    timeout: Duration,
    host: &str,
) -> Result<HttpResponse, HttpError> {
    let request = client
        .request(method, url)
        .headers(headers)
        .timeout(timeout);
    let request = if body.is_empty() {
        request
    } else {
        request.body(body)
    };
    let mut response = request.send().await.map_err(|error| {
        let kind = match () {
            () if error.is_builder() => HttpErrorKind::Refused,
            () if error.is_connect() => HttpErrorKind::Connect,
            () => HttpErrorKind::Lost,
        };
        HttpError::new(kind, describe(kind, host, timeout, error.is_timeout()))
    })?;
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk))
                if limits::HTTP_RESPONSE
                    .check(bytes.len() + chunk.len())
                    .is_ok() =>
            {
                bytes.extend_from_slice(&chunk);
            }
            Ok(None) => break,
            Ok(Some(_)) => {
                return Err(lost(format!(
                    "the answer of '{host}' is larger than {}",
                    limits::HTTP_RESPONSE.allowed()
                )));
            }
            Err(error) => {
                return Err(lost(describe(
                    HttpErrorKind::Lost,
                    host,
                    timeout,
                    error.is_timeout(),
                )));
            }
        }
    }
    let mut response = HttpResponse::new(status, &[], bytes);
    response.headers = headers;
    Ok(response)
}

fn describe(kind: HttpErrorKind, host: &str, timeout: Duration, timed_out: bool) -> String {
    match kind {
        HttpErrorKind::Connect => format!("no connection to '{host}' could be made"),
        _ if timed_out => format!("'{host}' did not answer within {timeout:?}"),
        _ => format!("the connection to '{host}' broke before its answer was complete"),
    }
}

fn refused(message: String) -> HttpError {
    HttpError::new(HttpErrorKind::Refused, message)
}

fn lost(message: String) -> HttpError {
    HttpError::new(HttpErrorKind::Lost, message)
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{HttpMethod, HttpRequest};

    use super::fits;

    #[test]
    fn a_request_is_bounded_in_every_part() {
        let request = |path: usize, headers: usize, value: usize, body: usize| {
            let url = format!("https://a.test/{}", "x".repeat(path));
            let start = HttpRequest::new(HttpMethod::Post, url).body(vec![0; body]);
            let value = "x".repeat(value);
            fits(&(0..headers).fold(start, |all, _| all.header("a", &value)))
        };
        assert_eq!(request(8_000, 100, 500, 1_000), Ok(()));
        for (refused, limit) in [
            (request(9_000, 0, 0, 0), "URL of an HTTP request"),
            (
                request(1, 101, 1, 0),
                "headers of an HTTP request: 101, at most 100",
            ),
            (
                request(1, 100, 1_000, 0),
                "these headers together: 100100 bytes, at most 64 KiB",
            ),
            (
                request(1, 0, 0, 48 * 1024 * 1024 + 1),
                "body of an HTTP request",
            ),
        ] {
            let why = refused.unwrap_err();
            assert!(why.contains(limit), "{why}");
        }
    }
}
