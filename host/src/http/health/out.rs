//! What is told of the process's health: little to strangers, all to those who run it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::wire::words::ProviderStatus;
use crate::plugins::Origin;

/// Whether the process and what it leans on are well. What only callers with a key or session are
/// told is absent for others.
#[derive(Serialize, ToSchema)]
pub struct HealthOut {
    pub(super) status: Health,
    /// Seconds since the start.
    pub(super) uptime: f64,
    pub(super) timestamp: DateTime<Utc>,
    pub(super) components: Components,
    pub(super) schema: Schema,
    #[serde(flatten)]
    pub(super) details: Details,
}

/// What callers with a key or session are told beside; nothing of it is there for strangers.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    /// The active delivery providers, in the order they are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) providers: Option<Vec<ProviderOut>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<QueueOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plugins: Option<Vec<PluginOut>>,
    /// Changes to people that untrusted events asked for and nobody decided on, counted to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pending_changes: Option<i64>,
    /// The names events are stored under, by the other names they arrive with (`EVENT_ALIASES`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_aliases: Option<BTreeMap<String, String>>,
    /// Journeys that are switched off: nobody is enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<Vec<String>>,
    /// What is not as it should be, a sentence each, with what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) findings: Option<Vec<String>>,
}

/// Whether a delivery provider takes mail.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderHealthOut)]
pub struct ProviderOut {
    pub(super) id: String,
    /// `blocked` where someone has to act, `resting` where it ends by itself.
    #[schema(value_type = ProviderStatus)]
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// When one mail tries whether it works again, or a limit ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<DateTime<Utc>>,
}

/// Work that is due.
#[derive(Serialize, ToSchema)]
pub struct QueueOut {
    pub(super) runs: BacklogOut,
    /// Mails that are kept until a provider takes them among them.
    pub(super) mails: BacklogOut,
    pub(super) captures: BacklogOut,
    pub(super) webhooks: BacklogOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BacklogOut {
    /// Counted up to 100,000.
    pub(super) due: i64,
    /// For how long the one that waits longest has waited.
    pub(super) oldest_seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    /// Without a worker, the database, or a Redis that is set, or with a provider that is blocked.
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
    /// Workers that were seen lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineComponent {
    #[schema(example = "embedded")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    /// How long the run that waits longest for a worker has waited.
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

/// How far the database is behind the program. There is one track of migrations; `client` says so to
/// clients that ask for two.
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

/// Absent for strangers.
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
    /// Whether requests can be answered: the database is there and in sync.
    pub fn serves(&self) -> bool {
        self.components.database.status == Status::Up && self.schema.engine.in_sync
    }

    /// What a stranger may know: how each part is, not what it is.
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
