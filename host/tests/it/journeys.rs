//! Enrolment, exits, and runs that end as they should.

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::Server;
use crate::support::journeys_plugin::MOODS;

const HOUR: Duration = Duration::from_secs(3_600);

impl Server {
    /// Ingests an event of a person who has an address.
    async fn event(&self, name: &str, user: &str, properties: Value) -> Value {
        let body = json!({ "event": name, "userId": user, "userEmail": format!("{user}@example.com"), "properties": properties });
        let answer = self.post("/v1/ingest", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()
    }

    async fn skips(&self) -> String {
        self.text(
            "SELECT string_agg(journey_id || ' ' || reason, ', ' ORDER BY id) FROM enrolment_skips
             WHERE journey_id LIKE 't-%'",
        )
        .await
    }
}

on_each_store! {
    async fn each_guard_turns_away_with_its_reason(server: Server) {
        server.event("t.off", "u", json!({})).await;
        server.run_sql("INSERT INTO journey_settings VALUES ('t-echo', false, now())").await;
        server.event("t.echo", "u", json!({})).await;
        server.event("t.where", "u", json!({ "plan": "free" })).await;
        server.event("t.once", "u", json!({})).await;
        server.drain().await;
        server.event("t.once", "u", json!({})).await;
        server.event("t.hourly", "u", json!({})).await;
        server.drain().await;
        server.event("t.hourly", "u", json!({})).await;
        server.event("t.slow", "u", json!({})).await;
        server.event("t.slow", "u", json!({})).await;
        server.run_sql("INSERT INTO email_preferences (contact_id, categories, updated_at) SELECT id, '{\"journey\": false}', now() FROM contacts").await;
        server.event("t.count", "u", json!({})).await;
        assert_eq!(
            server.skips().await,
            "t-off journey_disabled, t-echo journey_disabled_by_admin, t-where trigger_conditions_not_met, \
             t-once already_entered_once, t-hourly period_not_elapsed, t-slow already_active, \
             t-count user_unsubscribed"
        );
        server.clock.advance(HOUR);
        server.run_sql("DELETE FROM email_preferences").await;
        server.event("t.hourly", "u", json!({})).await;
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE journey_id = 't-hourly'").await, 2);
        server.stop().await;
    }
}

on_each_store! {
    async fn an_exit_condition_ends_the_run_and_no_mail_follows(server: Server) {
        server.event("t.exit", "u", json!({})).await;
        server.drain().await;
        let answer = server.event("t.paid", "u", json!({ "amount": 9 })).await;
        assert_eq!(answer["exits"][0]["exited"], false);
        assert_eq!(answer["exits"][0]["journeyId"], "t-exit");
        let answer = server.event("t.paid", "u", json!({ "amount": 10 })).await;
        assert_eq!(answer["exits"][0]["exited"], true);
        assert_eq!(answer["exits"][0]["stateId"], server.text("SELECT id::text FROM journey_states").await);
        server.advance(48 * HOUR).await;
        assert_eq!(server.text("SELECT status FROM journey_states").await, "exited");
        assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 0);
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name = 'journey.exited'").await, 1);
        // Ended for good, but the person may enter again.
        assert_eq!(server.event("t.stop", "u", json!({})).await["exits"], json!([]));
        server.event("t.exit", "u", json!({})).await;
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 2);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_mail_decided_on_but_not_attempted_is_skipped_after_an_exit(server: Server) {
        server.event("t.exit", "u", json!({})).await;
        server.drain().await;
        server.clock.advance(25 * HOUR);
        hogsend::runs::advance_due(&server.app).await.unwrap();
        assert_eq!(server.text("SELECT status FROM email_sends").await, "queued");
        server.event("t.stop", "u", json!({})).await;
        server.drain().await;
        assert_eq!(server.text("SELECT status || ' ' || reason FROM email_sends").await, "skipped journey_exited");
        assert_eq!(server.text("SELECT status FROM journey_states").await, "exited");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_race_between_two_waits_is_settled_by_the_record(server: Server) {
        server.event("t.race", "u", json!({})).await;
        server.drain().await;
        server.advance(2 * HOUR).await;
        assert_eq!(server.text("SELECT string_agg(coalesce(label, kind) || ' ' || state, ', ' ORDER BY seq) FROM journey_steps").await,
            "long cancelled, short done, checkpoint noted, sleep open");
        server.advance(HOUR).await;
        assert_eq!(server.text("SELECT status FROM journey_states").await, "completed");
        server.advance(96 * HOUR).await;
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status = 'completed'").await, 1);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_journey_sees_the_event_it_triggered(server: Server) {
        server.event("t.count", "u", json!({})).await;
        server.drain().await;
        assert_eq!(server.text("SELECT status || ' ' || current_node_id FROM journey_states").await, "completed saw-1");
        assert_eq!(server.text("SELECT properties->>'by' FROM user_events WHERE name = 't.counted'").await, "t-count");
        server.stop().await;
    }
}

on_each_store! {
    async fn journeys_that_trigger_each_other_in_a_circle_end(server: Server) {
        server.event("t.loop", "u", json!({})).await;
        for _ in 0..20 {
            server.drain().await;
        }
        // Each event finds the run that caused it still active, so the circle closes at once.
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status IN ('active', 'waiting')").await, 0);
        assert!(server.count("SELECT count(*) FROM user_events WHERE name = 't.loop'").await <= 17);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_panic_or_an_error_fails_the_run_with_its_place(server: Server) {
        server.event("t.panic", "p", json!({})).await;
        server.event("t.error", "e", json!({})).await;
        server.drain().await;
        server.advance(HOUR).await;
        let panic = server.text("SELECT error_message FROM journey_states WHERE journey_id = 't-panic'").await;
        assert!(panic.contains("the author erred") && panic.contains("journeys_plugin.rs"), "{panic}");
        let error = server.text("SELECT error_message FROM journey_states WHERE journey_id = 't-error'").await;
        assert!(error.contains("no template 'no-such-template'") && error.contains("journeys_plugin.rs"), "{error}");
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status = 'failed'").await, 2);
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name = 'journey.failed'").await, 2);
        server.stop().await;
    }
}

on_each_store! {
    async fn code_that_changed_under_a_parked_run_leaves_it_stuck_and_sends_nothing(server: Server) {
        let user = uuid::Uuid::new_v4().to_string();
        server.event("t.moody", &user, json!({})).await;
        server.drain().await;
        MOODS.lock().unwrap().push(user);
        server.advance(2 * HOUR).await;
        assert_eq!(server.text("SELECT status FROM journey_states").await, "stuck");
        let error = server.text("SELECT error_message FROM journey_states").await;
        assert!(error.contains("step 0 was sleep 'calm'") && error.contains("now asks for send"), "{error}");
        assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_person_without_an_address_is_skipped_with_the_reason(server: Server) {
        let answer = server.post("/v1/ingest", &json!({ "event": "t.mail", "userId": "nobody" })).await;
        assert_eq!(answer.status, 202);
        server.drain().await;
        assert_eq!(server.text("SELECT status || ' ' || reason FROM email_sends").await, "skipped no_address");
        assert_eq!(server.text("SELECT status || ' ' || current_node_id FROM journey_states").await, "completed skipped-no_address");
        server.stop().await;
    }
}
