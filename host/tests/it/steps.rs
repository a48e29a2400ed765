//! Every step of a journey, on the real host.

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::{Server, Store};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl Server {
    async fn step(&self, name: &str, user: &str, properties: Value) {
        let body = json!({ "event": name, "userId": user, "userEmail": format!("{user}@example.com"), "properties": properties });
        let answer = self.post("/v1/ingest", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        self.drain().await;
    }

    /// Status and place of the newest run.
    async fn newest(&self) -> String {
        self.text(
            "SELECT status || ' ' || current_node_id FROM journey_states ORDER BY id DESC LIMIT 1",
        )
        .await
    }

    async fn marks(&self) -> String {
        self.text(
            "SELECT string_agg(args->>'label', ', ' ORDER BY state_id, seq) FROM journey_steps WHERE kind = 'checkpoint'",
        )
        .await
    }
}

on_each_store! {
    async fn a_wait_ends_with_the_event_that_fits_or_with_its_time(server: Server) {
        server.step("s.wait", "u", json!({})).await;
        assert_eq!(server.newest().await, "waiting wait_for:s.paid");
        server.step("s.paid", "u", json!({ "plan": "free", "amount": 1 })).await;
        server.step("s.paid", "v", json!({ "plan": "pro", "amount": 2 })).await;
        assert_eq!(server.newest().await, "waiting wait_for:s.paid");
        server.clock.advance(HOUR);
        server.step("s.paid", "u", json!({ "plan": "pro", "amount": 3 })).await;
        assert_eq!(server.newest().await, "completed paid-3");
        // Nobody listens any more, and the mark goes with the next event that looks.
        server.step("s.paid", "u", json!({ "plan": "pro", "amount": 4 })).await;
        assert_eq!(server.count("SELECT count(*) FROM contacts WHERE listening").await, 0);

        server.step("s.wait", "w", json!({})).await;
        server.advance(97 * HOUR).await;
        assert_eq!(server.newest().await, "completed timed-out");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_wait_counts_what_came_before_only_with_a_lookback(server: Server) {
        server.step("s.paid", "u", json!({ "plan": "pro" })).await;
        server.clock.advance(HOUR);
        server.step("s.wait", "u", json!({})).await;
        assert_eq!(server.newest().await, "waiting wait_for:s.paid");
        server.step("s.lookback", "u", json!({})).await;
        assert_eq!(server.newest().await, "completed seen");
        server.clock.advance(2 * HOUR);
        server.step("s.lookback", "u", json!({})).await;
        assert_eq!(server.newest().await, "waiting wait_for:s.paid");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_run_hears_an_event_of_its_own(server: Server) {
        server.step("s.own", "u", json!({})).await;
        assert_eq!(server.newest().await, "completed heard");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_wait_counts_what_was_stored_since_the_step_before_it_ended(server: Server) {
        for (name, comes_to) in [("s.sequence", "heard"), ("s.own", "heard")] {
            server.step(name, "u", json!({})).await;
            assert_eq!(server.newest().await, format!("completed {comes_to}"), "{name}");
        }
        server.step("s.between", "u", json!({})).await;
        assert_eq!(server.newest().await, "waiting wait_for:s.self");

        // Two that come at once are both heard, in their order.
        server.step("s.two", "v", json!({})).await;
        let paid = |amount: i32| json!({ "name": "s.paid", "userId": "v", "eventProperties": { "amount": amount } });
        let body = json!({ "events": [paid(1), paid(2)] });
        assert_eq!(server.post("/v1/events/batch", &body).await.status, 202);
        server.drain().await;
        assert_eq!(server.newest().await, "completed two-1-2");

        // A worker that is late does not make the time shorter in which the event counts.
        server.step("s.rest", "w", json!({})).await;
        server.clock.advance(HOUR + MINUTE);
        let paid = json!({ "event": "s.paid", "userId": "w" });
        assert_eq!(server.post("/v1/ingest", &paid).await.status, 202);
        server.clock.advance(MINUTE);
        server.drain().await;
        assert_eq!(server.newest().await, "completed paid");
        server.stop().await;
    }
}

on_each_store! {
    async fn what_has_arrived_has_happened_whatever_its_clock_says(server: Server) {
        for (user, at) in [
            ("ahead", "2026-03-02T11:00:00Z"),
            ("days-ahead", "2026-03-05T00:00:00Z"),
            ("before-it-began", "2026-02-01T00:00:00Z"),
            ("before-1970", "1969-12-31T23:59:59Z"),
            ("no-zone", "2026-03-02T09:00:00"),
            ("no-time", "soon"),
        ] {
            server.step("s.wait", user, json!({})).await;
            assert_eq!(server.newest().await, "waiting wait_for:s.paid", "{user}");
            let email = format!("{user}@example.com");
            let mut body = crate::support::posthog(user, "s.paid", user, &email, "A");
            body["event"]["timestamp"] = json!(at);
            body["event"]["properties"]["amount"] = json!(1);
            let answer = server.post("/v1/webhooks/posthog", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            server.drain().await;
            assert_eq!(server.newest().await, "completed paid-1", "{user}");
        }
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE occurred_at > received_at").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn history_is_counted_and_sets_nothing_going(server: Server) {
        server.step("s.wait", "u", json!({})).await;
        server.step("t.exit", "u", json!({})).await;
        let runs = server.count("SELECT count(*) FROM journey_states").await;
        let old = |name: &str, key: &str| json!({
            "name": name, "userId": "u", "idempotencyKey": key, "timestamp": "2026-01-01T00:00:00Z",
            "eventProperties": { "plan": "pro", "amount": 50 }, "lists": { "journey": true }, "historical": true,
        });
        for name in ["s.paid", "t.paid", "t.stop", "t.once", "s.gap"] {
            let answer = server.post("/v1/events", &old(name, name)).await;
            assert_eq!(answer.status, 202, "{}", answer.text());
            let told = answer.json();
            assert_eq!((&told["stored"], &told["exits"], &told["contactKey"]), (&json!(true), &json!([]), &json!("u")));
        }
        // A whole batch is, and an event of it may say otherwise.
        let mut new = old("t.hourly", "new");
        new["historical"] = json!(false);
        let mut unsaid = old("t.once", "unsaid");
        unsaid.as_object_mut().unwrap().remove("historical");
        let batch = json!({ "events": [old("t.once", "b"), unsaid], "historical": true });
        assert_eq!(server.post("/v1/events/batch", &batch).await.status, 202);
        server.drain().await;
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, runs);
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status = 'waiting'").await, 2);
        assert_eq!(server.count("SELECT count(*) FROM enrolment_skips").await, 0);
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE historical AND source = 'api'").await, 7);
        let batch = json!({ "events": [new], "historical": true });
        assert_eq!(server.post("/v1/events/batch", &batch).await.status, 202);
        assert_eq!(server.text("SELECT reason FROM enrolment_skips").await, "late_event");
        // What looks into the past sees it.
        let seen = json!({ "name": "s.past", "userId": "w", "email": "w@example.com", "historical": true, "timestamp": "2026-03-02T08:30:00Z" });
        assert_eq!(server.post("/v1/events", &seen).await.status, 202);
        server.step("s.past", "w", json!({})).await;
        assert_eq!(server.newest().await, "completed 1-1-true-2");
        server.stop().await;
    }
}

on_each_store! {
    async fn monday_is_that_of_the_person(server: Server) {
        // 2026-03-02 is a Monday, nine o'clock in UTC; half past nine in Tokyo has gone.
        let user = |zone: &str| json!({ "name": "s.until", "userId": zone, "contactProperties": { "timezone": zone } });
        for zone in ["Asia/Tokyo", "Europe/Lisbon"] {
            assert_eq!(server.post("/v1/events", &user(zone)).await.status, 202);
        }
        server.drain().await;
        server.advance(24 * 8 * HOUR).await;
        assert_eq!(
            server.text("SELECT string_agg(s.args->>'at', ', ' ORDER BY s.state_id) FROM journey_steps s WHERE kind = 'sleep_until'").await,
            "2026-03-09T00:30:00Z, 2026-03-02T09:30:00Z"
        );
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status = 'completed'").await, 2);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_digest_gathers_what_came_in_its_window(server: Server) {
        for n in ["1", "2", "3"] {
            server.step("s.digest", "u", json!({ "n": n })).await;
            server.clock.advance(MINUTE);
        }
        server.advance(HOUR).await;
        assert_eq!(server.newest().await, "completed 3-123");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_digest_keeps_the_newest_of_very_many(server: Server) {
        let event = |n: usize| json!({ "name": "s.many", "userId": "u", "eventProperties": { "n": n } });
        server.post("/v1/events", &event(0)).await;
        server.drain().await;
        for from in [1, 1_001] {
            server.clock.advance(MINUTE);
            let events: Vec<_> = (from..from + 1_000).map(event).collect();
            let answer = server.post("/v1/events/batch", &json!({ "events": events })).await;
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
        server.advance(HOUR).await;
        assert_eq!(server.newest().await, "completed 2001: 1001 to 2000");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_run_beyond_a_limit_fails_by_its_name_and_costs_little(server: Server) {
        for (limit, why) in [
            ("steps", "more than 2000 steps"),
            ("label", "the label of step 0 (checkpoint)"),
            ("input", "the inputs of step 0 (send)"),
            ("properties", "at most 1000 properties"),
            ("key", "at most 1000 bytes"),
        ] {
            server.step("s.limit", limit, json!({ "of": limit })).await;
            let sql = "SELECT status || ': ' || error_message FROM journey_states ORDER BY id DESC LIMIT 1";
            let error = server.text(sql).await;
            assert!(error.starts_with("failed: ") && error.contains(why), "{limit}: {error}");
        }
        // Nothing of a call that was given up is kept.
        assert_eq!(server.count("SELECT count(*) FROM journey_steps WHERE kind IN ('checkpoint', 'send')").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_throttle_and_a_once_count_across_enrolments(server: Server) {
        for n in 0..4 {
            server.step("s.throttle", "u", json!({})).await;
            server.step("s.once", "u", json!({ "n": n.to_string() })).await;
            server.clock.advance(MINUTE);
        }
        server.clock.advance(24 * HOUR);
        server.step("s.throttle", "u", json!({})).await;
        assert_eq!(
            server.marks().await,
            "passed, gift of 0, passed, gift of 0, held, gift of 0, held, gift of 0, passed"
        );
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name = 's.gift'").await, 1);
        server.stop().await;
    }
}

on_each_store! {
    async fn what_a_run_says_of_a_person_is_kept_and_seen(server: Server) {
        server.run_sql("INSERT INTO contacts (id, external_id, first_seen_at, last_seen_at, created_at, updated_at) VALUES (gen_random_uuid(), 'u', now(), now(), now(), now())").await;
        server.run_sql("INSERT INTO email_preferences (contact_id, categories, updated_at) SELECT id, '{\"news\": false}', now() FROM contacts").await;
        let body = json!({ "event": "s.person", "userId": "u" });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
        hogsend::runs::advance_due(&server.app).await.unwrap();
        hogsend::runs::advance_due(&server.app).await.unwrap();
        assert_eq!(server.newest().await, "completed 3-true-false");
        assert_eq!(server.text("SELECT properties::text FROM contacts").await, "{\"level\": 3}");
        assert_eq!(
            server.text("SELECT string_agg(coalesce(event, 'properties'), ', ' ORDER BY id) FROM analytics_outbox").await,
            "properties, level.reached"
        );
        server.drain().await;
        assert_eq!(server.count("SELECT count(*) FROM analytics_outbox").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_run_sees_its_own_past(server: Server) {
        server.step("s.past", "u", json!({})).await;
        assert_eq!(server.newest().await, "completed 1-1-true-1");
        server.step("s.past", "u", json!({})).await;
        assert_eq!(server.newest().await, "completed 2-2-true-2");
        server.stop().await;
    }
}

on_each_store! {
    async fn events_go_to_others_and_runs_leave_by_themselves(server: Server) {
        server.step("s.other", "u", json!({})).await;
        assert_eq!(
            server.text("SELECT c.external_id FROM user_events e JOIN contacts c ON c.id = e.contact_id WHERE e.name = 's.invited'").await,
            "friend"
        );
        server.step("s.exit", "u", json!({ "leave": "yes" })).await;
        assert_eq!(server.text("SELECT status FROM journey_states WHERE journey_id = 's-exit'").await, "exited");
        assert_eq!(
            server.text("SELECT properties->>'reason' FROM user_events WHERE name = 'journey.exited'").await,
            "not interested"
        );
        server.stop().await;
    }
}

on_each_store! {
    async fn choices_are_the_same_in_every_replay(server: Server) {
        server.step("s.choose", "u", json!({})).await;
        server.advance(HOUR).await;
        let first = server.newest().await;
        server.step("s.choose", "u", json!({})).await;
        server.advance(HOUR).await;
        let second = server.newest().await;
        // The arm is the person's, the toss the run's.
        assert_eq!(first[.."completed a".len()], second[.."completed a".len()]);
        assert_ne!(first, second);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_circle_of_journeys_ends_at_its_depth_with_name_and_place(server: Server) {
        server.step("s.ping", "u", json!({})).await;
        for _ in 0..20 {
            server.advance(MINUTE).await;
        }
        let error = server.text("SELECT journey_id || ': ' || error_message FROM journey_states WHERE status = 'failed'").await;
        assert!(error.starts_with("s-p") && error.contains("trigger_too_deep") && error.contains("steps_plugin.rs:"), "{error}");
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status = 'completed'").await, 15);
        server.stop().await;
    }
}

on_each_store! {
    async fn text_that_postgres_cannot_hold_does_not_stop_a_run(server: Server) {
        server.step("s.nul", "u", json!({})).await;
        assert!(server.newest().await.starts_with("failed"));
        server.stop().await;
    }
}

/// An HTTP server that fails twice and then answers.
async fn flaky() -> (String, tokio::task::JoinHandle<Vec<(String, String)>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = seen.clone();
    let app = axum::Router::new().fallback(move |headers: axum::http::HeaderMap| {
        let seen = kept.clone();
        async move {
            let mut seen = seen.lock().unwrap();
            let key = headers["idempotency-key"].to_str().unwrap().to_owned();
            let status = [503, 429, 204][seen.len()];
            seen.push((key, status.to_string()));
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            (status, [("retry-after", "120")])
        }
    });
    let served = tokio::spawn(async move {
        let until_three = async {
            while seen.lock().unwrap().len() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = axum::serve(listener, app).into_future() => {}
            () = until_three => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        seen.lock().unwrap().clone()
    });
    (url, served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_tried_again_when_the_other_side_says_with_the_same_key() {
    let (url, served) = flaky().await;
    let server = Server::with(Store::native().await, &[("STEPS_URL", &url)]).await;
    server.step("s.http", "u", json!({})).await;
    assert_eq!(server.newest().await, "waiting http");
    server.advance(MINUTE).await;
    assert_eq!(
        server
            .text("SELECT attempts::text FROM journey_steps")
            .await,
        "1"
    );
    server.advance(2 * MINUTE).await;
    assert_eq!(
        server
            .text("SELECT attempts::text FROM journey_steps")
            .await,
        "2"
    );
    server.advance(4 * MINUTE).await;
    assert_eq!(server.newest().await, "completed answered-204");
    let seen = served.await.unwrap();
    assert!(seen.iter().all(|(key, _)| *key == seen[0].0), "{seen:?}");
    server.stop().await;
}
