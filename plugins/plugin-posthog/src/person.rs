//! Person properties, from PostHog's private API.

use std::time::Duration;

use hogsend_plugin_api::{Checked, Host, HttpMethod, Properties};
use serde::Deserialize;

use crate::HOST;
use crate::api::{PrivateApi, encode};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The private API allows a whole team about 240 requests per minute, so answers are cached, also
/// those for unknown people.
const KEPT: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct Page {
    results: Vec<Person>,
}

#[derive(Deserialize)]
struct Person {
    /// Null for a person without any.
    properties: Option<Properties>,
}

impl PrivateApi {
    /// The properties of one person; `None` where PostHog does not know the id.
    pub async fn properties(
        &self,
        host: &Host,
        distinct_id: &str,
    ) -> Result<Option<Properties>, String> {
        let cache_key = format!("person:{distinct_id}");
        let known = self.fetch(host, distinct_id);
        host.cached(&cache_key, KEPT, known).await
    }

    /// Whether the key may read the persons of the project.
    pub async fn check(&self, host: &Host) -> Checked {
        const WHAT: &str = "the personal API key";
        match self.fetch(host, "hogsend-check").await {
            Ok(_) => Checked::sound(WHAT),
            Err(error) => match error.split_once(": ") {
                // The vendor refuses it, and the sentence says what to do.
                Some((reason, fix)) if error.starts_with("PostHog ") => {
                    Checked::faulty(WHAT, reason, fix)
                }
                _ => Checked::unknown(WHAT),
            },
        }
    }

