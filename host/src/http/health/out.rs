//! The health response: statuses for everyone, all details for callers with a key or session.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::wire::words::{EngineKind, MailPurpose, ProviderStatus};
use crate::plugins::Origin;

/// The health of the process and of its dependencies. Details are absent without a key or session.
#[derive(Serialize, ToSchema)]
pub struct HealthOut {
    pub(super) status: Health,
    /// Seconds since the process started.
    pub(super) uptime: f64,
    pub(super) timestamp: DateTime<Utc>,
    pub(super) components: Components,
    pub(super) schema: Schema,
    #[serde(flatten)]
    pub(super) details: Details,
}

/// Details for callers with a key or session.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    /// The active delivery providers, those of lifecycle mail first, in order of preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) providers: Option<Vec<ProviderOut>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<QueueOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plugins: Option<Vec<PluginOut>>,
    /// Changes to contacts that untrusted events requested and that wait for a decision, counted up to
    /// 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pending_changes: Option<i64>,
    /// Names of events by their aliases (`EVENT_ALIASES`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_aliases: Option<BTreeMap<String, String>>,
    /// What is paused: `everything`, `journey:<id>` or `category:<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<Vec<String>>,
    /// Problems, one sentence each, with what to do about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) findings: Option<Vec<String>>,
}

/// Whether a delivery provider takes mail.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderHealthOut)]
pub struct ProviderOut {
    pub(super) id: String,
    /// The mail it takes.
    #[schema(value_type = Vec<MailPurpose>)]
    pub(super) purposes: Vec<&'static str>,
    /// `blocked`: an operator has to act. `resting`: the provider takes mail again by itself.
    #[schema(value_type = ProviderStatus)]
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// When the next mail tests the provider, or when a rate limit ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<DateTime<Utc>>,
}

/// Work that is due, by kind.
#[derive(Serialize, ToSchema)]
pub struct QueueOut {
    pub(super) runs: BacklogOut,
    /// Includes mails that wait for a provider that takes mail.
    pub(super) mails: BacklogOut,
    pub(super) captures: BacklogOut,
    pub(super) webhooks: BacklogOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BacklogOut {
    /// Counted up to 100,000.
    pub(super) due: i64,
    /// How many seconds the oldest due item has waited.
    pub(super) oldest_seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    /// No worker, no database, an engine or a configured Redis that does not answer, a blocked provider, or a
    /// restored database that nobody has accepted yet.
    Degraded,
    MigrationPending,
}

#[derive(Serialize, ToSchema)]
pub struct Components {
    pub(super) database: Component,
    pub(super) redis: Component,
    pub(super) worker: WorkerComponent,
    pub(super) engine: EngineComponent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerComponent {
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_seen_at: Option<DateTime<Utc>>,
    /// Workers that reported recently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineComponent {
    /// What wakes runs, as most of the live workers report it; without a worker, what this process's
    /// settings choose.
    #[schema(value_type = Option<EngineKind>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    pub(super) status: Status,
    /// The version of the engine; unknown until it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// How many seconds the oldest due run has waited for a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lag_seconds: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Up,
    Down,
    /// Switched off by the settings.
    Off,
}

/// Whether the database has all migrations of this binary. There is only one set of migrations;
/// `client` repeats `engine` for clients that expect two.
#[derive(Serialize, ToSchema)]
pub struct Schema {
    pub(super) engine: SchemaOut,
    pub(super) client: SchemaOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaOut {
    pub(super) in_sync: bool,
    #[serde(flatten)]
    pub(super) names: SchemaNames,
}

/// Names of migrations; absent without a key or session.
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct SchemaNames {
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) applied: Option<Option<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) required: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
pub struct PluginOut {
    pub(super) id: String,
    pub(super) version: String,
    #[schema(value_type = Vec<String>)]
    pub(super) kinds: Vec<Kind>,
    #[schema(value_type = String, example = "linked")]
    pub(super) origin: Origin,
}

impl HealthOut {
    /// Whether requests can be served: the database answers and its schema is up to date.
    pub fn serves(&self) -> bool {
        self.components.database.status == Status::Up && self.schema.engine.in_sync
    }

    /// Removes everything except the statuses, for callers without a key or session.
    pub fn for_strangers(mut self) -> Self {
        self.details = Details::default();
        self.components.database.latency_ms = None;
        self.components.redis.latency_ms = None;
        self.components.worker.last_seen_at = None;
        self.components.worker.count = None;
        self.components.engine.kind = None;
        self.components.engine.version = None;
        self.components.engine.lag_seconds = None;
        self.schema.engine.names = SchemaNames::default();
        self.schema.client.names = SchemaNames::default();
        self
    }
}
