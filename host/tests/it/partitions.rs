//! The table of events in parts by month.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use hogsend::worker;
use serde_json::json;

use crate::support::admin::{KEY, call, get};
use crate::support::process;
use crate::support::{Server, Store};

const DAY: Duration = Duration::from_secs(86_400);

/// Whether this process runs no other test; if not, runs the test in a process of its own. The ids that a process
/// makes never go back in time, and other tests move their clocks ahead.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "HOGSEND_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let test = format!("partitions::{test}");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    false
}

/// A server at the machine's time, with an event, and what `hogsend migrate` says of its database.
async fn divided(more: &[(&str, &str)]) -> (Server, String) {
    let more = [&[("ADMIN_API_KEY", KEY)], more].concat();
    let server = Server::with(Store::native().await, &more).await;
    server.use_wall_clock();
    happens(&server, "ann", "before").await;
    let said = migrate(&server);
    (server, said)
}

fn migrate(server: &Server) -> String {
    migrated(server.database_url())
}

fn migrated(database_url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DATABASE_URL", database_url)];
    let (code, said) = process::run(folder.path(), &["migrate"], &variables);
    assert_eq!(code, Some(0), "{said}");
    said
}

async fn happens(server: &Server, user: &str, key: &str) {
    let body = json!({
        "event": "bought", "userId": user, "idempotencyKey": key, "userEmail": format!("{user}@example.com"),
    });
    let answer = server
        .call(Method::POST, "/v1/ingest", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// How many events the part has.
async fn in_part(server: &Server, part: &str) -> i64 {
    let all = "SELECT coalesce(jsonb_object_agg(part, count), '{}')::text
               FROM (SELECT tableoid::regclass::text AS part, count(*) FROM user_events GROUP BY 1) AS parts";
    let all: serde_json::Value = serde_json::from_str(&server.text(all).await).unwrap();
    all[part].as_i64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_on_while_the_table_is_divided_and_none_is_lost_or_stored_twice() {
    if !is_alone("events_go_on_while_the_table_is_divided_and_none_is_lost_or_stored_twice") {
        return;
    }
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    server.use_wall_clock();
    happens(&server, "ann", "0").await;
    let done = AtomicBool::new(false);
    let url = server.database_url().to_owned();
    let divide = async {
        let said = tokio::task::spawn_blocking(move || migrated(&url)).await;
        done.store(true, Ordering::Relaxed);
        said.unwrap()
    };
    let load = async {
        let mut events = 1;
        while !done.load(Ordering::Relaxed) {
            let user = ["ann", "bob", "eve"][events % 3];
            happens(&server, user, &events.to_string()).await;
            events += 1;
        }
        events
    };
    let (said, events) = tokio::join!(divide, load);
    assert!(said.contains("the table of events is divided"), "{said}");
    let all = "SELECT count(*) FROM user_events";
    assert_eq!(server.count(all).await, i64::try_from(events).unwrap());
    // The next events go to another part; what is sent again is known all the same.
    server.advance(DAY * 45).await;
    for event in 0..events {
        happens(&server, "ann", &event.to_string()).await;
    }
    assert_eq!(server.count(all).await, i64::try_from(events).unwrap());
    for user in ["ann", "bob"] {
        happens(&server, user, &format!("later of {user}")).await;
    }
    assert_eq!(
        in_part(&server, "user_events_before").await,
        i64::try_from(events).unwrap()
    );
    assert_eq!(server.count(all).await, i64::try_from(events + 2).unwrap());
    let mut read = 0;
    for user in ["ann", "bob", "eve"] {
        let page = get(&server, &format!("/events?userId={user}&limit=1"))
            .await
            .json();
        read += page["total"].as_u64().unwrap();
    }
    assert_eq!(
        read,
        events as u64 + 2,
        "the lists of events read every part"
    );
    let erased = call(&server, Method::DELETE, "/contacts/ann", json!({})).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    let hers = "SELECT count(*) FROM user_events
                WHERE contact_id NOT IN (SELECT id FROM contacts WHERE external_id IN ('bob', 'eve'))";
    assert_eq!(server.count(hers).await, 0, "an erasure reaches every part");
    assert!(server.count(all).await > 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_division_left_is_removed_before_it_refuses_an_event() {
    if !is_alone("what_a_killed_division_left_is_removed_before_it_refuses_an_event") {
        return;
    }
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    server.use_wall_clock();
    let check = "ALTER TABLE user_events ADD CONSTRAINT user_events_until
                 CHECK (id < '00000000-0000-0000-0000-000000000000') NOT VALID";
    let checks = "SELECT count(*) FROM pg_constraint WHERE conname = 'user_events_until'";
    server.run_sql(check).await;
    // The division that needs it is in progress.
    let mut dividing = server.app.db.conn().await.unwrap();
    let lock = "SELECT pg_advisory_lock(x'686f677370617274'::bigint)";
    sqlx::query(lock).execute(&mut *dividing).await.unwrap();
    worker::tidy(&server.app).await.unwrap();
    assert_eq!(server.count(checks).await, 1);
    let unlock = "SELECT pg_advisory_unlock(x'686f677370617274'::bigint)";
    sqlx::query(unlock).execute(&mut *dividing).await.unwrap();
    drop(dividing);
    worker::tidy(&server.app).await.unwrap();
    assert_eq!(server.count(checks).await, 0);
    happens(&server, "ann", "after").await;
    assert!(migrate(&server).contains("the table of events is divided"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_events_is_divided_while_a_server_uses_it() {
    if !is_alone("a_table_with_events_is_divided_while_a_server_uses_it") {
        return;
    }
    let (server, said) = divided(&[]).await;
    assert!(
        said.contains("the table of events is divided by month"),
        "{said}"
    );
    // The server has prepared its statements for the table as it was.
    happens(&server, "ann", "after").await;
    happens(&server, "ann", "before").await;
    happens(&server, "bob", "new").await;
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 3);
    assert_eq!(in_part(&server, "user_events_before").await, 3);
    // The check that proved it is gone, or it would refuse events of the next months.
    let checks = "SELECT count(*) FROM pg_constraint WHERE conname = 'user_events_until'";
    assert_eq!(server.count(checks).await, 0);
    let parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'user_events'::regclass";
    // That of everything before, three months and the default.
    assert_eq!(server.count(parts).await, 5);
    assert!(!migrate(&server).contains("table of events"));
    assert_eq!(server.count(parts).await, 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_made_ahead_and_old_ones_dropped_whole() {
    if !is_alone("parts_are_made_ahead_and_old_ones_dropped_whole") {
        return;
    }
    let (server, _) = divided(&[("RETENTION_EVENTS_DAYS", "100")]).await;
    let months = "SELECT count(*) FROM pg_class WHERE relname ~ '^user_events_[0-9]{4}_[0-9]{2}$'";
    assert_eq!(server.count(months).await, 3);
    server.advance(DAY * 45).await;
    worker::tidy(&server.app).await.unwrap();
    assert!(server.count(months).await >= 4);
    happens(&server, "ann", "later").await;
    assert_eq!(in_part(&server, "user_events_rest").await, 0);
    // All that was before is past its retention, the later event is not.
    server.advance(DAY * 60).await;
    worker::tidy(&server.app).await.unwrap();
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 1);
    server.advance(DAY * 60).await;
    worker::tidy(&server.app).await.unwrap();
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
    let before = "SELECT count(*) FROM pg_class WHERE relname = 'user_events_before'";
    assert_eq!(server.count(before).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_month_without_a_part_is_stored_and_kept() {
    if !is_alone("an_event_of_a_month_without_a_part_is_stored_and_kept") {
        return;
    }
    let (server, _) = divided(&[]).await;
    server.advance(DAY * 400).await;
    happens(&server, "ann", "much later").await;
    assert_eq!(in_part(&server, "user_events_rest").await, 1);
    // The month of this event cannot get a part any more, the next ones can.
    worker::tidy(&server.app).await.unwrap();
    assert_eq!(in_part(&server, "user_events_rest").await, 1);
    server.advance(DAY * 32).await;
    happens(&server, "ann", "a month after that").await;
    assert_eq!(in_part(&server, "user_events_rest").await, 1);
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_divided_stays_as_it_is() {
    if !is_alone("a_table_that_cannot_be_divided_stays_as_it_is") {
        return;
    }
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    server.use_wall_clock();
    server.advance(DAY * 400).await;
    // By the machine's clock, this event is of a month to come.
    happens(&server, "ann", "ahead").await;
    let said = migrate(&server);
    assert!(
        said.contains("the table of events stays as it is"),
        "{said}"
    );
    happens(&server, "ann", "after").await;
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 2);
    let checks = "SELECT count(*) FROM pg_constraint WHERE conname = 'user_events_until'";
    assert_eq!(server.count(checks).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_belong_to_the_owner_of_the_table_whoever_makes_them() {
    if !is_alone("parts_belong_to_the_owner_of_the_table_whoever_makes_them") {
        return;
    }
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    server.use_wall_clock();
    happens(&server, "ann", "before").await;
    let owner = format!("r_{}", uuid::Uuid::new_v4().simple());
    for statement in [
        format!("CREATE ROLE {owner}"),
        format!("GRANT USAGE, CREATE ON SCHEMA public TO {owner}"),
        format!("ALTER TABLE user_events OWNER TO {owner}"),
    ] {
        server.run_sql(statement).await;
    }
    assert!(migrate(&server).contains("the table of events is divided"));
    server.advance(DAY * 45).await;
    worker::tidy(&server.app).await.unwrap();
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner)::text, ', ') FROM pg_class
                  WHERE relname LIKE 'user_events%' AND relkind IN ('r', 'p')";
    assert_eq!(server.text(owners).await, owner);
    for statement in [
        "REASSIGN OWNED BY ROLE_OF_TEST TO CURRENT_USER",
        "DROP OWNED BY ROLE_OF_TEST",
        "DROP ROLE ROLE_OF_TEST",
    ] {
        server
            .run_sql(statement.replace("ROLE_OF_TEST", &owner))
            .await;
    }
    server.stop().await;
}
