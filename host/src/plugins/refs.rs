//! The plugins' interfaces for the rest of the host, one type per plugin kind.

use std::sync::Arc;

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::journey::{AdvanceIn, AdvanceOut, Catalogue, CatalogueIn, Document};
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchSent, Capabilities, Capture, Captured, Checked, ConnectIn,
    Connected, DeliveryReading, HttpError, HttpRequest, HttpResponse, Mail, Manifest, Past, PastIn,
    Prepared, Properties, Reading, Refusal, Sent, Settings, SetupItem, Webhook, limits,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caller::optional;
use super::conversation::{Purpose, converse};
use super::documents;
use super::running::Running;
use super::{ErrorKind, PluginError};
use crate::foreign::Foreign;

impl Running {
    async fn converse<I: Serialize, T: DeserializeOwned + Foreign>(
        &self,
        method: u32,
        input: I,
    ) -> Result<T, PluginError> {
        self.converse_for(method, input, Purpose::Work).await
    }

    /// Reads a webhook, which counts as read when it was received.
    async fn read<T: DeserializeOwned + Foreign>(
        &self,
        method: u32,
        webhook: &Webhook,
    ) -> Result<T, PluginError> {
        let purpose = Purpose::Webhook(webhook.received_at);
        self.converse_for(method, webhook, purpose).await
    }

    async fn converse_for<I: Serialize, T: DeserializeOwned + Foreign>(
        &self,
        method: u32,
        input: I,
        purpose: Purpose,
    ) -> Result<T, PluginError> {
        converse(
            &self.caller,
            &self.performer,
            &self.scope,
            &self.clock,
            method,
            input,
            purpose,
        )
        .await
    }
}

/// A running plugin of any kind.
#[derive(Clone)]
pub struct PluginRef(pub(super) Arc<Running>);

impl PluginRef {
    pub fn manifest(&self) -> &Manifest {
        &self.0.caller.manifest
    }

    /// What the plugin found out about its own set-up; nothing where it checks nothing.
    pub async fn check(&self) -> Result<Vec<Checked>, PluginError> {
        let checked = self.0.converse(method::PLUGIN_CHECK, ()).await;
        Ok(optional(checked)?.unwrap_or_default())
    }

    /// What to enter at the vendor; nothing where the plugin does not say.
    pub async fn setup(&self) -> Result<Vec<SetupItem>, PluginError> {
        let now = self.0.clock.now();
        let caller = &self.0.caller;
        let items = caller.call_optional(method::PLUGIN_SETUP, &(), now).await?;
        Ok(items.unwrap_or_default())
    }

    /// Enters the set-up at the vendor.
    pub async fn connect(&self, wanted: &ConnectIn) -> Result<Connected, PluginError> {
        let done = self.0.converse(method::PLUGIN_CONNECT, wanted).await;
        Ok(optional(done)?.unwrap_or(Connected::Unsupported))
    }
}

/// Reads webhooks.
#[derive(Clone)]
pub struct EventSourceRef(pub(super) Arc<Running>);

impl EventSourceRef {
    pub fn manifest(&self) -> &Manifest {
        &self.0.caller.manifest
    }

    /// Whether its webhook secret is set.
    pub fn has_webhook_secret(&self) -> bool {
        let name = self.manifest().webhook_secret.as_deref();
        name.is_some_and(|name| self.0.settings.get(name).is_some())
    }

    pub async fn read(&self, webhook: &Webhook) -> Result<Result<Reading, Refusal>, PluginError> {
        self.0.read(method::EVENT_SOURCE_READ, webhook).await
    }

    /// A page of the vendor's past events; `None` where the plugin reads none.
    pub async fn history(&self, past: &PastIn) -> Result<Option<Past>, PluginError> {
        optional(self.0.converse(method::EVENT_SOURCE_HISTORY, past).await)
    }
}

/// Hands mails to a provider.
#[derive(Clone)]
pub struct DeliveryRef {
    pub(super) plugin: Arc<Running>,
    pub(super) capabilities: Capabilities,
}

impl DeliveryRef {
    pub fn id(&self) -> &str {
        &self.plugin.caller.manifest.id
    }

    pub fn version(&self) -> &str {
        &self.plugin.caller.manifest.version
    }

