//! Person properties, from PostHog's private API.

use std::time::Duration;

use hogsend_plugin_api::{Host, HttpMethod, HttpRequest, Properties};
use serde::Deserialize;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);
/// The private API allows 240 requests a minute for a whole team, so answers are kept, also those
/// that know nobody.
const KEPT: Duration = Duration::from_secs(300);

pub struct PersonApi {
    base: String,
    key: String,
    project: String,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Person>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(default)]
    properties: Properties,
}

impl PersonApi {
    pub fn new(host: &str, key: &str, project: &str) -> Self {
        // The ingestion hosts take events only; people are read from the application's host.
        let host = host
            .trim_end_matches('/')
            .replace("://us.i.", "://us.")
            .replace("://eu.i.", "://eu.");
        Self {
            base: host,
            key: key.to_owned(),
            project: project.to_owned(),
        }
    }

    pub async fn properties(
        &self,
        host: &Host,
        distinct_id: &str,
    ) -> Result<Option<Properties>, String> {
        let cache_key = format!("posthog:person:{distinct_id}");
        if let Some(kept) = host.cache_get(&cache_key).await
            && let Ok(known) = serde_json::from_str(&kept)
        {
            return Ok(known);
        }
        let url = format!(
            "{}/api/projects/{}/persons/?distinct_id={}",
            self.base,
            encode(&self.project),
            encode(distinct_id)
        );
        let request = HttpRequest::new(HttpMethod::Get, url)
            .header("authorization", &format!("Bearer {}", self.key))
            .header("accept", "application/json")
            .timeout(TIMEOUT);
        let answer = host
            .http(request)
            .await
            .map_err(|error| error.to_string())?;
        let known = match answer.status {
            200 => {
                let page: Page = answer
                    .json()
                    .map_err(|_| "PostHog's answer is not a list of people".to_owned())?;
                page.results
                    .into_iter()
                    .next()
                    .map(|person| person.properties)
            }
            404 => None,
            401 | 403 => {
                return Err(
                    "PostHog refused POSTHOG_PERSONAL_API_KEY: it needs the scope person:read"
                        .into(),
                );
            }
            status => return Err(format!("PostHog answered {status}")),
        };
        let kept = serde_json::to_string(&known).unwrap_or_else(|_| Value::Null.to_string());
        host.cache_put(&cache_key, &kept, KEPT).await;
        Ok(known)
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, and `@`.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