    async fn fetch(&self, host: &Host, distinct_id: &str) -> Result<Option<Properties>, String> {
        let path = format!("persons/?distinct_id={}", encode(distinct_id));
        let sent = self.send(host, HttpMethod::Get, &path, None, TIMEOUT);
        let answer = sent.await.map_err(|error| error.to_string())?;
        match answer.status {
            200 => {
                let page: Page = answer.json().map_err(|_| {
                    format!(
                        "PostHog's answer is not a list of persons: check that {HOST} is a PostHog"
                    )
                })?;
                let first = page.results.into_iter().next();
                Ok(first.map(|person| person.properties.unwrap_or_default()))
            }
            429 => Err("PostHog's rate limit for reading persons is reached".into()),
            status => {
                let reason = self.refusal(status, "person:read");
                Err(reason.unwrap_or_else(|| format!("PostHog answered {status}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use hogsend_plugin_api::call::method;
    use hogsend_plugin_api::export::Instance;
    use hogsend_plugin_api::{
        Command, HttpError, HttpErrorKind, HttpMethod, Properties, Settings, StepError,
    };
    use hogsend_plugin_kit::{self as kit, request, response};
    use serde_json::{Value, json};

    use crate::PostHog;

    const KEY: &str = "phx_hush";

    type Answer = Result<Option<Properties>, String>;

    fn plugin(settings: &[(&str, &str)]) -> Box<dyn Instance> {
        let settings: Settings = settings.iter().copied().collect();
        kit::start::<PostHog>(&settings).unwrap()
    }

    fn configured() -> Box<dyn Instance> {
        plugin(&[
            ("POSTHOG_HOST", "https://eu.i.posthog.com/"),
            ("POSTHOG_PERSONAL_API_KEY", KEY),
        ])
    }

    fn person(
        plugin: &dyn Instance,
        id: &str,
        answer: impl FnMut(&Command) -> Result<Value, StepError>,
    ) -> Answer {
        kit::call(plugin, method::ANALYTICS_PERSON, id, answer).unwrap()
    }

    #[test]
    fn without_host_or_key_nothing_is_asked() {
        for settings in [
            &[][..],
            &[("POSTHOG_HOST", "https://us.posthog.com")],
            &[("POSTHOG_PERSONAL_API_KEY", KEY)],
        ] {
            let answer = person(plugin(settings).as_ref(), "u", |asked| {
                panic!("asked {asked:?}")
            });
            assert_eq!(answer, Ok(None));
        }
    }

    #[test]
    fn a_person_is_fetched_once_and_then_kept_for_five_minutes() {
        let plugin = configured();
        for (page, known) in [
            (
                json!([{ "properties": { "plan": "pro" } }]),
                json!({ "plan": "pro" }),
            ),
            (json!([{ "properties": null }]), json!({})),
            (json!([]), Value::Null),
        ] {
            let mut kept = HashMap::new();
            let mut fetched = 0;
            for _ in 0..2 {
                let answer = person(plugin.as_ref(), "ü 1&x=2/@", |asked| {
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
                                "https://eu.posthog.com/api/projects/@current/persons/?distinct_id=%C3%BC%201%26x%3D2%2F@"
                            );
                            assert_eq!(asked.timeout_ms, Some(10_000));
                            assert!(
                                asked
                                    .headers
                                    .contains(&("authorization".into(), format!("Bearer {KEY}")))
                            );
                            response(200, &[], json!({ "results": page }).to_string())
                        }
                    }
                });
                assert_eq!(json!(answer.unwrap()), known);
            }
            assert_eq!(fetched, 1, "{known}");
            assert_eq!(kept["person:ü 1&x=2/@"], known.to_string());
        }
    }

    #[test]
    fn a_cache_that_fails_or_holds_nonsense_is_passed_over() {
        let plugin = configured();
        for cached in [
            Ok(json!("{oops")),
            Err(StepError::new("cache_down", "away")),
        ] {
            let answer = person(plugin.as_ref(), "u", |asked| match asked.kind.as_str() {
                "http" => response(200, &[], r#"{"results":[{"properties":{"a":1}}]}"#),
                _ => cached.clone(),
            });
            assert_eq!(json!(answer.unwrap()), json!({ "a": 1 }));
        }
    }

    #[test]
    fn what_goes_wrong_names_the_mend_and_never_the_key() {
        let plugin = configured();
        let lost = HttpError::new(HttpErrorKind::Lost, "no answer within 10s");
        for (answer, word) in [
            (response(401, &[], ""), "POSTHOG_PERSONAL_API_KEY"),
            (
                response(403, &[], format!("{{\"detail\":\"{KEY}\"}}")),
                "person:read",
            ),
            (response(404, &[], ""), "POSTHOG_PROJECT_ID"),
            (response(429, &[], ""), "limit"),
            (response(500, &[], KEY), "500"),
            (response(302, &[], ""), "302"),
            (response(200, &[], "<html>"), "POSTHOG_HOST"),
            (
                response(200, &[], r#"{"results":[{"properties":"x"}]}"#),
                "POSTHOG_HOST",
            ),
            (Err(lost.into_step_error()), "no answer within 10s"),
        ] {
            let error = person(plugin.as_ref(), "u", |asked| match asked.kind.as_str() {
                "http" => answer.clone(),
                "cache_get" => Ok(Value::Null),
                kind => panic!("an error is not kept, yet {kind} was asked"),
            });
            let error = error.unwrap_err();
            assert!(
                error.contains(word) && !error.contains(KEY),
                "{word}: {error}"
            );
        }
    }

    #[test]
    fn a_check_says_whether_the_key_may_read_persons() {
        let check = |settings: &[(&str, &str)], status: u16| {
            let mut all = Settings::from([]);
            for (name, value) in settings {
                all.insert(name, value);
            }
            let plugin = kit::start::<PostHog>(&all);
            let answer = |command: &Command| {
                assert!(
                    request(command)
                        .url
                        .contains("/persons/?distinct_id=hogsend-check")
                );
                response(status, &[], json!({ "results": [] }).to_string())
            };
            let checked: Vec<hogsend_plugin_api::Checked> =
                kit::call(plugin.unwrap().as_ref(), method::PLUGIN_CHECK, (), answer).unwrap();
            serde_json::to_value(&checked[0]).unwrap()
        };
        let set = [
            ("POSTHOG_HOST", "https://us.posthog.com"),
            ("POSTHOG_PERSONAL_API_KEY", KEY),
        ];
        assert_eq!(check(&set, 200)["result"], "sound");
        let refused = check(&set, 403);
        assert_eq!(refused["result"], "faulty");
        assert!(
            refused["fix"].as_str().unwrap().contains("person:read"),
            "{refused}"
        );
        assert_eq!(check(&set, 404)["result"], "faulty");
        assert_eq!(check(&set, 503)["result"], "unknown");
        assert_eq!(check(&[], 200)["setting"], "POSTHOG_PERSONAL_API_KEY");
    }
}
