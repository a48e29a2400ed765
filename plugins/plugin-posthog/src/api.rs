//! PostHog's private API: its address, its key and what its refusals mean.

use std::fmt::Write as _;
use std::time::Duration;

use hogsend_plugin_api::{Host, HttpError, HttpMethod, HttpRequest, HttpResponse};

use crate::{HOST, PERSONAL_API_KEY, PROJECT_ID};

/// Access to the private API of one project.
pub struct PrivateApi {
    base: String,
    key: String,
    project: String,
}

impl PrivateApi {
    pub fn new(host: &str, key: &str, project: &str) -> Self {
        Self {
            base: private_api(host),
            key: key.to_owned(),
            project: project.to_owned(),
        }
    }

    /// Sends a request about the project. `path` follows the project's own, as `persons/`.
    pub async fn send(
        &self,
        host: &Host,
        method: HttpMethod,
        path: &str,
        body: Option<&serde_json::Value>,
        timeout: Duration,
    ) -> Result<HttpResponse, HttpError> {
        let project = encode(&self.project);
        let url = format!("{}/api/projects/{project}/{path}", self.base);
        let request = HttpRequest::new(method, url)
            .header("authorization", &format!("Bearer {}", self.key))
            .header("accept", "application/json")
            .timeout(timeout);
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        };
        host.http(request).await
    }

    /// What a refusal means that only an operator can end; None for another status. `scope` is what the key
    /// needs.
    pub fn refusal(&self, status: u16, scope: &str) -> Option<String> {
        match status {
            401 | 403 => Some(format!(
                "PostHog refused {PERSONAL_API_KEY}: create a key with the scope {scope} for this project"
            )),
            404 => Some(format!(
                "PostHog has no project '{}' at {HOST}: set {PROJECT_ID} to the number in its address",
                self.project
            )),
            _ => None,
        }
    }
}

/// The host of PostHog's private API. The ingestion hosts of PostHog Cloud, which users copy from
/// their tracking code, only accept events.
pub fn private_api(host: &str) -> String {
    let host = host.trim_end_matches('/');
    match host.split_once("://") {
        Some((_, "us.i.posthog.com")) => "https://us.posthog.com".into(),
        Some((_, "eu.i.posthog.com")) => "https://eu.posthog.com".into(),
        _ => host.into(),
    }
}

/// Percent-encodes everything except RFC 3986's unreserved characters (§2.3) and `@`.
pub fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_ingestion_hosts_of_the_cloud_are_replaced() {
        for (host, base) in [
            ("https://us.i.posthog.com", "https://us.posthog.com"),
            ("https://eu.i.posthog.com/", "https://eu.posthog.com"),
            ("https://us.posthog.com/", "https://us.posthog.com"),
            ("http://localhost:8000/hog/", "http://localhost:8000/hog"),
            (
                "https://us.i.posthog.com.example.org",
                "https://us.i.posthog.com.example.org",
            ),
        ] {
            assert_eq!(super::private_api(host), base);
        }
    }
}