    /// They may contain secrets.
    pub fn settings(&self) -> &Settings {
        &self.plugin.settings
    }

    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Whether it keeps its mails on this machine.
    pub fn is_local(&self) -> bool {
        self.plugin.caller.manifest.local_only
    }

    pub async fn prepare(&self, mail: &Mail) -> Result<Result<Prepared, String>, PluginError> {
        let now = self.plugin.clock.now();
        let caller = &self.plugin.caller;
        let prepared: Result<Prepared, String> =
            caller.call(method::DELIVERY_PREPARE, mail, now).await?;
        // The plugin would prepare it alike again, so the mail fails.
        Ok(prepared.and_then(|prepared| {
            let fits = limits::MAIL.check(prepared.body.as_slice().len());
            fits.map_err(|why| format!("the mail {why}"))?;
            Ok(prepared)
        }))
    }

    pub async fn send(&self, attempt: Attempt) -> Result<Sent, PluginError> {
        self.plugin.converse(method::DELIVERY_SEND, attempt).await
    }

    pub async fn send_batch(&self, batch: BatchAttempt) -> Result<BatchSent, PluginError> {
        self.plugin
            .converse(method::DELIVERY_SEND_BATCH, batch)
            .await
    }

    pub async fn read_webhook(
        &self,
        webhook: &Webhook,
    ) -> Result<Result<DeliveryReading, Refusal>, PluginError> {
        let plugin = &self.plugin;
        plugin.read(method::DELIVERY_READ_WEBHOOK, webhook).await
    }
}

/// Looks up people's properties in, and sends captures to, an analytics product.
#[derive(Clone)]
pub struct AnalyticsRef(pub(super) Arc<Running>);

impl AnalyticsRef {
    pub fn id(&self) -> &str {
        &self.0.caller.manifest.id
    }

    /// Whether captures are to be stored for it: whether the setting it needs for them is set.
    pub fn takes_captures(&self) -> bool {
        let needed = self.0.caller.manifest.captures_with.as_deref();
        needed.is_none_or(|name| self.0.settings.get(name).is_some())
    }

    /// The product's properties of a person; `None` where it has none or is not configured.
    pub async fn person(&self, distinct_id: &str) -> Result<Option<Properties>, PluginError> {
        let known: Result<Option<Properties>, String> = self
            .0
            .converse(method::ANALYTICS_PERSON, distinct_id)
            .await?;
        known.map_err(|message| {
            self.0.caller.error(
                super::ErrorKind::Protocol,
                format!("could not look the person up: {message}"),
            )
        })
    }

    /// Sends events and properties to the product.
    pub async fn capture(&self, batch: &[Capture]) -> Result<Captured, PluginError> {
        self.0.converse(method::ANALYTICS_CAPTURE, batch).await
    }

    /// A page of the product's past events; `None` where the plugin reads none.
    pub async fn history(&self, past: &PastIn) -> Result<Option<Past>, PluginError> {
        optional(self.0.converse(method::ANALYTICS_HISTORY, past).await)
    }
}

/// Provides journeys and templates.
#[derive(Clone)]
pub struct JourneysRef(pub(super) Arc<Running>);

impl JourneysRef {
    pub fn id(&self) -> &str {
        &self.0.caller.manifest.id
    }

    pub fn version(&self) -> &str {
        &self.0.caller.manifest.version
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// Lists the journeys and templates again, with those made of these documents.
    pub async fn list(&self, documents: Vec<Document>) -> Result<Catalogue, PluginError> {
        let caller = &self.0.caller;
        documents::check(&documents)
            .map_err(|why| caller.error(ErrorKind::Protocol, format!("is not asked: it {why}")))?;
        let input = CatalogueIn::new(documents);
        let now = self.0.clock.now();
        caller.call(method::JOURNEYS_CATALOGUE, &input, now).await
    }

    /// Sends an HTTP request of one of its journeys, to a host its manifest allows.
    pub async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Running {
            performer, scope, ..
        } = &*self.0;
        performer.http(scope, request).await
    }

    pub async fn advance(&self, run: AdvanceIn) -> Result<AdvanceOut, PluginError> {
        let now = self.0.clock.now();
        let caller = &self.0.caller;
        caller.call(method::JOURNEYS_ADVANCE, &run, now).await
    }
}
