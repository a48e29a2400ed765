//! The embedded engine: runs started per second, many runs due at once, a million parked runs.

use std::time::{Duration, Instant};

use hogsend::app::{App, Parts};
use hogsend::cache::Cache;
use hogsend::clock::Clock;
use hogsend::config::{Config, Mode};
use hogsend::contacts::Person;
use hogsend::crew::Crew;
use hogsend::db::{self, Db, NewIdentity};
use hogsend::http_client::http_client;
use hogsend::ingest::NewEvent;
use hogsend::installed::Installation;
use hogsend::plugins::Performer;
use hogsend::runs::advance_due;
use hogsend::worker;
use hogsend_plugin_api::journey::{self, Ctx, Journey, User, hours};
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use crate::ingest::{database, drop_database};

const ACTIVATIONS: usize = 10_000;
const CROWD: u32 = 100_000;
const PARKED: u32 = 1_000_000;

/// A journey that sleeps, in the benchmark's only plugin.
pub fn journey() -> Journey {
    Journey::new("b-sleep", sleeper).trigger("b.sleep")
}

async fn sleeper(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(hours(1)).await;
    Ok(())
}

pub async fn bench() {
    let (mut conn, name, url) = database().await;
    let app = open(&url).await;
    activations(&app).await;
    crowd(&app).await;
    parked(&app).await;
    app.db.close().await;
    drop_database(&mut conn, &name).await;
}

async fn open(url: &str) -> App {
    let data = std::env::temp_dir().join("hogsend-bench");
    let lookup = |name: &str| match name {
        "HOGSEND_DATA_DIR" => data.to_str().map(str::to_owned),
        "BETTER_AUTH_SECRET" => Some("a secret of benches, long enough for all".into()),
        "LOG_LEVEL" => Some("error".into()),
        _ => None,
    };
    let config = Config::load(&lookup, Mode::Dev).expect("settings");
    let clock = Clock::system();
    let db = Db::connect(&url.to_owned().into(), 16)
        .await
        .expect("a connection");
    db::migrate(&db).await.expect("a schema");
    let cache = std::sync::Arc::new(Cache::connect(None, clock.clone()));
    let performer = Performer::new(http_client(), cache.clone(), data.clone());
    let installation = Installation::new(|_| None, performer, clock.clone());
    let read = installation.read(&config).await;
    assert!(read.problems.is_empty(), "{}", read.problems[0]);
    let parts = Parts {
        config,
        clock,
        db,
        installed: read.snapshot,
        cache,
    };
    let app = App::new(parts);
    let mut crew = Crew::new(CancellationToken::new());
    app.ingestor.start(&mut crew);
    tokio::spawn(crew.ended());
    app
}

fn event(user: usize) -> NewEvent {
    NewEvent {
        source: "bench".into(),
        trust: Default::default(),
        historical: false,
        caught_up: false,
        dedupe_key: None,
        name: "b.sleep".into(),
        person: Person::Names(NewIdentity {
            external_id: Some(format!("sleeper-{user}")),
            email: None,
            ..NewIdentity::default()
        }),
        properties: Default::default(),
        contact_properties: Default::default(),
        lists: Default::default(),
        occurred_at: None,
        depth: 0,
        unfit: Vec::new(),
        traceparent: None,
    }
}

async fn execute(app: &App, sql: String) {
    let mut conn = app.db.conn().await.expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *conn)
        .await
        .expect("a statement");
}

async fn number(app: &App, sql: String) -> f64 {
    let mut conn = app.db.conn().await.expect("a connection");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut *conn)
        .await
        .expect("a number")
}

/// People enter, and their runs advance to the first wait.
async fn activations(app: &App) {
    for chunk in (0..ACTIVATIONS).collect::<Vec<_>>().chunks(500) {
        let events = chunk.iter().copied().map(event).collect();
        app.ingestor.ingest(events).await.expect("stored");
    }
    let started = Instant::now();
    while advance_due(app).await.expect("advanced") > 0 {}
    let rate = ACTIVATIONS as f64 / started.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "engine: {rate:.0} activations/s, {:.0} a core of {cores} that Postgres shares",
        rate / cores as f64
    );
}

