//! Sends mail through any API that takes JSON with an idempotency key.
//!
//! `POST $JSON_MAIL_URL/messages` takes one mail and answers with its id. Webhooks are signed like those of
//! many providers: `x-signature: t=<seconds>,v1=<hex HMAC-SHA-256 of "<seconds>.<body>">`.

#![forbid(unsafe_code)]

use hmac::{Hmac, Mac};
use hogsend_plugin_api::chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::serde_json::{Value, json};
use hogsend_plugin_api::{
    Attempt, BounceType, Capabilities, Checked, Delivery, DeliveryEvent, DeliveryEventKind,
    DeliveryReading, Host, HttpMethod, HttpRequest, HttpResponse, Idempotency, Mail, Manifest,
    Plugin, Prepared, Refusal, SendOutcome, Sent, Setting, Settings, SetupItem, Webhook,
    export_plugin,
};
use sha2::Sha256;

const URL: &str = "JSON_MAIL_URL";
const KEY: &str = "JSON_MAIL_KEY";
const SECRET: &str = "JSON_MAIL_WEBHOOK_SECRET";

/// How long a signature is valid.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// The most characters of an answer in a reason.
const WORDS_MAX: usize = 200;

pub struct JsonMail {
    /// `None` where a setting is missing: the plugin may not be in use.
    access: Option<Access>,
    secret: Option<String>,
}

struct Access {
    url: String,
    key: String,
}

