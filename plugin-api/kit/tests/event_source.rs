//! The conformance test passes a correct event source and names the promise that a faulty one breaks.

#![forbid(unsafe_code)]

mod report;

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::{
    Checked, EventSource, Host, HttpMethod, HttpRequest, HttpResponse, LogLevel, Manifest, Plugin,
    Reading, Refusal, Setting, Settings, SetupItem, SourceEvent, Webhook, export_plugin, json,
};
use hogsend_plugin_kit::event_source::{
    PROMISES, Sample, Signed, Vendor, conformance, described, no_host,
};
use serde_json::Value;

const KEY: &str = "hush-0123456789";
const SECRET: &str = "whisper-0123456789";

thread_local! {
    /// What the plugin does wrong. A manifest knows no settings.
    static FAULT: Cell<&'static str> = const { Cell::new("") };
}

fn has(fault: &str) -> bool {
    FAULT.get() == fault
}

struct Shop {
    secret: String,
    key: String,
}

impl Plugin for Shop {
    fn manifest() -> Manifest {
        let sample = match has("has a sample about nothing") {
            true => r#"{"type":"shop.renamed"}"#,
            false => {
                r#"{"type":"order.placed","id":"{uuid}","email":"a@example.com","at":"{now}"}"#
            }
        };
        Manifest::new(
            if has("has a loud name") {
                "Shop"
            } else {
                "shop"
            },
            "1.0.0",
        )
        .setting(Setting::new("SHOP_SECRET", "of the webhooks").secret())
        .setting(Setting::new("SHOP_KEY", "of the API").secret())
        .webhook_secret("SHOP_SECRET")
        .sample_webhook(sample)
        .http_host("shop.example")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).map(str::to_owned);
        let key = get("SHOP_KEY");
        if has("refuses to start") {
            return Err("no".into());
        }
        if has("keeps a missing setting to itself") && key.is_none() {
            return Err("something is missing".into());
        }
        Ok(Self {
            secret: get("SHOP_SECRET").unwrap_or_default(),
            key: key.unwrap_or_default(),
        })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        let base = match has("asks elsewhere") {
            true => "https://elsewhere.example",
            false => "https://shop.example",
        };
        let request = HttpRequest::new(HttpMethod::Get, format!("{base}/me"));
        match host.http(request.header("x-key", &self.key)).await {
            Ok(answer) if answer.status == 200 => vec![Checked::sound("the key")],
            Ok(answer) if has("expects every answer") => panic!("what is {}?", answer.status),
            Ok(answer) if has("repeats its key") => {
                let words = answer.body.text_lossy().into_owned();
                vec![Checked::faulty("the key", words, "set SHOP_KEY")]
            }
            Ok(_) => vec![Checked::faulty("the key", "it is refused", "set SHOP_KEY")],
            Err(_) => vec![Checked::unknown("the key")],
        }
    }

    fn setup(&self) -> Vec<SetupItem> {
        vec![SetupItem::new(
            "URL",
            "{url}/v1/webhooks/shop",
            "Settings, Webhooks",
        )]
    }
}

/// What stands for a signature here.
fn signature(secret: &str, time: &str, body: &[u8]) -> String {
    let mut sum = 0_u64;
    for byte in [secret.as_bytes(), time.as_bytes(), body].concat() {
        sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte) + 1);
    }
    sum.to_string()
}

impl Shop {
    fn verify(&self, webhook: &Webhook) -> Result<(), Refusal> {
        let (Some(time), Some(given)) = (webhook.header("x-time"), webhook.header("x-signature"))
        else {
            return match has("believes without a signature") {
                true => Ok(()),
                false => Err(Refusal::unauthorized()),
            };
        };
        let body = webhook.body.as_slice();
        let body = if has("signs the text alone") {
            body.trim_ascii_end()
        } else {
            body
        };
        if given != signature(&self.secret, time, body) && !has("compares nothing") {
            return Err(Refusal::unauthorized_because("the signature is not ours"));
        }
        let age = time
            .parse()
            .map(|time: i64| webhook.received_at.timestamp() - time);
        if age.is_ok_and(|age| age <= 300) || has("never forgets") || has("compares nothing") {
            return Ok(());
        }
        Err(Refusal::unauthorized_because("the signature is too old"))
    }
}

impl EventSource for Shop {
    async fn read(&self, host: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        self.verify(webhook)?;
        if has("logs its secret") {
            host.log(LogLevel::Info, &format!("the secret is {}", self.secret));
        }
        let body: Value = match json::from_slice(webhook.body.as_slice()) {
            Ok(body) => body,
            Err(_) if has("skips garbage") => Value::Null,
            Err(error) => return Err(Refusal::invalid(error.to_string())),
        };
        if body["type"] != "order.placed" && !has("takes everything") {
            return Ok(Reading::skipped("it is about no order"));
        }
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let mut event = SourceEvent::new("order.placed");
        event.email = match has("trusts every field") {
            true => Some(text("email").unwrap()),
            false => text("email").filter(|email| email.contains('@')),
        };
        event.user_id = Some("u1".into()).filter(|_| event.email.is_none());
        if has("names nobody") {
            (event.email, event.user_id) = (None, None);
        }
        event.dedupe_key = match has("has one key for all") {
            true => Some("order".into()),
            false => text("id"),
        };
        if has("takes the time of receipt") {
            event.occurred_at = Some(webhook.received_at);
        }
        Ok(Reading::Events(vec![event]))
    }
}

export_plugin!(Shop: event_source);

fn sign(body: &[u8], at: DateTime<Utc>) -> Signed {
    let time = at.timestamp().to_string();
    let signature = signature(SECRET, &time, body);
    let headers = vec![("x-time".into(), time), ("x-signature".into(), signature)];
    Signed::new(headers, body)
}

