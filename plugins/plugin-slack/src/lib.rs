//! Slack: posts chosen events to a channel, by an incoming webhook
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).

#![forbid(unsafe_code)]

mod answer;
#[cfg(test)]
mod conformance;
mod events;
mod message;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hogsend_plugin_api::{
    Analytics, Capture, Captured, Host, HttpErrorKind, HttpMethod, HttpRequest, Manifest, Plugin,
    Properties, Setting, Settings, export_plugin,
};

use events::Events;

const WEBHOOK_URL: &str = "SLACK_WEBHOOK_URL";
const EVENTS: &str = "SLACK_EVENTS";

/// What an operator should know at once.
const DEFAULT_EVENTS: &str = "email.bounced,email.complained,email.failed";

/// The most events of a message. The host halves larger batches.
const EVENTS_MAX: usize = 20;
/// Slack accepts about one message a second
/// (<https://docs.slack.dev/apis/web-api/rate-limits>).
const PACE: Duration = Duration::from_secs(1);
/// In the cache for as long as Slack accepts no further message.
const POSTED: &str = "slack:posted";

pub struct Slack {
    /// Whoever knows it may post.
    url: Option<String>,
    events: Events,
}

impl Plugin for Slack {
    fn manifest() -> Manifest {
        Manifest::new("slack", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    WEBHOOK_URL,
                    "the URL of an incoming webhook (https://hooks.slack.com/services/…), from your app's page Incoming Webhooks at https://api.slack.com/apps",
                )
                .url()
                .secret(),
            )
            .setting(
                Setting::new(
                    EVENTS,
                    "comma-separated names of the events to post; a * at the end stands for any ending, for example email.*",
                )
                .default(DEFAULT_EVENTS),
            )
            .captures_with(WEBHOOK_URL)
            .http_host("$SLACK_WEBHOOK_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        let events = Events::parse(get(EVENTS).unwrap_or(DEFAULT_EVENTS));
        Ok(Self {
            url: get(WEBHOOK_URL).map(str::to_owned),
            events: events.map_err(|wrong| format!("{EVENTS} {wrong}"))?,
        })
    }
}

impl Analytics for Slack {
    async fn person(&self, _: Host, _: String) -> Result<Option<Properties>, String> {
        Ok(None)
    }

    /// Posts the chosen events of the batch in one message, so that they are taken or refused
    /// together. Slack knows no ids: a repeat after a lost answer is a second message.
    async fn capture(&self, host: Host, batch: Vec<Capture>) -> Captured {
        let Some(url) = &self.url else {
            return Captured::Unwanted;
        };
        let chosen: Vec<(&str, &Capture)> = batch
            .iter()
            .filter_map(|capture| Some((capture.event.as_deref()?, capture)))
            .filter(|(name, _)| self.events.contain(name))
            .collect();
        if chosen.is_empty() {
            return Captured::Unwanted;
        }
        if chosen.len() > EVENTS_MAX {
            return Captured::rejected(format!(
                "a message holds {EVENTS_MAX} events, not {}",
                chosen.len()
            ));
        }
        if host.cache_get(POSTED).await.is_some() {
            return Captured::retry(
                "Slack accepts one message a second",
                Some(PACE.as_millis() as u64),
            );
        }
        host.cache_put(POSTED, "1", PACE).await;
        let request = HttpRequest::new(HttpMethod::Post, url)
            .header("content-type", "application/json")
            .body(message::body(&chosen));
        match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, url, host.now()),
            Err(error) if error.kind == HttpErrorKind::Refused => {
                Captured::blocked(format!("{}; check {WEBHOOK_URL}", error.message))
            }
            Err(error) => Captured::retry(error.message, None),
        }
    }
}

export_plugin!(Slack: analytics);
