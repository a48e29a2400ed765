//! Engines: one run advanced by its id, wake-ups kept for an engine outside the database, and what health
//! says about engines.

use std::time::Duration;

use axum::http::Method;
use hogsend::db::{self, Beat, EngineReport};
use hogsend::ids::StateId;
use hogsend::runs::{self, Recorder, Standing};
use hogsend::worker;
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::admin::{self, KEY, call};
use crate::support::{Server, Store};

const HOUR: Duration = Duration::from_secs(3_600);
/// An engine outside the database, as far as the store knows.
const OUTSIDE: &str = "hatchet";

async fn event(server: &Server, name: &str, user: &str) {
    let body = json!({ "name": name, "userId": user, "email": format!("{user}@example.com") });
    let answer = server.call(Method::POST, "/v1/events", KEY, Some(&body));
    assert_eq!(answer.await.status, 202);
}

/// The newest run of a journey.
async fn run_of(server: &Server, journey: &str) -> StateId {
    let mut conn = server.app.db.conn().await.unwrap();
    let id: uuid::Uuid = sqlx::query_scalar(
        "SELECT id FROM journey_states WHERE journey_id = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind(journey)
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    id.into()
}

async fn advance(server: &Server, run: StateId) -> Standing {
    runs::advance_one(&server.app, &Recorder::default(), run)
        .await
        .unwrap()
}

on_each_store! {
    async fn one_run_is_advanced_by_its_id_and_says_what_it_needs_next(server: Server) {
        // Sleeps for a day, then sends a mail.
        for user in ["ann", "ben"] {
            event(&server, "t.slow", user).await;
        }
        let run = run_of(&server, "t-slow").await;
        let tomorrow = server.now() + 24 * HOUR;
        let waits = Standing::Waits { until: Some(tomorrow) };
        assert_eq!(advance(&server, run).await, waits);
        let untouched = "SELECT count(*) FROM journey_states WHERE journey_id = 't-slow' AND status = 'active'";
        assert_eq!(server.count(untouched).await, 1, "the other run was not advanced");
        // Again before its time: nothing happens.
        assert_eq!(advance(&server, run).await, waits);
        server.clock.advance(24 * HOUR);
        let mailed = advance(&server, run).await;
        assert_eq!(mailed, Standing::Waits { until: None }, "it waits for the mail");
        worker::deliver_due(&server.app).await.unwrap();
        assert_eq!(advance(&server, run).await, Standing::Over);
        assert_eq!(advance(&server, run).await, Standing::Over);
        assert_eq!(advance(&server, StateId::new(server.now())).await, Standing::Over, "unknown");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_renewed_while_its_advance_is_recorded_holds_neither_up() {
    let settings = [("ADMIN_API_KEY", KEY), ("WORKER_LEASE_SECONDS", "1")];
    let server = Server::with(Store::native().await, &settings).await;
    event(&server, "t.slow", "ann").await;
    let run = run_of(&server, "t-slow").await;
    // The advance waits with the run's row locked, until the renewal waits for this row.
    let mut conn = server.app.db.conn().await.unwrap();
    let sql = "BEGIN; LOCK TABLE journey_logs IN EXCLUSIVE MODE";
    sqlx::raw_sql(sql).execute(&mut *conn).await.unwrap();
    let app = server.app.clone();
    let advancing = tokio::spawn(async move {
        runs::advance_one(&app, &Recorder::default(), run)
            .await
            .unwrap()
    });
    let renewing = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'
                      AND query LIKE '%UPDATE journey_states s SET wake_at%'";
    while server.count(renewing).await == 0 {
        // A renewal changes nothing unless its clock has moved.
        server.clock.advance(Duration::from_millis(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut *conn).await.unwrap();
    drop(conn);
    let standing = tokio::time::timeout(Duration::from_secs(60), advancing).await;
    let standing = standing.unwrap().unwrap();
    assert!(
        matches!(standing, Standing::Waits { until: Some(_) }),
        "{standing:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_worker_is_left_to_it_until_its_lease_expires() {
    let server = admin::server().await;
    event(&server, "t.slow", "ann").await;
    let run = run_of(&server, "t-slow").await;
    let now = server.now();
    let lease = now + HOUR;
    let mut conn = server.app.db.conn().await.unwrap();
    let claimed = db::state_claim(&mut conn, now, lease, 1).await.unwrap();
    drop(conn);
    assert_eq!(claimed.len(), 1);
    let until = Some(lease);
    assert_eq!(advance(&server, run).await, Standing::Waits { until });
    server.clock.advance(HOUR);
    let until = Some(server.now() + 24 * HOUR);
    assert_eq!(advance(&server, run).await, Standing::Waits { until });
    // The late worker records nothing.
    let late = runs::perform(&server.app, &Recorder::default(), &claimed[0])
        .await
        .unwrap();
    assert_eq!(late, Standing::Due, "it has to look again");
    let steps = "SELECT count(*) FROM journey_steps";
    assert_eq!(server.count(steps).await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_waits_without_a_time() {
    let server = admin::server().await;
    event(&server, "t.slow", "ann").await;
    let run = run_of(&server, "t-slow").await;
    call(&server, Method::POST, "/pause", json!({})).await;
    let paused = Standing::Waits { until: None };
    assert_eq!(advance(&server, run).await, paused);
    assert_eq!(advance(&server, run).await, paused);
    call(&server, Method::POST, "/resume", json!({})).await;
    worker::release_due(&server.app).await.unwrap();
    let until = Some(server.now() + 24 * HOUR);
    assert_eq!(advance(&server, run).await, Standing::Waits { until });
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_is_over_until_an_administrator_retries_it() {
    let server = admin::server().await;
    event(&server, "t.panic", "ann").await;
    let run = run_of(&server, "t-panic").await;
    advance(&server, run).await;
    server.clock.advance(HOUR);
    assert_eq!(advance(&server, run).await, Standing::Over);
    let retried = call(
        &server,
        Method::POST,
        &format!("/dlq/{run}/retry"),
        json!({}),
    )
    .await;
    assert_eq!(retried.status, 202, "{}", retried.text());
    assert_eq!(
        advance(&server, run).await,
        Standing::Over,
        "it panics again"
    );
    let failed = "SELECT count(*) FROM journey_logs WHERE action = 'failed'";
    assert_eq!(server.count(failed).await, 2);
    server.stop().await;
}

/// Takes the wake-ups that are kept: of which journey, and whether the run is over.
async fn taken(server: &Server) -> String {
    server
        .text(
            "WITH taken AS (DELETE FROM run_wakes RETURNING id, run_id, at)
             SELECT coalesce(string_agg(
                 coalesce(s.journey_id, 'deleted') || CASE WHEN t.at IS NULL THEN ' over' ELSE '' END,
                 ', ' ORDER BY coalesce(s.journey_id, 'deleted'), t.at), '')
             FROM taken t LEFT JOIN journey_states s ON s.id = t.run_id",
        )
        .await
}

async fn note(server: &Server) {
    let mut conn = server.app.db.conn().await.unwrap();
    db::engine_note(&mut conn, OUTSIDE, server.now())
        .await
        .unwrap();
    server.app.db.engines_changed();
}

/// Each change from outside a run's own advance, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_that_makes_a_run_due_or_ends_it_keeps_a_wake_up() {
    let server = Server::with(
        Store::native().await,
        &[("ADMIN_API_KEY", KEY), ("TRUSTED_SOURCES", "posthog")],
    )
    .await;
    note(&server).await;

    // An event begins a run; advancing it is no wake-up.
    event(&server, "s.wait", "ann").await;
    assert_eq!(taken(&server).await, "s-wait");
    server.drain().await;
    assert_eq!(taken(&server).await, "");

    // An event that it waits for.
    let paid = json!({ "name": "s.paid", "userId": "ann", "eventProperties": { "plan": "pro", "amount": 1 } });
    let answer = server
        .call(Method::POST, "/v1/events", KEY, Some(&paid))
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(taken(&server).await, "s-wait");
    server.drain().await;

    // An event that ends it.
    event(&server, "t.exit", "ann").await;
    server.drain().await;
    assert_eq!(taken(&server).await, "t-exit");
    event(&server, "t.stop", "ann").await;
    assert_eq!(taken(&server).await, "t-exit over");

    // The end of a mail that a step waits for.
    event(&server, "t.mail", "ann").await;
    runs::advance_due(&server.app).await.unwrap();
    assert_eq!(taken(&server).await, "t-mail");
    worker::deliver_due(&server.app).await.unwrap();
    assert_eq!(taken(&server).await, "t-mail");
    server.drain().await;

    // Entries by hand, and an end by hand.
    let entry = json!({ "userId": "ann", "userEmail": "ann@example.com" });
    let entered = call(&server, Method::POST, "/journeys/t-slow/enroll", entry).await;
    assert_eq!(entered.status, 202, "{}", entered.text());
    assert_eq!(taken(&server).await, "t-slow");
    server.drain().await;
    let run = run_of(&server, "t-slow").await;
    let path = format!("/journeys/t-slow/states/{run}");
    assert_eq!(
        call(&server, Method::DELETE, &path, Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(taken(&server).await, "t-slow over");

    // A failed run that is retried, and one that is restarted.
    event(&server, "t.panic", "ann").await;
    server.drain().await;
    server.advance(HOUR).await;
    taken(&server).await;
    let run = run_of(&server, "t-panic").await;
    let retried = call(
        &server,
        Method::POST,
        &format!("/dlq/{run}/retry"),
        json!({}),
    )
    .await;
    assert_eq!(retried.status, 202, "{}", retried.text());
    assert_eq!(taken(&server).await, "t-panic");
    server.drain().await;
    let actor = hogsend::audit::Actor::Command;
    runs::decide::restart(&server.app, &actor, run, false)
        .await
        .unwrap();
    assert_eq!(taken(&server).await, "t-panic, t-panic over");
    server.drain().await;

    // The end of a pause.
    call(&server, Method::POST, "/pause", json!({})).await;
    event(&server, "t.slow", "ann").await;
    server.drain().await;
    assert_eq!(taken(&server).await, "t-slow");
    call(&server, Method::POST, "/resume", json!({})).await;
    worker::release_due(&server.app).await.unwrap();
    assert_eq!(taken(&server).await, "t-slow");
    server.drain().await;

    // A worker that stops gives back what it did not advance.
    event(&server, "t.exit", "ann").await;
    taken(&server).await;
    let now = server.now();
    let claimed = {
        let mut conn = server.app.db.conn().await.unwrap();
        db::state_claim(&mut conn, now, now + HOUR, 10)
            .await
            .unwrap()
    };
    let claims: Vec<_> = claimed.iter().map(|one| (one.id, one.claim)).collect();
    assert_eq!(claims.len(), 1);
    runs::give_back(&server.app, &claims).await.unwrap();
    assert_eq!(taken(&server).await, "t-exit");
    server.drain().await;

    // Two contacts that are one: the later run ends.
    event(&server, "t.slow", "ann-2").await;
    server.drain().await;
    taken(&server).await;
    let alias = json!({ "event": {
        "uuid": "0190d6a0-0000-7000-8000-000000000001", "event": "$merge_dangerously",
        "distinct_id": "ann", "properties": { "alias": "ann-2" } } });
    let told = server.post("/v1/webhooks/posthog", &alias).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(taken(&server).await, "t-slow over");

    // A contact that is erased.
    let deleted = call(&server, Method::DELETE, "/contacts/ext:ann", Value::Null).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let all = "deleted over, deleted over, deleted over";
    assert_eq!(taken(&server).await, all);
    server.stop().await;
}

on_each_store! {
    async fn without_an_engine_outside_the_database_no_wake_up_is_kept(server: Server) {
        event(&server, "t.exit", "ann").await;
        server.drain().await;
        event(&server, "t.stop", "ann").await;
        assert_eq!(taken(&server).await, "");
        // While one is in use they are kept, and an hour after its last worker no longer.
        note(&server).await;
        event(&server, "t.exit", "ben").await;
        worker::tidy(&server.app).await.unwrap();
        event(&server, "t.exit", "cleo").await;
        assert_eq!(server.count("SELECT count(*) FROM run_wakes").await, 2);
        server.clock.advance(2 * HOUR);
        worker::tidy(&server.app).await.unwrap();
        event(&server, "t.exit", "dan").await;
        assert_eq!(server.count("SELECT count(*) FROM run_wakes").await, 0);
        server.stop().await;
    }
}

/// A change that did not commit wakes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_fails_keeps_no_wake_up() {
    let server = admin::server().await;
    event(&server, "t.slow", "ann").await;
    server.drain().await;
    note(&server).await;
    let run = run_of(&server, "t-slow").await;
    let broken = server.app.db.transact(async |mut tx: db::Tx| {
        db::state_end(&mut tx, run, server.now()).await?;
        sqlx::query("SELECT 1 / 0").execute(&mut *tx).await?;
        db::Result::Ok((tx, ()))
    });
    assert!(broken.await.is_err());
    assert_eq!(taken(&server).await, "");
    server.stop().await;
}

async fn beat(server: &Server, engine: Option<(&str, &str, bool)>) {
    let beat = Beat {
        public_url: "",
        findings: &[],
        engine: engine.map(|(kind, version, up)| EngineReport {
            kind,
            version: Some(version),
            up,
        }),
    };
    let mut conn = server.app.db.conn().await.unwrap();
    let id = uuid::Uuid::now_v7();
    db::worker_beat(&mut conn, id, &beat, server.now())
        .await
        .unwrap();
}

async fn health(server: &Server) -> Value {
    let answer = server.call(Method::GET, "/v1/health", KEY, None).await;
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_names_the_engine_of_the_workers_and_says_where_they_differ() {
    let variables = [("ADMIN_API_KEY", KEY), ("REDIS_URL", "off")];
    let server = Server::with(Store::native().await, &variables).await;
    // A worker of a version that does not say.
    beat(&server, None).await;
    let body = health(&server).await;
    assert_eq!(
        body["components"]["engine"],
        json!({ "kind": "embedded", "status": "up", "lagSeconds": 0 })
    );
    assert_eq!(body["status"], "healthy");
    server.clock.advance(HOUR);
    for up in [true, false] {
        beat(&server, Some((OUTSIDE, "1.2.3", up))).await;
    }
    let body = health(&server).await;
    let expected = json!({ "kind": OUTSIDE, "status": "up", "version": "1.2.3", "lagSeconds": 0 });
    assert_eq!(body["components"]["engine"], expected);
    beat(&server, Some(("embedded", "0.1.0", true))).await;
    let body = health(&server).await;
    assert_eq!(body["components"]["engine"], expected);
    let findings = body["findings"].to_string();
    assert!(
        findings.contains("2 with hatchet, 1 with embedded"),
        "{findings}"
    );
    server.clock.advance(HOUR);
    beat(&server, Some((OUTSIDE, "1.2.3", false))).await;
    let body = health(&server).await;
    assert_eq!(body["components"]["engine"]["status"], "down");
    assert_eq!(body["status"], "degraded");
    server.stop().await;
}
