//! The store: every query of the host, one file per noun. Functions take a connection, so a room
//! decides what shares a transaction.
//!
//! Locks are taken in one order everywhere (see [`Level`]): names, event keys, contacts by id, runs
//! and mails, providers. The embedded database has a single connection, so no code holds one while it asks for
//! another.

mod alert;
mod api_key;
mod attempt;
mod audit;
mod batch;
mod capture;
mod consent;
mod contact;
mod contact_admin;
mod dead_letter;
#[cfg(feature = "embedded-db")]
mod embedded;
mod erase;
mod event;
mod event_admin;
mod health;
mod history;
mod identity;
mod import;
mod journey_admin;
mod lock;
mod merge;
mod metric;
mod migrate;
mod once;
mod pace;
mod password_reset;
mod pending;
mod plugin_call;
mod preference;
mod provider;
mod queue;
mod retention;
mod send;
mod send_claim;
mod send_state;
mod send_status;
mod send_story;
mod server;
mod state;
mod state_admin;
mod state_step;
mod story;
mod suppression;
mod track;
mod transact;
mod user;
mod user_admin;
mod visit;
mod wait;
mod wake;
mod webhook;
mod webhook_delivery;

pub use alert::{
    AlertEnd, AlertFigure, AlertRow, AlertRule, ClaimedAlert, Entered, NewAlert, alert_claim,
    alert_end, alert_entered, alert_figure, alert_insert, alert_next_due, alert_rule_checked,
    alert_rule_delete, alert_rule_due, alert_rule_lock, alert_rule_put, alert_rules_list,
    alerts_give_back, alerts_list,
};
pub use api_key::{
    ApiKey, api_key_any, api_key_by_hash, api_key_delete, api_key_insert, api_key_used,
    api_keys_list,
};
pub use attempt::{
    Beginning, EndedSend, SendEnd, attempts_begin, attempts_repeat, sends_end, sends_owners_lock,
    sends_renew,
};
pub use audit::{AuditFilter, AuditRow, NewAudit, audit_insert, audits_forget, audits_list};
pub use batch::{
    ClaimedBatch, batch_attempt, batch_claim, batch_end, batch_give_back, batch_insert,
    batch_members, batch_renew,
};
pub use capture::{
    CaptureHold, ClaimedCapture, NewCapture, capture_again, capture_claim, capture_delete,
    capture_dismiss, capture_give_up, capture_hold, capture_holds, capture_insert,
    capture_next_due, capture_probe, capture_release, capture_retry, captures_address,
    captures_known, captures_orphaned,
};
pub use consent::{
    ConsentChange, ConsentDelta, Consents, consent_changes_forget, consent_changes_insert,
    consent_rows, consents, mailbox_forget, mailboxes_change, preferences_change,
    preferences_not_copied,
};
pub use contact::{
    Contact, ContactRow, Found, Holder, NewIdentity, Wanted, contact_by_user, contact_confirm,
    contact_get, contact_lock, contact_set_properties, contact_unfit, contact_unfit_of,
    contact_upsert, contacts_address, contacts_find, contacts_holding, contacts_holding_lock,
    contacts_not_addressed, contacts_wanted, identity_lock,
};
pub use contact_admin::{
    TimelineItem, contact_anonymous_ids, contact_change, contact_count, contact_row,
    contact_timeline, contacts_list,
};
pub use dead_letter::{DeadLetter, dead_letter_count, dead_letters, send_dismiss};
pub use erase::contacts_erase;
pub use event::{
    EventRow, KnownEvent, event_insert, event_insert_known, event_key_claim, events_stored,
};
pub use event_admin::{
    EVENTS_COUNTED, EventFilter, EventStory, event_count, event_stories, event_story,
};
pub use health::{WorkersSeen, worker_beat, worker_findings, worker_remove, workers_seen};
pub use history::{
    History, PageEnd, PastEvent, Since, history_count, history_email, history_event,
    history_events, history_journey, history_page,
};
pub use identity::{
    AnonymousEvent, NewId, anonymous_insert, anonymous_take, identities_insert, identities_of,
};
pub use import::{
    ClaimedImport, ImportProgress, ImportRow, NewImport, RowError, contacts_first_seen,
    import_claim, import_fail, import_get, import_hold, import_insert, import_next_due,
    import_progress, import_release,
};
pub use journey_admin::{
    JourneyCount, LogRow, StateFilter, StateStory, journey_counts, journey_set_enabled,
    journey_skips, state_count, state_logs, state_stories, state_story,
};
pub use lock::Level;
pub use merge::{EndedByMerge, Merge, contact_merge};
pub use metric::{
    EventTally, Outcomes, Overview, metric_events, metric_journey_mails, metric_overview,
    metric_providers, metric_runs, metric_sent, metric_templates,
};
pub use migrate::{SchemaState, index_searches, migrate, schema_state};
pub use once::{once_get, once_insert, pass_insert, passes_since};
pub use pace::{SendOrigin, journey_last_sends, send_origins, sends_begun_since};
pub use password_reset::{reset_find, reset_insert, reset_take};
pub use pending::{
    NewPending, PENDING_COUNTED, PendingChange, PendingRow, pending_count, pending_delete,
    pending_get, pending_list, pending_put, pending_settle,
};
pub use plugin_call::{Deaths, PluginCall, call_switch, calls_died, calls_forget, calls_void};
pub use preference::{
    Preferences, preferences_bounces, preferences_by_contact, preferences_count_bounce,
};
pub use provider::{
    Hold, HoldKind, PROBE_EVERY, provider_cured, provider_fault, provider_hold, provider_holds,
    provider_probe, provider_rate, provider_release, provider_slot, provider_sound, provider_untry,
};
pub use queue::{Backlog, Queues, queues};
pub use retention::{KEPT, Kept, Lifetime, kept_delete};
pub use send::{NewSend, SendRow, send_by_key, send_insert, send_raw, sends_of_run, sends_recent};
pub use send_claim::{
    ClaimedSend, send_claim, send_next_due, sends_after_clock_change, sends_give_back, sends_hold,
    sends_keep, sends_postpone, sends_release, sends_summon,
};
pub use send_state::SendStatus;
pub use send_status::{
    KnownSend, NewMailEvent, Progress as SendProgress, mail_event_insert, send_addresses,
    send_categories, send_find, send_find_locked, send_lock, send_progress, send_target,
};
pub use send_story::{
    ClickStory, LinkStory, SendFilter, SendHappening, SendStory, send_clicks, send_count,
    send_history, send_links, send_mail, send_stories, send_story,
};
pub use state::{
    ClaimedState, LastEntry, Log, NewSkip, NewState, OpenState, Progress, Unreached,
    journeys_disabled, log_insert, skip_insert, state_claim, state_exit, state_failed,
    state_failures, state_fence, state_insert, state_last_entries, state_next_due, state_person,
    state_progress, state_release, states_give_back, states_open, states_renew, states_unreached,
    states_waiting,
};
pub use state_admin::{
    StateRow, state_dismiss, state_end, state_get, state_has_rival, state_reopen, states_broken,
};
pub use state_step::{StepEnd, StepRow, step_upsert, steps_complete, steps_of};
pub use story::{Happening, StoryCounts, story_counts, story_since};
pub use suppression::{
    NewSuppression, Suppression, suppression_delete, suppression_forget, suppression_insert,
    suppression_rekey, suppressions_address, suppressions_insert, suppressions_list,
    suppressions_of, suppressions_unaddressed,
};
pub use track::{NewVisit, TrackedLink, click_insert, open_insert};
pub use transact::{
    Failure, Patience, Tx, in_doubt, may_be_committed, not_committed, stir, transaction_id,
};
pub use user::{
    SessionRow, User, session_by_token, session_delete, session_delete_one, session_extend,
    session_insert, sessions_delete_expired, sessions_delete_of, sessions_delete_others,
    sessions_of, user_any, user_by_email, user_by_id, user_insert, user_rename, user_set_password,
    users_lock,
};
pub use user_admin::{user_delete, users_list};
pub use visit::{
    Click, DueVisit, Visit, clicks_between, visit_claim, visit_next_due, visit_postpone,
    visit_settle, visits_due,
};
pub use wait::{OpenWait, contact_listen, contact_unlisten, events_arrived, waits_open};
pub use wake::{Topic, Wake};
pub use webhook::{
    Endpoint, Subscriber, delivery_dismiss, delivery_retry, webhook_delete, webhook_get,
    webhook_insert, webhook_lock, webhook_posted, webhook_rotate, webhook_subscribers,
    webhook_switch_off, webhook_update, webhooks_list,
};
pub use webhook_delivery::{
    ClaimedDelivery, DeliveryEnd, DeliveryRow, NewDelivery, deliveries_give_back,
    deliveries_insert, deliveries_list, delivery_claim, delivery_end, delivery_next_due,
};

