//! Person traits, from Segment's Profile API (<https://segment.com/docs/unify/profile-api/>).

use std::fmt::Write as _;
use std::time::Duration;

use hogsend_plugin_api::{Host, HttpMethod, HttpRequest, Properties};
use serde::Deserialize;

use crate::basic;
use crate::{PROFILE_BASE_URL, PROFILE_TOKEN, SPACE_ID};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The API allows a space 100 requests per second, so answers are cached, also those for unknown
/// people.
const KEPT: Duration = Duration::from_secs(300);
/// The most traits that an answer holds.
const TRAITS_MAX: u32 = 200;

pub struct ProfileApi {
    profiles: String,
    token: String,
}

#[derive(Deserialize)]
struct Page {
    traits: Properties,
}

impl ProfileApi {
    pub fn new(base: &str, space: &str, token: &str) -> Self {
        Self {
            profiles: format!(
                "{}/v1/spaces/{}/collections/users/profiles",
                base.trim_end_matches('/'),
                encode(space)
            ),
            token: token.to_owned(),
        }
    }

    /// The traits of one person; `None` where Segment does not know the id.
    pub async fn traits(
        &self,
        host: &Host,
        distinct_id: &str,
    ) -> Result<Option<Properties>, String> {
        let cache_key = format!("person:{distinct_id}");
        let known = self.fetch(host, distinct_id);
        host.cached(&cache_key, KEPT, known).await
    }

    async fn fetch(&self, host: &Host, distinct_id: &str) -> Result<Option<Properties>, String> {
        let url = format!(
            "{}/user_id:{}/traits?limit={TRAITS_MAX}",
            self.profiles,
            encode(distinct_id)
        );
        let request = HttpRequest::new(HttpMethod::Get, url)
            .header("authorization", &basic::auth(&self.token))
            .header("accept", "application/json")
            .timeout(TIMEOUT);
        let answer = host
            .http(request)
            .await
            .map_err(|error| error.to_string())?;
        match answer.status {
            200 => {
                let page: Page = answer.json().map_err(|_| {
                    format!(
                        "Segment's answer holds no traits: check that {PROFILE_BASE_URL} is its Profile API"
                    )
                })?;
                Ok(Some(page.traits))
            }
            // Segment answers so for an unknown person.
            404 => Ok(None),
            401 | 403 => Err(format!(
                "Segment refused {PROFILE_TOKEN}: create a token for the space {SPACE_ID} names, and check the region of {PROFILE_BASE_URL}"
            )),
            429 => Err("Segment's rate limit for reading profiles is reached".into()),
            status => Err(format!("Segment answered {status}")),
        }
    }
}

/// Percent-encodes everything except RFC 3986's unreserved characters (§2.3) and `@`.
fn encode(text: &str) -> String {
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
    use std::collections::HashMap;

    use hogsend_plugin_api::call::method;
    use hogsend_plugin_api::export::Instance;
    use hogsend_plugin_api::{Command, HttpMethod, Properties, Settings, StepError};
    use hogsend_plugin_kit::{self as kit, request, response};
    use serde_json::{Value, json};

    use crate::Segment;

    const TOKEN: &str = "pt-hush";

    type Answer = Result<Option<Properties>, String>;

    fn plugin() -> Box<dyn Instance> {
        kit::start::<Segment>(&Settings::from([
            ("SEGMENT_PROFILE_SPACE_ID", "spa_1"),
            ("SEGMENT_PROFILE_TOKEN", TOKEN),
        ]))
        .unwrap()
    }

    fn person(
        plugin: &dyn Instance,
        id: &str,
        answer: impl FnMut(&Command) -> Result<Value, StepError>,
    ) -> Answer {
        kit::call(plugin, method::ANALYTICS_PERSON, id, answer).unwrap()
    }

    #[test]
    fn a_person_is_fetched_once_and_then_kept_for_five_minutes() {
        let plugin = plugin();
        for (status, page, known) in [
            (
                200,
                json!({ "traits": { "plan": "pro" }, "cursor": { "has_more": false } }),
                json!({ "plan": "pro" }),
            ),
            (200, json!({ "traits": {} }), json!({})),
            (
                404,
                json!({ "error": { "code": "not_found" } }),
                Value::Null,
            ),
        ] {
            let mut kept = HashMap::new();
            let mut fetched = 0;
            for _ in 0..2 {
                let answer = person(plugin.as_ref(), "ü 1/@", |asked| {
                    match asked.kind.as_str() {
                        "cache_get" => Ok(json!(kept.get(asked.args["key"].as_str().unwrap()))),
                        "cache_put" => {
                            assert_eq!(asked.args["ttl_ms"], 300_000);
                            let text = |name: &str| asked.args[name].as_str().unwrap().to_owned();
                            kept.insert(text("key"), text("value"));
                            Ok(Value::Null)
                        }
                        _ => {
                            fetched += 1;
                            let asked = request(asked);
                            assert_eq!(asked.method, HttpMethod::Get);
                            assert_eq!(
                                asked.url,
                                "https://profiles.segment.com/v1/spaces/spa_1/collections/users/profiles/user_id:%C3%BC%201%2F@/traits?limit=200"
                            );
                            assert_eq!(asked.timeout_ms, Some(10_000));
                            let auth = ("authorization".into(), "Basic cHQtaHVzaDo=".into());
                            assert!(asked.headers.contains(&auth));
                            response(status, &[], page.to_string())
                        }
                    }
                });
                assert_eq!(json!(answer.unwrap()), known);
            }
            assert_eq!(fetched, 1, "{known}");
            // The host puts the plugin's id before it.
            assert_eq!(kept["person:ü 1/@"], known.to_string());
        }
    }

    #[test]
    fn what_goes_wrong_names_the_fix_and_never_the_token() {
        let plugin = plugin();
        for (status, body, word) in [
            (401, TOKEN, "SEGMENT_PROFILE_TOKEN"),
            (403, "", "SEGMENT_PROFILE_SPACE_ID"),
            (429, "", "limit"),
            (500, TOKEN, "500"),
            (302, "", "302"),
            (200, "<html>", "SEGMENT_PROFILE_BASE_URL"),
            (200, r#"{"traits":"x"}"#, "SEGMENT_PROFILE_BASE_URL"),
        ] {
            let error = person(plugin.as_ref(), "u", |asked| match asked.kind.as_str() {
                "http" => response(status, &[], body),
                "cache_get" => Ok(Value::Null),
                kind => panic!("an error is not kept, yet {kind} was asked"),
            });
            let error = error.unwrap_err();
            assert!(error.contains(word) && !error.contains(TOKEN), "{error}");
        }
    }

    #[test]
    fn half_of_the_settings_is_reported_and_none_asks_nothing() {
        for (set, missing) in [
            ("SEGMENT_PROFILE_SPACE_ID", "SEGMENT_PROFILE_TOKEN"),
            ("SEGMENT_PROFILE_TOKEN", "SEGMENT_PROFILE_SPACE_ID"),
        ] {
            let error = kit::start::<Segment>(&Settings::from([(set, TOKEN)]));
            let message = error.err().unwrap().message;
            assert!(
                message.contains(missing) && !message.contains(TOKEN),
                "{message}"
            );
        }
        let bare = kit::start::<Segment>(&Settings::from([])).unwrap();
        assert_eq!(person(bare.as_ref(), "u", kit::no_requests), Ok(None));
    }
}