fn check(fault: &str) {
    FAULT.set(fault.to_owned().leak());
    conformance::<Shop>(&Vendor {
        settings: Settings::from([("SHOP_SECRET", SECRET), ("SHOP_KEY", KEY)]),
        sign,
        tolerance: Some(TimeDelta::minutes(5)),
        events: vec![
            r#"{"type":"order.placed","id":"1","email":"ann@example.com"}"#.into(),
            Sample::new(r#"{"type":"order.placed","id":"2","email":"bob@example.com"}"#)
                .header("x-topic", "order")
                .query("shop=1"),
        ],
        others: vec![r#"{"type":"shop.renamed","id":"3"}"#.into()],
        gives_ids: true,
        host: no_host,
    });
}

#[test]
fn a_sound_source_passes() {
    check("");
}

#[test]
fn every_broken_promise_is_named() {
    let faults = [
        ("has a loud name", "manifest", "has the id 'Shop': ids"),
        ("refuses to start", "starts", "it refuses the settings: no"),
        (
            "keeps a missing setting to itself",
            "missing-settings",
            "without SHOP_KEY",
        ),
        ("expects every answer", "set-up", "`check` answers"),
        (
            "asks elsewhere",
            "named-hosts",
            "asks https://elsewhere.example",
        ),
        (
            "repeats its key",
            "secrets",
            "the result of a call contains a secret",
        ),
        (
            "logs its secret",
            "secrets",
            "a line of the log contains a secret",
        ),
        (
            "believes without a signature",
            "unsigned",
            "whatever it says",
        ),
        (
            "compares nothing",
            "changed-signature",
            "a wrong x-time is refused",
        ),
        (
            "signs the text alone",
            "changed-body",
            "is not the signed one",
        ),
        (
            "compares nothing",
            "other-secret",
            "another secret is refused",
        ),
        (
            "never forgets",
            "old-signature",
            "older than 300 s is refused",
        ),
        ("names nobody", "events", "names its contact"),
        ("has one key for all", "event-keys", "has that of another"),
        ("takes the time of receipt", "same-again", "90 s later"),
        (
            "takes everything",
            "other-webhooks",
            "with nothing to store is skipped",
        ),
        (
            "skips garbage",
            "unreadable",
            "that cannot be read is invalid",
        ),
        (
            "trusts every field",
            "odd-values",
            "a plugin reads every webhook",
        ),
        (
            "has a sample about nothing",
            "sample-webhook",
            "this webhook gives events",
        ),
    ];
    report::every_promise_is_checked(&[&hogsend_plugin_kit::PROMISES, &PROMISES], &faults, check);
}

/// A source whose vendor signs inside the body, with a key that the host fetches. Its fault is to look at the
/// signature's presence alone.
struct Inside {
    secret: String,
    trusting: bool,
}

impl EventSource for Inside {
    async fn read(&self, host: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        let body: Value = serde_json::from_slice(webhook.body.as_slice())
            .map_err(|_| Refusal::unauthorized_because("it is not JSON"))?;
        let Some(given) = body["signature"].as_str() else {
            return Err(Refusal::unauthorized_because("it has no signature"));
        };
        let salt = HttpRequest::new(HttpMethod::Get, "https://inside.example/salt");
        let salt = host.http(salt).await.map_err(|_| Refusal::unauthorized())?;
        let salt = salt.body.text_lossy().into_owned();
        let event = body["event"].to_string();
        if given != signature(&self.secret, &salt, event.as_bytes()) && !self.trusting {
            return Err(Refusal::unauthorized_because(
                "its signature does not match",
            ));
        }
        let (id, user) = match (body["event"]["id"].as_str(), body["event"]["user"].as_str()) {
            (Some(id), Some(user)) if !user.trim().is_empty() => (id, user.replace('\0', "")),
            _ if body["event"].is_object() => return Ok(Reading::skipped("it has no id and user")),
            _ => return Err(Refusal::invalid("event is required")),
        };
        let mut read = SourceEvent::new("signed_up");
        read.dedupe_key = Some(id.replace('\0', ""));
        read.user_id = Some(user);
        Ok(Reading::Events(vec![read]))
    }
}

fn check_inside(trusting: bool) {
    let manifest = Manifest::new("inside", "1.0.0")
        .setting(Setting::new("INSIDE_SECRET", "of the webhook").secret())
        .webhook_secret("INSIDE_SECRET")
        .http_host("inside.example");
    let source = Described::event_source(manifest, None, move |settings| {
        let secret = settings.get("INSIDE_SECRET").unwrap_or_default().to_owned();
        Ok(Inside { secret, trusting })
    });
    described(
        &source,
        &Vendor {
            settings: Settings::from([("INSIDE_SECRET", SECRET)]),
            sign: |body, _| match serde_json::from_slice::<Value>(body) {
                Ok(event) => {
                    let signature = signature(SECRET, "salt", event.to_string().as_bytes());
                    let signed = serde_json::json!({ "event": event, "signature": signature });
                    Signed::new(Vec::new(), signed.to_string())
                }
                Err(_) => Signed::new(Vec::new(), body),
            },
            tolerance: None,
            events: vec![r#"{"id":"1","user":"u1"}"#.into()],
            others: vec![r#"{"shop":"renamed"}"#.into()],
            gives_ids: true,
            host: |request| {
                assert_eq!(request.url, "https://inside.example/salt");
                HttpResponse::new(200, &[], "salt")
            },
        },
    );
}

#[test]
fn a_source_whose_webhooks_are_signed_inside_passes() {
    check_inside(false);
}

#[test]
#[should_panic(expected = "- other-secret: a webhook signed with another secret is refused")]
fn a_source_that_compares_no_signatures_is_found_out() {
    check_inside(true);
}