impl Plugin for JsonMail {
    fn manifest() -> Manifest {
        Manifest::new("json-mail", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(URL, "the URL of the mail API, without /messages")
                    .url()
                    .required(),
            )
            .setting(
                Setting::new(KEY, "an API key with the right to send")
                    .required()
                    .secret(),
            )
            .setting(Setting::new(SECRET, "the signing secret of the webhook").secret())
            .webhook_secret(SECRET)
            // The host of the URL in the setting.
            .http_host("$JSON_MAIL_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).map(str::to_owned);
        let access = get(URL).zip(get(KEY)).map(|(url, key)| Access {
            url: url.trim_end_matches('/').to_owned(),
            key,
        });
        Ok(Self {
            access,
            secret: get(SECRET),
        })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        let what = "the API key";
        let Some(access) = &self.access else {
            return vec![Checked::not_set(what, KEY)];
        };
        let request = HttpRequest::new(HttpMethod::Get, format!("{}/account", access.url))
            .header("authorization", &format!("Bearer {}", access.key));
        let checked = match host.http(request).await {
            Ok(answer) if answer.status == 200 => Checked::sound(what),
            Ok(answer) if matches!(answer.status, 401 | 403) => Checked::faulty(
                what,
                "the API refuses it",
                format!("set {KEY} to a valid key"),
            ),
            _ => Checked::unknown(what),
        };
        vec![checked]
    }

    fn setup(&self) -> Vec<SetupItem> {
        vec![SetupItem::new(
            "Webhook URL",
            "{url}/v1/webhooks/email/json-mail",
            "the webhook settings of the mail API",
        )]
    }
}

impl Delivery for JsonMail {
    fn capabilities(&self) -> Capabilities {
        // The API answers a repeated key with its first answer, for a day.
        Capabilities::new(Idempotency::ForSeconds(24 * 60 * 60))
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        for (what, address) in [("sender", &mail.from), ("recipient", &mail.to)] {
            if address.trim().is_empty() {
                return Err(format!("the mail has no {what}"));
            }
        }
        let headers: Vec<[&str; 2]> = mail
            .headers
            .iter()
            .map(|(name, value)| [name.as_str(), value.as_str()])
            .collect();
        let body = json!({
            "from": mail.from,
            "to": mail.to,
            "reply_to": mail.reply_to,
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
            "headers": headers,
            // The webhooks repeat it, so that a mail is found whose answer was lost.
            "reference": mail.id,
        });
        Ok(Prepared::new("application/json", body.to_string()))
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(access) = &self.access else {
            return SendOutcome::blocked(format!("{URL} or {KEY} is not set")).into();
        };
        let request = HttpRequest::new(HttpMethod::Post, format!("{}/messages", access.url))
            .header("authorization", &format!("Bearer {}", access.key))
            .header("content-type", &attempt.prepared.content_type)
            .header("idempotency-key", &attempt.idempotency_key)
            .body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => outcome(&answer, &host, &access.key).into(),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        self.verify(webhook)?;
        let body: Value = hogsend_plugin_api::json::from_slice(webhook.body.as_slice())
            .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let (kind, bounce) = match body["type"].as_str() {
            Some("delivered") => (DeliveryEventKind::Delivered, None),
            Some("opened") => (DeliveryEventKind::Opened, None),
            Some("complained") => (DeliveryEventKind::Complained, None),
            Some("bounced") if body["permanent"] == true => {
                (DeliveryEventKind::Bounced, Some(BounceType::Permanent))
            }
            // The mailbox is full: a later mail may arrive.
            Some("bounced") => (DeliveryEventKind::Bounced, Some(BounceType::Transient)),
            other => {
                let reason = format!("'{}' is about no mail", other.unwrap_or("no type"));
                return Ok(DeliveryReading::skipped(reason));
            }
        };
        let (Some(id), Some(message_id)) = (text("id"), text("message_id")) else {
            return Err(Refusal::invalid("id and message_id are required"));
        };
        let at = text("at").and_then(|at| at.parse::<DateTime<Utc>>().ok());
        let mut event = DeliveryEvent::new(kind, at.unwrap_or(webhook.received_at));
        event.dedupe_key = Some(id);
        event.message_id = Some(message_id);
        event.send_id = text("reference").and_then(|id| id.parse().ok());
        event.bounce = bounce;
        event.reason = text("reason");
        Ok(DeliveryReading::Events(vec![event]))
    }
}

impl JsonMail {
    fn verify(&self, webhook: &Webhook) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Err(Refusal::unauthorized_because(format!(
                "{SECRET} is not set"
            )));
        };
        let header = webhook.header("x-signature").unwrap_or_default();
        let part = |name: &str| {
            let mut parts = header.split(',').filter_map(|part| part.split_once('='));
            parts
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let (Some(time), Some(code)) = (part("t"), part("v1").and_then(|v1| hex::decode(v1).ok()))
        else {
            return Err(Refusal::unauthorized_because("it has no x-signature"));
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|_| Refusal::unauthorized())?;
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(webhook.body.as_slice());
        // Compares in constant time.
        mac.verify_slice(&code).map_err(|_| {
            Refusal::unauthorized_because(format!("it is not signed with {SECRET}"))
        })?;
        let signed = time
            .parse()
            .ok()
            .and_then(|time| DateTime::from_timestamp(time, 0));
        match signed.map(|signed| (webhook.received_at - signed).abs()) {
            Some(age) if age <= TOLERANCE => Ok(()),
            _ => Err(Refusal::unauthorized_because(
                "its signature is not of these minutes",
            )),
        }
    }
}

/// What an answer says of the mail.
fn outcome(answer: &HttpResponse, host: &Host, key: &str) -> SendOutcome {
    let body: Value = answer.json().unwrap_or_default();
    // The API may repeat the key. It is removed before the text is cut, or a part of it could remain.
    let words = body["error"]
        .as_str()
        .unwrap_or_default()
        .replace(key, "[key]");
    let words: String = words.chars().take(WORDS_MAX).collect();
    let reason = format!("the mail API answered {}: {words}", answer.status);
    match answer.status {
        200..=299 => match body["id"].as_str() {
            Some(id) => SendOutcome::accepted(id),
            None => SendOutcome::unknown("the mail API accepted the mail without an id"),
        },
        401 | 403 => SendOutcome::blocked(format!("{reason}; check {KEY}")),
        // The host follows no redirects.
        300..=399 | 404 | 405 => SendOutcome::blocked(format!("{reason}; check {URL}")),
        429 => SendOutcome::pause(reason).after(answer.retry_after_ms(host.now())),
        // The fault may have come after the mail was accepted.
        408 | 500.. => SendOutcome::unknown(reason),
        // The address does not exist: it is put on the suppression list.
        410 => SendOutcome::bounced(reason, BounceType::Permanent),
        _ => SendOutcome::rejected(reason),
    }
}

export_plugin!(JsonMail: delivery);
