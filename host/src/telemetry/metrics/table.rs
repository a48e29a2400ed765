//! Every metric: name, labels, help.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>. Label values are few and are the program's own: routes
//! as templates, ids of plugins and journeys, words of closed vocabularies; never an id of a row, an address, or
//! anything a caller sends.

use super::family::{Counter, Described, Gauge, Histogram};

/// Bounds for what is done in this process, in seconds.
const FAST: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Bounds for what others do, in seconds.
const SLOW: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Bounds for how late something begins, in seconds.
const LATE: &[f64] = &[
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0,
];
/// Bounds for how many there are of something.
const MANY: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// Defines each metric, and lists it in the table.
macro_rules! table {
    ($($static:ident: $kind:ident = $name:literal $(in $buckets:ident)? [$($label:literal),*] $help:literal;)*) => {
        $(pub static $static: $kind = $kind::new($name, $($buckets,)? &[$($label),*], $help);)*

        /// Every metric, in the order of docs/reference/metrics.md.
        pub static TABLE: &[&dyn Described] = &[$(&$static),*];
    };
}

table! {
    BUILD: Gauge = "hogsend_build_info" ["version"]
        "always 1; the label says which version runs";
    UPTIME: Gauge = "hogsend_process_uptime_seconds" []
        "how long the process has been running";
    MEMORY: Gauge = "hogsend_process_resident_memory_bytes" []
        "memory of the process, on Linux";

    HTTP_REQUESTS: Counter = "hogsend_http_requests_total" ["method", "route", "status"]
        "answered requests; `route` is a template such as `/v1/admin/contacts/{id}`, or `unmatched`";
    HTTP_SECONDS: Histogram = "hogsend_http_request_duration_seconds" in FAST ["method", "route"]
        "from the head of a request to that of its answer";
    WEBHOOKS_REFUSED: Counter = "hogsend_webhooks_refused_total" ["source"]
        "webhooks whose secret or signature was wrong";

    INGEST_EVENTS: Counter = "hogsend_ingest_events_total" ["source", "outcome"]
        "events of requests and webhooks: `stored`, `duplicate` or `failed`";
    INGEST_BATCH: Histogram = "hogsend_ingest_batch_events" in MANY ["path"]
        "events that shared a commit: `known` for those that change nothing about a known contact, else `full`";
    INGEST_SECONDS: Histogram = "hogsend_ingest_commit_duration_seconds" in FAST ["path"]
        "how long such a commit took";

    RUNS_BEGUN: Counter = "hogsend_runs_begun_total" ["journey"]
        "contacts enrolled in a journey, counted before the commit";
    ENROLMENTS_REFUSED: Counter = "hogsend_enrolments_refused_total" ["journey", "reason"]
        "contacts that a guard kept out of a journey, counted before the commit";
    RUN_ADVANCES: Counter = "hogsend_run_advances_total" ["journey", "outcome"]
        "advances of runs: the run `waits`, is `over`, is due `again`, or the advance has `failed`";
    RUN_SECONDS: Histogram = "hogsend_run_advance_duration_seconds" in FAST []
        "how long an advance took, with its plugin calls and its commit";
    RUNS: Gauge = "hogsend_runs" ["journey", "state"]
        "runs that are `active`, `waiting`, `failed` or `stuck`, each counted up to 100000";

    QUEUE_DUE: Gauge = "hogsend_queue_due" ["kind"]
        "work that is due and that no worker holds: `runs`, `mails`, `captures`, `webhooks`; counted up to 100000";
    QUEUE_OLDEST: Gauge = "hogsend_queue_oldest_seconds" ["kind"]
        "for how long the oldest of it has been due";

    MAIL_ATTEMPTS: Counter = "hogsend_mail_attempts_total" ["provider", "outcome"]
        "mails handed to a provider, by its answer: `accepted`, `retry`, `paused`, `blocked`, `rejected`, `unknown`";
    MAIL_SECONDS: Histogram = "hogsend_mail_attempt_duration_seconds" in SLOW ["provider"]
        "how long a request to a provider took; it may carry several mails";
    MAIL_LATENESS: Histogram = "hogsend_mail_lateness_seconds" in LATE []
        "from the decision to send until the first attempt";
    MAIL_FEEDBACK: Counter = "hogsend_mail_feedback_total" ["provider", "kind"]
        "what providers reported about mails by webhook";
    PROVIDER_UP: Gauge = "hogsend_provider_up" ["provider"]
        "1 while the provider takes mail, 0 while it rests or is blocked";

    PLUGIN_CALLS: Counter = "hogsend_plugin_calls_total" ["plugin", "method", "outcome"]
        "calls of plugins: `ok`, `error`, `deadline`, `busy`, `panicked`, `ended`, `diverged`";
    PLUGIN_SECONDS: Histogram = "hogsend_plugin_call_duration_seconds" in FAST ["plugin"]
        "how long a call took; it does not wait for what the plugin asks the host for";
    PLUGIN_STARTS: Counter = "hogsend_plugin_process_starts_total" ["plugin"]
        "starts of a plugin's own process";
    PLUGIN_REQUESTS: Counter = "hogsend_plugin_http_requests_total" ["plugin", "outcome"]
        "HTTP requests on behalf of plugins: `1xx` to `5xx`, `refused`, `connect` or `lost`";
    PLUGIN_REQUEST_SECONDS: Histogram = "hogsend_plugin_http_request_duration_seconds" in SLOW ["plugin"]
        "how long such a request took";

    CAPTURES: Counter = "hogsend_captures_total" ["product", "outcome"]
        "events and properties for analytics products: `sent` or `failed`";
    DELIVERIES: Counter = "hogsend_webhook_deliveries_total" ["outcome"]
        "attempts to notify webhook endpoints: `delivered` or `failed`";

    DATABASE_UP: Gauge = "hogsend_database_up" []
        "1 if Postgres answered this scrape or one a few seconds before";
    DATABASE_CONNECTIONS: Gauge = "hogsend_database_connections" ["state"]
        "connections of the process's pool: `used` or `idle`";
    DATABASE_CONNECTIONS_MAX: Gauge = "hogsend_database_connections_max" []
        "maximum of the pool, `DATABASE_POOL_SIZE`";
    DATABASE_WAIT: Histogram = "hogsend_database_wait_seconds" in FAST []
        "how long work waited for a connection of the pool";
    DATABASE_RETRIES: Counter = "hogsend_database_transaction_retries_total" []
        "transactions that ran again because another one was in the way";
    SCHEMA_IN_SYNC: Gauge = "hogsend_schema_in_sync" []
        "1 if the database has every migration of this version";
    CACHE_UP: Gauge = "hogsend_cache_up" []
        "1 while Redis answers, 0 while it does not; absent where it is switched off";

    RETENTION_DELETED: Counter = "hogsend_retention_deleted_total" ["kind"]
        "rows deleted, or emptied, because their retention period was over";
    RETENTION_FAILURES: Counter = "hogsend_retention_failures_total" ["kind"]
        "passes that could not delete what was due";
    RETENTION_LAST: Gauge = "hogsend_retention_last_success_timestamp_seconds" []
        "when a pass over everything last succeeded in this process";

    WORKERS: Gauge = "hogsend_workers" []
        "workers that gave a sign of life within 30 seconds";
    ENGINE_UP: Gauge = "hogsend_engine_up" ["engine"]
        "1 if the engine works for at least one worker";
    LOOP_FAILURES: Counter = "hogsend_loop_failures_total" ["loop"]
        "polls of background work that failed";
    PAUSES: Gauge = "hogsend_pauses" []
        "pauses that last: of everything, of journeys, of categories";

    SPANS: Counter = "hogsend_trace_spans_total" ["outcome"]
        "spans for the OTLP endpoint: `exported` or `lost`";
}
