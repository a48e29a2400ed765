//! Runs whose steps a library of an earlier plugin API recorded, under the present one.

use std::time::Duration;

use hogsend_plugin_api::draft_print;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Server, Store};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Gives every recorded step the fingerprint that the drafts of plugin-api 1.0.0 gave it. Returns how
/// many were another one.
async fn record_as_the_drafts(server: &Server) -> usize {
    let mut conn = server.app.db.conn().await.unwrap();
    let read = "SELECT state_id, seq, kind, args, print FROM journey_steps";
    let steps: Vec<(Uuid, i32, String, Value, String)> =
        sqlx::query_as(read).fetch_all(&mut *conn).await.unwrap();
    assert!(steps.len() > 10);
    let mut changed = 0;
    for (state, seq, kind, args, print) in steps {
        let draft = draft_print(&kind, &args);
        changed += usize::from(draft != print);
        let write = "UPDATE journey_steps SET print = $3 WHERE state_id = $1 AND seq = $2";
        let write = sqlx::query(write).bind(state).bind(seq).bind(draft);
        write.execute(&mut *conn).await.unwrap();
    }
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_parked_run_becomes_stuck_by_an_upgrade() {
    let server = Server::with(Store::native().await, &[]).await;
    let events = [
        "s.wait",
        "s.lookback",
        "s.two",
        "s.rest",
        "s.until",
        "s.digest",
        "s.choose",
        "s.exit",
        "s.broken",
        "t.slow",
        "user.created",
        "trial.started",
        "payment.failed",
    ];
    for event in events {
        let body = json!({ "event": event, "userId": "u", "userEmail": "u@example.com" });
        let answer = server.post("/v1/ingest", &body).await;
        assert_eq!(answer.status, 202, "{event}: {}", answer.text());
    }
    server.drain().await;
    server.advance(MINUTE).await;
    let waiting = "SELECT count(*) FROM journey_states WHERE status = 'waiting'";
    assert!(server.count(waiting).await >= 8);
    assert!(record_as_the_drafts(&server).await > 0);

    for _ in 0..40 {
        server.advance(DAY).await;
    }
    let stuck =
        "SELECT coalesce(string_agg(journey_id || ': ' || coalesce(error_message, ''), ', '), '')
         FROM journey_states WHERE status = 'stuck'";
    assert_eq!(server.text(stuck).await, "");
    let open = "SELECT coalesce(string_agg(journey_id, ', '), '') FROM journey_states
         WHERE status IN ('active', 'waiting')";
    assert_eq!(server.text(open).await, "");
    server.stop().await;
}
