//! Requests to URLs that users configure.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::retry_after_ms;
use ipnet::IpNet;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Url, redirect};

use super::guard::{Forbidden, Guard};
use crate::http_client::http_client_builder;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Upper bound of an attempt, including recording its result.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);
/// Maximum length of a URL, in characters.
pub const URL_MAX: usize = 2_048;

/// Lease of a delivery, long enough that no other worker begins an attempt meanwhile.
pub fn lease(configured: Duration) -> Duration {
    configured.max(ATTEMPT_MAX)
}

/// Posts to public addresses, and to networks the operator allows.
pub struct Poster {
    guard: Guard,
    /// Created on first use: most processes never post.
    client: OnceLock<Client>,
}

/// The receiver's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    pub status: u16,
    /// Its `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Poster {
    pub fn new(allowed: &[IpNet]) -> Self {
        Self {
            guard: Guard::new(allowed),
            client: OnceLock::new(),
        }
    }

    /// Posts once, without following redirects. The error names the host and never the rest of the
    /// URL, which may hold a secret.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: String,
        now: DateTime<Utc>,
    ) -> Result<Posted, String> {
        let url = check_url(url, self)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let client = self.client.get_or_init(|| self.build());
        let request = client.post(url).headers(headers).body(body);
        let response = request
            .send()
            .await
            .map_err(|error| describe(&error, &host))?;
        let header = response.headers().get(RETRY_AFTER);
        let delay = header.and_then(|header| retry_after(header.to_str().ok()?, now));
        Ok(Posted {
            status: response.status().as_u16(),
            retry_after: delay,
        })
    }

    fn build(&self) -> Client {
        let client = http_client_builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            // A proxy would resolve the name itself and bypass the SSRF guard.
            .no_proxy()
            .dns_resolver(Arc::new(self.guard.clone()))
            .build();
        client.expect("a client with a TLS provider installed can be built")
    }
}

/// Parses and checks a URL. Host names are checked by the guard when they are resolved.
pub fn check_url(text: &str, poster: &Poster) -> Result<Url, String> {
    if text.len() > URL_MAX {
        return Err(format!("must have at most {URL_MAX} characters"));
    }
    let mut url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("must begin with https:// or http://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password".into());
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    // Names that always mean this machine (RFC 6761 §6.3) are refused here already.
    let name = host.trim_end_matches('.');
    let here = name == "localhost" || name.ends_with(".localhost");
    let address = here
        .then_some(IpAddr::from(Ipv4Addr::LOCALHOST))
        .or_else(|| literal.parse().ok());
    if let Some(address) = address {
        let checked = poster.guard.check(&host, address);
        checked.map_err(|error| error.to_string())?;
    }
    url.set_fragment(None);
    Ok(url)
}

fn describe(error: &reqwest::Error, host: &str) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(forbidden) = inner.downcast_ref::<Forbidden>() {
            return forbidden.to_string();
        }
        cause = inner.source();
    }
    match () {
        () if error.is_timeout() => format!("'{host}' did not answer within {TIMEOUT:?}"),
        () if error.is_connect() => format!("no connection to '{host}' could be made"),
        () => format!("the connection to '{host}' broke before it answered"),
    }
}

/// The wait that `Retry-After` requests, if there is one.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let ms = retry_after_ms(text, now).filter(|ms| *ms > 0)?;
    Some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_urls_are_refused_before_anything_is_sent() {
        let poster = Poster::new(&[]);
        for good in [
            "https://hooks.example.com/a?b=c",
            "http://example.com:8080",
            "https://1.1.1.1/x",
        ] {
            assert!(check_url(good, &poster).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.com/x",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://u:p@example.com",
            "https://u@example.com",
            "http://127.0.0.1/x",
            "http://127.1/x",
            "http://localhost:8080/x",
            "http://LOCALHOST./x",
            "http://app.localhost/x",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::1]:80/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            assert!(check_url(bad, &poster).is_err(), "{bad}");
        }
        assert!(check_url(&format!("https://x.test/{}", "a".repeat(URL_MAX)), &poster).is_err());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-03-02T09:00:00Z".parse().unwrap();
        let minute = Some(Duration::from_secs(60));
        assert_eq!(retry_after("60", now), minute);
        assert_eq!(retry_after("Mon, 02 Mar 2026 09:01:00 GMT", now), minute);
        assert_eq!(retry_after("Mon, 02 Mar 2026 08:01:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
    }
}