use std::error::Error as _;
use std::path::Path;
#[cfg(feature = "embedded-db")]
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor as _, PgConnection, PgPool, Postgres};

/// A connection, in or outside a transaction.
pub type Conn = PgConnection;
/// A connection on loan from the pool.
pub type PoolConn = sqlx::pool::PoolConnection<Postgres>;

pub type Result<T> = std::result::Result<T, sqlx::Error>;

/// A list's optional filters make a plan for any values far slower than one for those at hand. The
/// time is below that of a request, so that a refusal can still be answered.
const BEGIN_REPORT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL plan_cache_mode = force_custom_plan; \
     SET LOCAL statement_timeout = '25s'";

/// How long one statement of a connection may take, where nothing else is said: far longer than any
/// that is well.
const SESSION: &str = "SET statement_timeout = '60s'";

/// The database and the means to be woken by it. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    wake: Wake,
    embedded: bool,
    #[cfg(feature = "embedded-db")]
    server: Arc<Mutex<Option<embedded::Embedded>>>,
}

impl Db {
    /// Opens a pool on a Postgres server. Looks at the server first, so that a wrong URL and a database
    /// that cannot be used show at start, with what to do. `migrating` asks for the right to make
    /// tables, too.
    pub async fn open(
        url: &SecretString,
        max_connections: u32,
        migrating: bool,
    ) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|error| {
            // It may quote the URL.
            let _: sqlx::Error = error;
            anyhow::anyhow!(
                "DATABASE_URL is no URL of a Postgres: postgres://user:password@host/database"
            )
        })?;
        server::examine(&options, migrating)
            .await
            .map_err(|unusable| {
                tracing::debug!(
                    error = unusable.source().map(tracing::field::display),
                    "the database cannot be used"
                );
                anyhow::anyhow!("{unusable}")
            })?;
        Ok(Self::connect(url, max_connections).await?)
    }

    /// Opens a pool on a Postgres server that is known to be sound.
    pub async fn connect(url: &SecretString, max_connections: u32) -> Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(|conn, _| {
                Box::pin(async move {
                    conn.execute(SESSION).await?;
                    Ok(())
                })
            })
            .connect_with(options.application_name("hogsend"))
            .await?;
        Ok(Self {
            wake: Wake::listening(pool.clone()),
            pool,
            embedded: false,
            #[cfg(feature = "embedded-db")]
            server: Arc::default(),
        })
    }

    /// Starts or reopens the database inside the binary, in `folder`.
    #[cfg(feature = "embedded-db")]
    pub async fn embedded(folder: &Path) -> anyhow::Result<Self> {
        let (pool, server) = embedded::open(folder).await?;
        Ok(Self {
            pool,
            wake: Wake::in_process(),
            embedded: true,
            server: Arc::new(Mutex::new(Some(server))),
        })
    }

    #[cfg(not(feature = "embedded-db"))]
    pub async fn embedded(_folder: &Path) -> anyhow::Result<Self> {
        anyhow::bail!(
            "this build has no embedded database (feature `embedded-db`): set DATABASE_URL to a \
             Postgres"
        )
    }

    /// One connection at a time, and no other process.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// A connection for single statements.
    pub async fn conn(&self) -> Result<PoolConn> {
        self.pool.acquire().await
    }

    /// A transaction for lists and reports. All its statements see one state of the store, each is
    /// planned for the values it comes with, and the server ends one that takes longer than 25 s.
    pub async fn report(&self) -> Result<Tx> {
        self.pool.begin_with(BEGIN_REPORT).await.map(Tx::new)
    }

    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Closes every connection, and stops the database where it is the embedded one.
    pub async fn close(&self) {
        self.pool.close().await;
        #[cfg(feature = "embedded-db")]
        {
            let server = self
                .server
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(server) = server {
                let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
                if let Ok(Err(error)) = stopped {
                    tracing::warn!(%error, "the embedded database did not stop cleanly");
                }
            }
        }
    }
}

/// Whether running the same transaction again may succeed (SQLSTATE class 40).
pub fn is_transient(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01")) || transact::is_moved(error)
}

/// Whether the server ended a statement that took longer than it may (SQLSTATE 57014).
pub fn is_overdue(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("57014")
}

/// Whether the database's disk is full.
pub fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "53100")
}

/// Whether the database could not be reached at all.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        error if may_be_committed(error) => true,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // Class 57: the operator stopped the server; 53: it has no room; 58: its files cannot be read or
        // written; 08: connection gone.
        error => error
            .as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| ["57", "53", "58", "08"].contains(&&code[..2.min(code.len())])),
    }
}
