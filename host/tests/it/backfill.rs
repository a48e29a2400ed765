//! Reading what a source kept while this installation was away.

use std::time::Duration;

use hogsend::audit::Actor;
use hogsend::backfill::{self, BackfillError, Begun, Progress, Tally, Tools, Wanted};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::posthog_api::{Past, PostHogApi};
use crate::support::process::{self, Process, until};
use crate::support::{Server, Store, posthog};

/// A server whose clock is at 2026-03-02 09:00, and the PostHog it reads.
async fn server(store: Store, more: &[(&str, &str)]) -> (Server, PostHogApi) {
    let api = PostHogApi::start().await;
    let own = api.variables();
    let mut all: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, &**value)).collect();
    all.extend(more);
    (Server::with(store, &all).await, api)
}

fn wanted(since: &str) -> Wanted {
    Wanted {
        source: "posthog".into(),
        since: Some(since.parse().unwrap()),
        until: None,
        events: Vec::new(),
        restart: false,
    }
}

fn tools(server: &Server) -> Tools<'_> {
    Tools {
        cx: &server.app,
        naming: &server.app.naming,
    }
}

async fn begin(server: &Server, wanted: &Wanted) -> Result<Begun, BackfillError> {
    backfill::begin(&server.app, &Actor::Command, wanted).await
}

