//! The conformance test passes a correct analytics plugin and names the promise that a faulty one breaks.

#![forbid(unsafe_code)]

mod report;

use std::cell::Cell;

use hogsend_plugin_api::{
    Analytics, Capture, Captured, Host, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse,
    Manifest, Plugin, Properties, Setting, Settings, export_plugin,
};
use hogsend_plugin_kit::analytics::{Captures, PROMISES, People, Product, Seen, conformance};
use serde_json::{Value, json};

const KEY: &str = "hush-0123456789";
const PEOPLE_KEY: &str = "whisper-0123456789";

thread_local! {
    /// A fault of a plugin without any setting.
    static FORGETFUL: Cell<bool> = const { Cell::new(false) };
}

/// A plugin with the fault that its settings name, or none.
struct Collector {
    key: Option<String>,
    people: Option<String>,
    fault: String,
}

impl Collector {
    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn item(&self, capture: &Capture) -> Value {
        let mut properties = capture.properties.clone();
        if self.has("drops a property") {
            properties.remove("plan");
        }
        let id = match self.has("has one id for all") {
            true => "01980000-0000-7000-8000-000000000001".to_owned(),
            false => capture.id.to_string(),
        };
        json!({
            "id": id, "person": capture.distinct_id, "event": capture.event,
            "properties": properties,
        })
    }
}

impl Plugin for Collector {
    fn manifest() -> Manifest {
        Manifest::new("collector", "1.0.0")
            .setting(Setting::new("COLLECTOR_KEY", "a key").secret())
            .setting(Setting::new("COLLECTOR_PEOPLE_KEY", "another").secret())
            .setting(Setting::new("COLLECTOR_FAULT", "what to do wrong"))
            .captures_with("COLLECTOR_KEY")
            .http_host("collector.example")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).map(str::to_owned);
        Ok(Self {
            key: get("COLLECTOR_KEY"),
            people: get("COLLECTOR_PEOPLE_KEY"),
            fault: get("COLLECTOR_FAULT").unwrap_or_default(),
        })
    }
}