/// Copies of a parked run, due at `wake_at`.
async fn park(app: &App, count: u32, wake_at: &str) {
    execute(
        app,
        format!(
            "WITH made AS (
                 INSERT INTO contacts (id, external_id, first_seen_at, last_seen_at, created_at, updated_at)
                 SELECT gen_random_uuid(), 'parked-' || gen_random_uuid(), now(), now(), now(), now()
                 FROM generate_series(1, {count}) RETURNING id),
             runs AS (
                 INSERT INTO journey_states (id, journey_id, contact_id, plugin_id, plugin_version,
                     status, current_node_id, trigger_event, context, person, depth, wake_at,
                     created_at, updated_at)
                 SELECT gen_random_uuid(), journey_id, made.id, plugin_id, plugin_version, 'waiting',
                        current_node_id, trigger_event, context,
                        jsonb_set(person, '{{id}}', to_jsonb(made.id)), depth, {wake_at}, now(), now()
                 FROM made, (SELECT * FROM journey_states WHERE current_node_id = 'sleep' LIMIT 1) s
                 RETURNING id)
             INSERT INTO journey_steps (state_id, seq, after_count, kind, print, args, state, issued_at, due_at)
             SELECT runs.id, 0, 0, t.kind, t.print, t.args, 'open', now(), {wake_at}
             FROM runs, (SELECT * FROM journey_steps WHERE kind = 'sleep' LIMIT 1) t;
             ANALYZE journey_states; ANALYZE journey_steps; ANALYZE contacts"
        ),
    )
    .await;
}

/// Many runs due at once, while events come in.
async fn crowd(app: &App) {
    park(app, CROWD, "clock_timestamp() + interval '3 seconds'").await;
    execute(app, "UPDATE journey_states SET wake_at = clock_timestamp() WHERE wake_at < now() + interval '1 minute'; UPDATE journey_steps SET due_at = now()".into()).await;
    let began = app.clock.now();
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(app.clone(), stop.clone()));
    let mut latencies = Vec::new();
    loop {
        let started = Instant::now();
        app.ingestor
            .ingest(vec![NewEvent {
                name: "page.viewed".into(),
                ..event(latencies.len() % ACTIVATIONS)
            }])
            .await
            .expect("stored");
        latencies.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let due = "SELECT count(*)::float8 FROM journey_states WHERE wake_at <= now() + interval '2 minutes'";
        if latencies.len() % 50 == 0 && number(app, due.into()).await == 0.0 {
            break;
        }
    }
    stop.cancel();
    working.await.expect("a worker").expect("an end by itself");
    let late = |share: f64| {
        let sql = format!(
            "SELECT extract(epoch FROM percentile_cont({share}) WITHIN GROUP (ORDER BY completed_at - '{began}'::timestamptz))::float8
             FROM journey_states WHERE status = 'completed'"
        );
        number(app, sql)
    };
    let (half, most) = (late(0.5).await, late(0.99).await);
    latencies.sort_unstable();
    let of = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "engine: {CROWD} runs due at once: late by {half:.1} s (p50), {most:.1} s (p99), {:.0} runs/s; \
         an event meanwhile takes {:.1} ms (p50), {:.1} ms (p99)",
        f64::from(CROWD) / most * 0.99,
        of(0.5),
        of(0.99)
    );
}

/// Many parked runs and a few that are due.
async fn parked(app: &App) {
    execute(
        app,
        "TRUNCATE contacts CASCADE; TRUNCATE user_events".into(),
    )
    .await;
    app.ingestor.ingest(vec![event(0)]).await.expect("stored");
    while advance_due(app).await.expect("advanced") > 0 {}
    for _ in 0..10 {
        park(
            app,
            PARKED / 10,
            "now() + random() * interval '300 days' + interval '1 day'",
        )
        .await;
    }
    let size = "SELECT (pg_total_relation_size('journey_states') + pg_total_relation_size('journey_steps'))::float8";
    let bytes = number(app, size.into()).await / f64::from(PARKED);
    let idle = "SELECT count(*)::float8 FROM journey_states";
    let rows = number(app, idle.into()).await;
    let mut times = Vec::new();
    for _ in 0..20 {
        execute(app, "UPDATE journey_states SET wake_at = now() WHERE id IN (SELECT id FROM journey_states LIMIT 64)".into()).await;
        let now = app.clock.now();
        let mut conn = app.db.conn().await.expect("a connection");
        let started = Instant::now();
        let claimed = db::state_claim(&mut conn, now, now + chrono::TimeDelta::days(1), 64).await;
        times.push(started.elapsed());
        assert!(!claimed.expect("a claim").is_empty());
    }
    times.sort_unstable();
    let before = cpu();
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(app.clone(), stop.clone()));
    tokio::time::sleep(Duration::from_secs(20)).await;
    stop.cancel();
    working.await.expect("a worker").expect("an end by itself");
    println!(
        "engine: {rows:.0} parked runs: {bytes:.0} bytes a run, 64 claimed in {:.1} ms, an idle worker takes {:.2} % of a core",
        times[10].as_secs_f64() * 1e3,
        (cpu() - before) / 20.0 * 100.0
    );
}

/// Seconds of processor time this process has used (proc(5), fields 14 and 15 of `stat`).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<f64> = after
        .split(' ')
        .filter_map(|field| field.parse().ok())
        .collect();
    // The state is not a number, so numbers begin at field 4; a tick is a hundredth of a second.
    (fields.get(10).unwrap_or(&0.0) + fields.get(11).unwrap_or(&0.0)) / 100.0
}