async fn read(server: &Server, begun: Begun) -> Result<Tally, BackfillError> {
    let stop = CancellationToken::new();
    backfill::read(tools(server), begun, &stop, &mut |_: &Progress<'_>| {}).await
}

async fn heal(server: &Server, since: &str) -> Tally {
    let begun = begin(server, &wanted(since)).await.unwrap();
    read(server, begun).await.unwrap()
}

async fn webhook(server: &Server, uuid: &str, event: &str, user: &str, person: Value) {
    let mut body = posthog(uuid, event, user, &format!("{user}@example.com"), "A");
    body["event"]["timestamp"] = json!(server.now());
    for (name, value) in person.as_object().unwrap() {
        body["person"]["properties"][name] = value.clone();
    }
    let answer = server.post("/v1/webhooks/posthog", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_is_stored_once_with_its_own_time() {
    for store in [Store::native().await, Store::embedded().await] {
        let (server, api) = server(store, &[]).await;
        webhook(&server, "e-1", "bought", "ann", json!({})).await;
        let mut nobody = Past::new("2026-03-02T08:55:00Z", "e-4", "bought", "undefined");
        nobody.person = json!({});
        api.has([
            Past::new("2026-03-02T08:30:00Z", "e-1", "bought", "ann"),
            Past::new("2026-03-02T08:40:00.123Z", "e-2", "bought", "ann"),
            Past::new("2026-03-02T08:50:00Z", "e-3", "sold", "bob"),
            nobody,
            // Before and after what is asked for.
            Past::new("2026-03-01T00:00:00Z", "e-5", "bought", "ann"),
            Past::new("2026-03-02T09:30:00Z", "e-6", "bought", "ann"),
        ]);
        let tally = heal(&server, "2026-03-02T08:00:00Z").await;
        assert_eq!(
            (tally.new, tally.known, tally.unusable, tally.read()),
            (2, 1, 1, 4)
        );
        let stored = "SELECT string_agg(k.key || ' ' || (occurred_at AT TIME ZONE 'UTC'), ',' ORDER BY k.key)
                      FROM user_events e JOIN event_keys k ON k.event_id = e.id";
        assert_eq!(
            server.text(stored).await,
            "e-1 2026-03-02 09:00:00,e-2 2026-03-02 08:40:00.123,e-3 2026-03-02 08:50:00"
        );
        // Again: all of it is known, also to the webhooks that come late.
        let again = heal(&server, "2026-03-02T08:00:00Z").await;
        assert_eq!((again.new, again.known), (0, 3));
        webhook(&server, "e-3", "sold", "bob", json!({})).await;
        assert_eq!(
            server
                .count("SELECT count(*) FROM user_events WHERE source = 'posthog'")
                .await,
            3
        );
        let audited = "SELECT count(*) FROM audit_logs WHERE action = 'backfill.begin' AND actor_type = 'command'";
        assert_eq!(server.count(audited).await, 2);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_events_end_runs_and_waits_and_enrol_only_as_the_journey_says() {
    let (server, api) = server(Store::native().await, &[]).await;
    for (event, user) in [("t.exit", "ann"), ("s.wait", "bob")] {
        webhook(&server, event, event, user, json!({})).await;
    }
    server.drain().await;
    let mut paid = Past::new("2026-02-28T00:00:00Z", "e-2", "s.paid", "bob");
    paid.properties = json!({ "plan": "pro", "amount": 7 });
    api.has([
        Past::new("2026-02-27T00:00:00Z", "e-1", "t.stop", "ann"),
        paid,
        Past::new("2026-03-01T08:59:59Z", "e-3", "t.late", "cy"),
        Past::new("2026-03-01T09:00:01Z", "e-4", "t.late", "dee"),
    ]);
    let tally = heal(&server, "2026-02-20T00:00:00Z").await;
    server.drain().await;
    let status = "SELECT string_agg(journey_id || ' ' || status, ', ' ORDER BY journey_id, status) FROM journey_states";
    assert_eq!(
        server.text(status).await,
        "s-wait completed, t-exit exited, t-however-late completed, t-however-late completed, t-late completed"
    );
    assert_eq!(
        server.text("SELECT reason FROM enrolment_skips").await,
        "late_event"
    );
    assert_eq!((tally.new, tally.late, tally.entries.entered), (4, 3, 3));
    assert_eq!(tally.entries.refused, [("late_event".to_owned(), 1)].into());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_replaces_nothing_of_a_contact_that_was_seen_since() {
    let (server, api) = server(Store::native().await, &[]).await;
    webhook(&server, "e-9", "bought", "ann", json!({ "plan": "pro" })).await;
    let past = |at: &str, id: &str, user: &str, person: Value| {
        let mut past = Past::new(at, id, "bought", user);
        past.person = person;
        past
    };
    api.has([
        past(
            "2026-03-02T08:00:00Z",
            "e-1",
            "ann",
            json!({ "plan": "free", "city": "Rome" }),
        ),
        past(
            "2026-03-02T08:00:00Z",
            "e-2",
            "bob",
            json!({ "plan": "free" }),
        ),
        past(
            "2026-03-02T08:10:00Z",
            "e-3",
            "bob",
            json!({ "plan": "pro" }),
        ),
    ]);
    heal(&server, "2026-03-02T07:00:00Z").await;
    let plan = "SELECT string_agg(external_id || ' ' || (properties ->> 'plan') || ' ' ||
                    coalesce(properties ->> 'city', '-') || ' ' || (last_seen_at AT TIME ZONE 'UTC'), ', '
                    ORDER BY external_id) FROM contacts";
    assert_eq!(
        server.text(plan).await,
        "ann pro Rome 2026-03-02 09:00:00, bob pro - 2026-03-02 08:10:00"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_before_the_oldest_key_is_refused_with_the_earliest_one() {
    let (server, api) = server(Store::native().await, &[("RETENTION_KEYS_DAYS", "7")]).await;
    let refused = begin(&server, &wanted("2026-02-23T08:59:59Z"))
        .await
        .unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("Use --since 2026-02-23 09:00:00 UTC or later"),
        "{said}"
    );
    // Keys were deleted earlier than they are now.
    webhook(&server, "e-1", "bought", "ann", json!({})).await;
    server.run_sql("DELETE FROM event_keys").await;
    server.advance(Duration::from_secs(3_600)).await;
    webhook(&server, "e-2", "bought", "ann", json!({})).await;
    let refused = begin(&server, &wanted("2026-03-02T09:30:00Z"))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("2026-03-02 10:00:00 UTC or later"),
        "{refused}"
    );
    assert_eq!(api.seen(), 0);
    let backwards = Wanted {
        until: Some("2026-03-01T00:00:00Z".parse().unwrap()),
        ..wanted("2026-03-02T00:00:00Z")
    };
    assert!(matches!(
        begin(&server, &backwards).await,
        Err(BackfillError::Backwards { .. })
    ));
    let nobody = Wanted {
        source: "pothog".into(),
        ..wanted("2026-03-02T00:00:00Z")
    };
    let said = begin(&server, &nobody).await.unwrap_err().to_string();
    assert!(
        said.contains("'pothog'") && said.contains("posthog"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_counts_and_writes_nothing() {
    let (server, api) = server(Store::native().await, &[]).await;
    webhook(&server, "e-1", "bought", "ann", json!({})).await;
    api.has([
        Past::new("2026-03-02T08:00:00Z", "e-1", "bought", "ann"),
        Past::new("2026-03-01T00:00:00Z", "e-2", "t.late", "bob"),
        Past::new("2026-03-02T08:00:00Z", "e-3", "t.late", "cy"),
    ]);
    let stop = CancellationToken::new();
    let tally = backfill::rehearse(
        tools(&server),
        &wanted("2026-02-20T00:00:00Z"),
        &stop,
        &mut |_| {},
    )
    .await
    .unwrap();
    assert_eq!((tally.new, tally.late, tally.known), (2, 1, 1));
    assert_eq!(
        (tally.entries.entered, tally.entries.refused["late_event"]),
        (3, 1)
    );
    for (table, rows) in [
        ("SELECT count(*) FROM user_events", 1),
        ("SELECT count(*) FROM contacts", 1),
        ("SELECT count(*) FROM event_keys", 1),
        ("SELECT count(*) FROM journey_states", 0),
        ("SELECT count(*) FROM enrolment_skips", 0),
        ("SELECT count(*) FROM backfills", 0),
        ("SELECT count(*) FROM audit_logs", 0),
    ] {
        assert_eq!(server.count(table).await, rows, "{table}");
    }
    assert_eq!(heal(&server, "2026-02-20T00:00:00Z").await, tally);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_waited_for_and_a_refusal_can_be_gone_on_from() {
    let (server, api) = server(Store::native().await, &[]).await;
    api.has((0..600).map(|at| {
        Past::new(
            "2026-03-02T08:00:00Z",
            &format!("e-{at:03}"),
            "bought",
            "ann",
        )
    }));
    api.next(429, Some("1"));
    api.next(503, Some("1"));
    let begun = begin(&server, &wanted("2026-03-02T07:00:00Z"))
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let mut waits = Vec::new();
    let mut tell = |progress: &Progress<'_>| {
        let waited = progress
            .waiting
            .map(|(wait, why)| (wait.as_secs(), why.to_owned()));
        // The page after the first is refused.
        if progress.waiting.is_none() {
            api.next(403, None);
        }
        waits.extend(waited);
    };
    let ended = backfill::read(tools(&server), begun, &stop, &mut tell)
        .await
        .unwrap_err();
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert!(
        waits[0].1.contains("rate limit") && waits[1].1.contains("503"),
        "{waits:?}"
    );
    assert!(ended.to_string().contains("query:read"), "{ended}");
    assert!(
        ended
            .to_string()
            .contains("`hogsend backfill posthog` goes on from here"),
        "{ended}"
    );
    let rows = "SELECT count(*) FROM user_events";
    assert_eq!(server.count(rows).await, 500);
    // Another one is refused, and this one is gone on with at once, without its times.
    let other = begin(&server, &wanted("2026-03-01T00:00:00Z"))
        .await
        .unwrap_err();
    assert!(matches!(other, BackfillError::Unfinished { .. }), "{other}");
    let again = Wanted {
        since: None,
        ..wanted("2026-03-02T00:00:00Z")
    };
    let begun = begin(&server, &again).await.unwrap();
    assert!(begun.resumed);
    let tally = read(&server, begun).await.unwrap();
    assert_eq!(
        (tally.new, tally.known, server.count(rows).await),
        (600, 0, 600)
    );
    assert!(matches!(
        begin(&server, &again).await,
        Err(BackfillError::NoSince(_))
    ));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_reads_a_source_and_another_takes_over_when_its_lease_ended() {
    let (server, api) = server(Store::native().await, &[]).await;
    api.has([Past::new("2026-03-02T08:00:00Z", "e-1", "bought", "ann")]);
    let wanted = wanted("2026-03-02T07:00:00Z");
    let first = begin(&server, &wanted).await.unwrap();
    let second = begin(&server, &wanted).await.unwrap_err();
    assert!(
        second
            .to_string()
            .contains("another process reads 'posthog' now"),
        "{second}"
    );
    server.advance(backfill::LEASE).await;
    let second = begin(&server, &wanted).await.unwrap();
    assert!(second.resumed);
    let ended = read(&server, first).await.unwrap_err();
    assert!(matches!(ended, BackfillError::TakenOver), "{ended}");
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
    assert_eq!(read(&server, second).await.unwrap().new, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_stored_does_not_stop_the_others() {
    let (server, api) = server(Store::native().await, &[]).await;
    server
        .run_sql("ALTER TABLE user_events ADD CONSTRAINT no_poison CHECK (name <> 'poison')")
        .await;
    api.has([
        Past::new("2026-03-02T08:00:00Z", "e-1", "bought", "ann"),
        Past::new("2026-03-02T08:00:01Z", "e-2", "poison", "ann"),
        Past::new("2026-03-02T08:00:02Z", "e-3", "bought", "bob"),
    ]);
    let tally = heal(&server, "2026-03-02T07:00:00Z").await;
    assert_eq!((tally.new, tally.failed), (2, 1));
    assert_eq!(
        server
            .count("SELECT count(*) FROM backfills WHERE finished_at IS NOT NULL")
            .await,
        1
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_reads_the_gap_at_its_start_if_it_is_asked_to() {
    let asked = [
        ("BACKFILL_ON_START", "posthog"),
        ("BACKFILL_EVENTS", "bought"),
    ];
    let (server, api) = server(Store::native().await, &asked).await;
    let stop = CancellationToken::new();
    // Nothing ever came: there is no gap.
    backfill::keep_healed(tools(&server), &stop).await;
    assert_eq!(api.seen(), 0);
    webhook(&server, "e-1", "bought", "ann", json!({})).await;
    server.advance(Duration::from_secs(5 * 3_600)).await;
    api.has([
        Past::new("2026-03-02T12:00:00Z", "e-2", "bought", "ann"),
        Past::new("2026-03-02T12:00:00Z", "e-3", "viewed", "ann"),
        // Longer ago than is read at start.
        Past::new("2026-03-01T13:59:59Z", "e-4", "bought", "ann"),
    ]);
    backfill::keep_healed(tools(&server), &stop).await;
    let stored = "SELECT string_agg(key, ' ' ORDER BY key) FROM event_keys";
    assert_eq!(server.text(stored).await, "e-1 e-2");
    // The next start reads what is missing since.
    server.advance(Duration::from_secs(3_600)).await;
    api.has([Past::new("2026-03-02T14:30:00Z", "e-5", "bought", "ann")]);
    backfill::keep_healed(tools(&server), &stop).await;
    assert_eq!(server.text(stored).await, "e-1 e-2 e-5");
    assert_eq!(
        server
            .text("SELECT (since AT TIME ZONE 'UTC')::text FROM backfills")
            .await,
        "2026-03-02 13:50:00"
    );
    let seen = api.seen();
    backfill::keep_healed(tools(&server), &stop).await;
    assert_eq!(api.seen(), seen, "nothing is missing");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_is_gone_on_from_and_stores_nothing_twice() {
    let (server, api) = server(Store::native().await, &[]).await;
    server.use_wall_clock();
    let since = server.now() - chrono::TimeDelta::hours(2);
    let at = (server.now() - chrono::TimeDelta::hours(1)).to_rfc3339();
    api.has((0..1_200).map(|number| {
        let user = format!("u{}", number % 50);
        Past::new(&at, &format!("e-{number:04}"), "bought", &user)
    }));
    let data = tempfile::tempdir().unwrap();
    let own = api.variables();
    let mut variables =
        process::worker_variables(server.database_url(), data.path(), "20").to_vec();
    variables.extend(own.iter().map(|(name, value)| (*name, &**value)));
    let since = since.to_rfc3339();
    let command = ["backfill", "posthog", "--since", &since];
    // The third page never comes.
    api.answer_only(2);
    let mut first = Process::start_with(&command, process::free_port(), &variables);
    let rows = "SELECT count(*) FROM user_events";
    let api = &api;
    let server = &server;
    until("two pages are stored", || async move {
        api.seen() == 3 && server.count(rows).await == 1_000
    })
    .await;
    first.kill();
    api.answer_only(1_000);
    // Nobody has it any more: saves the wait until its lease ends.
    server
        .run_sql("UPDATE backfills SET lease_until = NULL")
        .await;
    let (code, said) = process::run(data.path(), &command, &variables);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("going on with posthog"), "{said}");
    assert!(said.contains("1200 events read: 1200 new"), "{said}");
    assert_eq!(server.count(rows).await, 1_200);
    // Two pages before, the third one after.
    assert_eq!(api.seen(), 4);
    let again = ["backfill", "posthog", "--since", &since, "--dry-run"];
    let (code, said) = process::run(data.path(), &again, &variables);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("nothing was stored. It would be 1200 events read: 0 new"),
        "{said}"
    );
}

#[test]
fn what_to_enter_is_shown_with_the_url_and_without_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("API_PUBLIC_URL", "https://hogsend.example.com"),
        ("POSTHOG_WEBHOOK_SECRET", "whisper-0123456789"),
    ];
    let (code, said) = process::run(folder.path(), &["connect", "posthog"], &variables);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "Webhook URL: https://hogsend.example.com/v1/webhooks/posthog",
        r#"JSON Body: {"event":"{event}","person":"{person}"}"#,
        "the value of POSTHOG_WEBHOOK_SECRET",
        "set POSTHOG_HOST and run this again",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("whisper"), "{said}");
    let (code, said) = process::run(folder.path(), &["connect", "posthg"], &variables);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no plugin 'posthg' runs here") && said.contains("posthog"),
        "{said}"
    );
}
