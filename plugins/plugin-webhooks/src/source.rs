//! A described source, ready to read webhooks.

use std::path::PathBuf;
use std::sync::Arc;

use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::{
    EventSource, Host, Manifest, Reading, Refusal, Setting, Settings, Webhook, json,
};

use crate::mapping::Mapping;
use crate::verify::{Authentication, Verifier};

/// What a file says.
#[derive(Debug)]
pub struct Source {
    pub id: String,
    /// Events may be forged by strangers.
    pub untrusted: bool,
    pub authentication: Authentication,
    pub mapping: Mapping,
}

impl Source {
    pub fn manifest(&self) -> Manifest {
        let own = &self.authentication;
        let mut manifest = Manifest::new(&self.id, env!("CARGO_PKG_VERSION"))
            // Two files for one vendor may have one secret.
            .setting(Setting::new(&own.secret, &own.help).secret().shared())
            .webhook_secret(&own.secret);
        if let Some(previous) = &own.previous_secret {
            let help = format!(
                "the former value of {}, accepted as well while the secret is being replaced",
                own.secret
            );
            manifest = manifest.setting(Setting::new(previous, &help).secret().shared());
        }
        match self.untrusted {
            true => manifest.untrusted(),
            false => manifest,
        }
    }

    pub fn described(self, manifest: Manifest, path: Option<PathBuf>) -> Described {
        let source = Arc::new(self);
        Described::event_source(manifest, path, move |settings| {
            Running::new(source.clone(), settings)
        })
    }
}

/// A source with its secrets.
pub struct Running {
    source: Arc<Source>,
    /// `None` in development, where no secret is set.
    verifier: Option<Verifier>,
}

impl Running {
    /// The error names the setting with a wrong secret, not its value.
    pub fn new(source: Arc<Source>, settings: &Settings) -> Result<Self, String> {
        let verifier = source.authentication.verifier(settings)?;
        Ok(Self { source, verifier })
    }

    /// Verifies and reads a webhook.
    pub fn read_webhook(&self, webhook: &Webhook) -> Result<Reading, Refusal> {
        if webhook.method != "POST" {
            return Ok(Reading::skipped(
                "this source reads only what is sent with POST",
            ));
        }
        if let Some(verifier) = &self.verifier {
            verifier
                .verify(webhook)
                .map_err(Refusal::unauthorized_because)?;
        }
        let body = json::lenient(webhook.body.as_slice())
            .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
        let only_first = self.source.authentication.scheme.signs_first_item_only();
        if only_first && self.source.mapping.items(&body).len() > 1 {
            return Err(Refusal::invalid(
                "the signature covers only the first event of a batch: set the batch size at the vendor to 1",
            ));
        }
        Ok(self.source.mapping.read(webhook, &body))
    }
}

impl EventSource for Running {
    async fn read(&self, _: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        self.read_webhook(webhook)
    }
}
