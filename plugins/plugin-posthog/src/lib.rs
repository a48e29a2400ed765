//! PostHog: reads events from its webhooks, past events and person properties from its API, and sends
//! events.

#![forbid(unsafe_code)]

mod api;
mod capture;
#[cfg(test)]
mod conformance;
mod destination;
mod history;
mod person;
mod webhook;

use hogsend_plugin_api::{
    Analytics, Capture, Captured, Checked, ConnectIn, Connected, EventSource, Host, Manifest, Past,
    PastIn, Plugin, Properties, Reading, Refusal, Setting, Settings, SetupItem, Webhook,
    export_plugin,
};

use api::PrivateApi;
use capture::CaptureApi;

const WEBHOOK_SECRET: &str = "POSTHOG_WEBHOOK_SECRET";
const PREVIOUS_SECRET: &str = "POSTHOG_WEBHOOK_SECRET_PREVIOUS";
const API_KEY: &str = "POSTHOG_API_KEY";
const HOST: &str = "POSTHOG_HOST";
const PERSONAL_API_KEY: &str = "POSTHOG_PERSONAL_API_KEY";
const PROJECT_ID: &str = "POSTHOG_PROJECT_ID";

/// PostHog's alias for the current project of the personal API key's owner.
const CURRENT_PROJECT: &str = "@current";

/// Marks the events this plugin sends to PostHog, so that a webhook destination can filter them.
const LIB: &str = "hogsend";

/// The sample webhook of the development server: a person signs up.
const SAMPLE: &str = r#"{"event":{"uuid":"{uuid}","event":"user.created","distinct_id":"user-1","timestamp":"{now}","properties":{"plan":"pro"}},"person":{"properties":{"email":"ada@example.com","first_name":"Ada"}}}"#;

pub struct PostHog {
    /// The present one and the one before it.
    secrets: Vec<String>,
    /// Only with host and personal API key.
    api: Option<PrivateApi>,
    has_host: bool,
    captures: Option<CaptureApi>,
}

impl Plugin for PostHog {
    fn manifest() -> Manifest {
        Manifest::new("posthog", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    WEBHOOK_SECRET,
                    "the secret your PostHog webhook destination sends in the header x-posthog-webhook-secret",
                )
                .secret(),
            )
            .setting(
                Setting::new(
                    PREVIOUS_SECRET,
                    "the secret before it, while the destination is being changed",
                )
                .secret(),
            )
            .setting(
                Setting::new(
                    HOST,
                    "the URL of your PostHog: https://us.posthog.com, https://eu.posthog.com or your own",
                )
                .url(),
            )
            .setting(
                Setting::new(
                    PERSONAL_API_KEY,
                    "a personal API key (phx_…): with the scope person:read to read person properties, query:read to \
                     read missed events, hog_function:write to make the webhook destination",
                )
                .secret(),
            )
            .setting(
                Setting::new(
                    PROJECT_ID,
                    "the number of the project, if the key's owner has several",
                )
                .default(CURRENT_PROJECT),
            )
            .setting(
                Setting::new(
                    API_KEY,
                    "the project API key (phc_…), to send PostHog events of mails and captures of journeys",
                )
                .secret(),
            )
            .webhook_secret(WEBHOOK_SECRET)
            .sample_webhook(SAMPLE)
            .untrusted()
            .captures_with(API_KEY)
            .http_host("$POSTHOG_HOST")
            .http_host("us.posthog.com")
            .http_host("eu.posthog.com")
            .http_host("us.i.posthog.com")
            .http_host("eu.i.posthog.com")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let project = settings.get(PROJECT_ID).unwrap_or(CURRENT_PROJECT);
        let api = settings.get(HOST).zip(settings.get(PERSONAL_API_KEY));
        Ok(Self {
            secrets: [WEBHOOK_SECRET, PREVIOUS_SECRET]
                .into_iter()
                .filter_map(|name| settings.get(name))
                .map(str::to_owned)
                .collect(),
            captures: settings
                .get(API_KEY)
                .map(|key| CaptureApi::new(settings.get(HOST), key)),
            api: api.map(|(host, key)| PrivateApi::new(host, key, project)),
            has_host: settings.get(HOST).is_some(),
        })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        vec![match &self.api {
            Some(api) => api.check(host).await,
            None => Checked::not_set("the personal API key", PERSONAL_API_KEY),
        }]
    }

    fn setup(&self) -> Vec<SetupItem> {
        destination::setup(!self.secrets.is_empty())
    }

    async fn connect(&self, host: &Host, wanted: &ConnectIn) -> Connected {
        // The first secret is the present one.
        match (&self.api, self.secrets.first()) {
            (None, _) => Connected::not_set(self.missing()),
            (_, None) => Connected::not_set(WEBHOOK_SECRET),
            (Some(api), Some(secret)) => destination::connect(api, host, secret, wanted).await,
        }
    }
}

impl PostHog {
    /// The setting without which the private API cannot be used.
    fn missing(&self) -> &'static str {
        match self.has_host {
            true => PERSONAL_API_KEY,
            false => HOST,
        }
    }
}

impl EventSource for PostHog {
    async fn read(&self, _: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        webhook::read(&secrets, webhook)
    }

    async fn history(&self, host: &Host, past: &PastIn) -> Past {
        match &self.api {
            Some(api) => history::page(api, host, past).await,
            None => {
                let missing = self.missing();
                let reason = format!(
                    "{missing} is not set: past events are read with {HOST} and {PERSONAL_API_KEY}, a personal \
                     API key with the scope query:read"
                );
                Past::unavailable(reason, None)
            }
        }
    }
}

impl Analytics for PostHog {
    async fn person(&self, host: Host, distinct_id: String) -> Result<Option<Properties>, String> {
        match &self.api {
            Some(api) => api.properties(&host, &distinct_id).await,
            None => Ok(None),
        }
    }

    async fn capture(&self, host: Host, batch: Vec<Capture>) -> Captured {
        match &self.captures {
            Some(captures) => captures.send(&host, &batch).await,
            None => Captured::Unwanted,
        }
    }
}

export_plugin!(PostHog: event_source, analytics);
