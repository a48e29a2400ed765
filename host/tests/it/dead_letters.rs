//! Failed and stuck runs, and what administrators do with them.

use std::time::Duration;

use hogsend::audit::Actor;
use hogsend::ids::StateId;
use hogsend::runs::decide::{self, AdminError};
use serde_json::json;

use crate::on_each_store;
use crate::support::journeys_plugin::MOODS;
use crate::support::{Server, Store};

const HOUR: Duration = Duration::from_secs(3_600);

impl Server {
    async fn enter(&self, event: &str, user: &str) -> StateId {
        let body = json!({ "event": event, "userId": user, "userEmail": "a@example.com" });
        assert_eq!(self.post("/v1/ingest", &body).await.status, 202);
        self.drain().await;
        let id = self
            .text("SELECT id::text FROM journey_states ORDER BY id DESC LIMIT 1")
            .await;
        StateId(id.parse().unwrap())
    }

    async fn statuses(&self) -> String {
        self.text("SELECT string_agg(status, ', ' ORDER BY id) FROM journey_states")
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_repeats_the_failed_step_and_nothing_before_it() {
    let port = crate::support::process::free_port();
    let url = format!("http://127.0.0.1:{port}");
    let server = Server::with(Store::native().await, &[("STEPS_URL", &url)]).await;
    let run = server.enter("s.broken", "u").await;
    for _ in 0..6 {
        server.advance(HOUR).await;
    }
    assert_eq!(server.statuses().await, "failed");
    let told = server
        .text("SELECT error_message FROM journey_states")
        .await;
    assert!(
        told.contains("http_connect") && told.contains("steps_plugin.rs:"),
        "{told}"
    );
    let steps = "SELECT string_agg(kind || ' ' || state || ' ' || attempts, ', ' ORDER BY seq) FROM journey_steps";
    assert_eq!(
        server.text(steps).await,
        "trigger done 0, sleep done 0, sleep done 0, http done 5"
    );

    // A retry fails again while the server does not answer; later it succeeds.
    decide::retry(&server.app, &Actor::Command, run)
        .await
        .unwrap();
    assert_eq!(
        server.text(steps).await,
        "trigger done 0, sleep done 0, sleep done 0, http open 0"
    );
    for _ in 0..6 {
        server.advance(HOUR).await;
    }
    assert_eq!(server.statuses().await, "failed");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let answering = axum::Router::new().fallback(async || "yes");
    tokio::spawn(axum::serve(listener, answering).into_future());
    decide::retry(&server.app, &Actor::Command, run)
        .await
        .unwrap();
    server.drain().await;
    assert_eq!(
        server
            .text("SELECT status || ' ' || current_node_id FROM journey_states")
            .await,
        "completed went-on"
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 's.before'")
            .await,
        1
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'journey.failed'")
            .await,
        2
    );
    assert!(matches!(
        decide::retry(&server.app, &Actor::Command, run).await,
        Err(AdminError::Conflict(_))
    ));
    server.stop().await;
}

on_each_store! {
    async fn a_stuck_run_is_resumed_restarted_or_ended(server: Server) {
        let user = format!("resumed-{}", uuid::Uuid::now_v7());
        let run = server.enter("t.moody", &user).await;
        MOODS.lock().unwrap().push(user.clone());
        server.advance(HOUR).await;
        assert_eq!(server.statuses().await, "stuck");
        let told = server.text("SELECT error_message FROM journey_states").await;
        assert!(told.contains("was sleep 'calm'") && told.contains("now asks for send"), "{told}");
        assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 0);

        // The code is the original one again.
        MOODS.lock().unwrap().retain(|one| *one != user);
        decide::resume(&server.app, &Actor::Command, run).await.unwrap();
        server.drain().await;
        assert_eq!(server.statuses().await, "completed");

        let run = server.enter("t.moody", &user).await;
        MOODS.lock().unwrap().push(user.clone());
        server.advance(HOUR).await;
        let new = decide::restart(&server.app, &Actor::Command, run, false).await.unwrap();
        assert!(new.again.is_empty());
        let new = new.run;
        server.drain().await;
        assert_ne!(run, new);
        assert_eq!(server.statuses().await, "completed, exited, completed");
        assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 1);
        MOODS.lock().unwrap().retain(|one| *one != user);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_healthy_run_is_restarted_with_force_only_and_lists_the_mails_sent_again(server: Server) {
        let run = server.enter("t.twice", "ann").await;
        server.run_sql("UPDATE contacts SET email = 'ann@example.com'").await;
        server.drain().await;
        assert_eq!(server.statuses().await, "completed");
        let refused = decide::restart(&server.app, &Actor::Command, run, false).await.unwrap_err().to_string();
        assert!(refused.contains("is completed") && refused.contains("--force"), "{refused}");
        let sent = server.text("SELECT template_key FROM email_sends").await;
        assert!(refused.contains(&format!("would send again what this one sent: {sent}")), "{refused}");
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 1);
        let new = decide::restart(&server.app, &Actor::Command, run, true).await.unwrap();
        assert_eq!(new.again, [sent]);
        assert_ne!(new.run, run);
        server.stop().await;
    }
}

on_each_store! {
    async fn an_ended_run_stays_ended_and_its_queued_mails_are_not_sent(server: Server) {
        let run = server.enter("t.slow", "u").await;
        server.clock.advance(25 * HOUR);
        hogsend::runs::advance_due(&server.app).await.unwrap();
        decide::exit(&server.app, &Actor::Command, run, "asked to").await.unwrap();
        server.advance(HOUR).await;
        assert_eq!(server.statuses().await, "exited");
        assert_eq!(server.text("SELECT status || ' ' || reason FROM email_sends").await, "skipped journey_exited");
        assert!(matches!(decide::exit(&server.app, &Actor::Command, run, "").await, Err(AdminError::Conflict(_))));
        assert!(matches!(decide::resume(&server.app, &Actor::Command, run).await, Err(AdminError::Conflict(_))));
        let nobody = StateId(uuid::Uuid::nil());
        assert!(matches!(decide::retry(&server.app, &Actor::Command, nobody).await, Err(AdminError::NotFound(_))));
        server.stop().await;
    }
}

on_each_store! {
    async fn a_dead_letter_can_be_dismissed(server: Server) {
        let run = server.enter("t.error", "u").await;
        let list = async || {
            let mut conn = server.app.db.conn().await.unwrap();
            hogsend::db::states_broken(&mut conn, 10).await.unwrap()
        };
        assert_eq!(list().await[0].id, run);
        decide::dismiss(&server.app, &Actor::Command, run).await.unwrap();
        assert!(list().await.is_empty());
        let audited = server.text("SELECT actor_type || ' ' || action || ' ' || resource_id FROM audit_logs").await;
        assert_eq!(audited, format!("command journey_state.dismiss {run}"));
        server.stop().await;
    }
}

on_each_store! {
    async fn a_hundred_identical_events_at_once_enrol_once(server: Server) {
        let body = json!({ "event": "t.slow", "userId": "u", "userEmail": "a@example.com" });
        let posts = (0..100).map(|_| server.post("/v1/ingest", &body));
        for answer in futures_util::future::join_all(posts).await {
            assert_eq!(answer.status, 202);
        }
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 1);
        assert_eq!(server.count("SELECT count(*) FROM enrolment_skips WHERE reason = 'already_active'").await, 99);
        server.stop().await;
    }
}