impl Analytics for Collector {
    async fn person(&self, host: Host, distinct_id: String) -> Result<Option<Properties>, String> {
        let Some(key) = self.people.as_deref() else {
            return match FORGETFUL.get() {
                true => Err("no key".into()),
                false => Ok(None),
            };
        };
        let id = match self.has("writes ids as they are") {
            true => distinct_id.clone(),
            false => distinct_id
                .bytes()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        let url = format!("https://collector.example/people/{id}");
        let request = HttpRequest::new(HttpMethod::Get, url).header("x-key", key);
        let answer = host
            .http(request)
            .await
            .map_err(|error| error.to_string())?;
        match answer.status {
            200 => {
                let mut properties: Properties = answer.json().map_err(|_| "no properties")?;
                if self.has("forgets a property") {
                    properties.remove("plan");
                }
                Ok(Some(properties))
            }
            404 if !self.has("takes nobody for a fault") => Ok(None),
            _ if self.has("takes a fault for nobody") => Ok(None),
            status => Err(format!("the collector answered {status}")),
        }
    }

    async fn capture(&self, host: Host, batch: Vec<Capture>) -> Captured {
        let key = match &self.key {
            Some(key) => key,
            None if self.has("sends without a key") => "none",
            None => return Captured::Unwanted,
        };
        let retry = |reason: &str, retry_after_ms| Captured::retry(reason, retry_after_ms);
        if batch.is_empty() && self.has("retries nothing") {
            return retry("there is nothing", None);
        }
        let most = if self.has("sends ten at most") {
            10
        } else {
            usize::MAX
        };
        let nobody = |one: &&Capture| one.distinct_id.is_empty() && self.has("drops nobody's");
        let items = batch.iter().take(most).filter(|one| !nobody(one));
        let items: Vec<_> = items.map(|capture| self.item(capture)).collect();
        let request = HttpRequest::new(HttpMethod::Post, "https://collector.example/batch")
            .header("x-key", key)
            .body(json!(items).to_string());
        let blocked = |reason: String| Captured::blocked(reason);
        let rejected = |reason: String| Captured::rejected(reason);
        let answer = match host.http(request).await {
            Ok(answer) => answer,
            Err(error) => {
                return match error.kind {
                    HttpErrorKind::Refused if self.has("retries everything") => {
                        retry("no answer", None)
                    }
                    HttpErrorKind::Refused => blocked(error.message),
                    HttpErrorKind::Lost if self.has("gives up on lost answers") => {
                        rejected(error.message)
                    }
                    HttpErrorKind::Connect if self.has("gives up without a connection") => {
                        blocked(error.message)
                    }
                    _ => retry(&error.message, None),
                };
            }
        };
        let words = match self.has("repeats its key") {
            true => answer.body.text_lossy().into_owned(),
            false => format!("the collector answered {}", answer.status),
        };
        match answer.status {
            200 => Captured::Taken,
            302 if self.has("takes redirects") => Captured::Taken,
            400 if self.has("retries everything") => retry(&words, None),
            400 => rejected(words),
            401 | 403 if self.has("gives up on a refused key") => rejected(words),
            429 if self.has("does not wait") => retry(&words, None),
            429 => retry(&words, answer.retry_after_ms(host.now())),
            500.. if self.has("gives up on a fault") => rejected(words),
            500.. => retry(&words, None),
            _ => blocked(words),
        }
    }
}

export_plugin!(Collector: analytics);

fn check(fault: &str) {
    FORGETFUL.set(fault == "fails without a key");
    conformance::<Collector>(&Product {
        settings: Settings::from([
            ("COLLECTOR_KEY", KEY),
            ("COLLECTOR_PEOPLE_KEY", PEOPLE_KEY),
            ("COLLECTOR_FAULT", fault),
        ]),
        captures: Some(Captures {
            event: "email.sent",
            updates: true,
            contents: |request| {
                let items: Vec<Value> = serde_json::from_slice(request.body.as_slice()).unwrap();
                items.iter().map(seen).collect()
            },
            accepted: |_| HttpResponse::new(200, &[], "{}"),
            failure: |status, words| HttpResponse::new(status, &[], words),
        }),
        people: Some(People {
            known: |properties| HttpResponse::new(200, &[], json!(properties).to_string()),
            unknown: || HttpResponse::new(404, &[], "{}"),
        }),
    });
}

fn seen(item: &Value) -> Seen {
    let text = |name: &str| Some(item[name].as_str().unwrap_or_default().to_owned());
    Seen {
        id: text("id"),
        distinct_id: text("person"),
        event: text("event"),
        properties: item["properties"].as_object().cloned(),
    }
}

#[test]
fn a_sound_plugin_passes() {
    check("");
}

#[test]
fn every_broken_promise_is_named() {
    let faults = [
        ("drops a property", "whole-batch", "with its property plan"),
        ("has one id for all", "same-ids", "an id of its own"),
        (
            "sends without a key",
            "unconfigured",
            "without COLLECTOR_KEY",
        ),
        ("retries nothing", "empty-batch", "an empty batch is taken"),
        ("sends ten at most", "every-capture-once", "is sent once"),
        (
            "drops nobody's",
            "odd-captures",
            "2 of 3 captures were sent",
        ),
        (
            "gives up on a refused key",
            "refused-key",
            "a refused key blocks",
        ),
        ("does not wait", "rate-limit", "waits that long"),
        ("gives up on a fault", "product-fault", "a fault is retried"),
        ("retries everything", "refused-batch", "is rejected"),
        ("takes redirects", "redirect", "a redirect is not accepted"),
        (
            "gives up on lost answers",
            "lost-answer",
            "a lost answer is retried",
        ),
        (
            "gives up without a connection",
            "no-connection",
            "refused connection is retried",
        ),
        ("retries everything", "refused-request", "waits for a fix"),
        (
            "repeats its key",
            "secrets",
            "the result of a call contains a secret",
        ),
        (
            "forgets a property",
            "person",
            "the properties the product gives",
        ),
        (
            "takes nobody for a fault",
            "unknown-person",
            "an unknown person is None",
        ),
        (
            "takes a fault for nobody",
            "person-unanswered",
            "is an error",
        ),
        (
            "fails without a key",
            "person-without-settings",
            "without any setting",
        ),
        ("writes ids as they are", "odd-ids", "is encoded in the URL"),
    ];
    report::every_promise_is_checked(&[&PROMISES], &faults, check);
}
