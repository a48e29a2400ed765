//! What strangers may have made up is believed less.

use hogsend::db::{self, NewPending, PendingChange};
use hogsend::ids::{ContactId, EventId};
use serde_json::json;

use crate::on_each_store;
use crate::support::{Server, Store, posthog};

impl Server {
    /// Runs and reasons of those turned away, by journey.
    async fn entries(&self) -> String {
        self.drain().await;
        self.text(
            "SELECT string_agg(journey_id || ' ' || what, ', ' ORDER BY journey_id, what) FROM (
                 SELECT journey_id, 'entered' AS what FROM journey_states
                 UNION ALL SELECT journey_id, reason FROM enrolment_skips) all_of_them
             WHERE journey_id LIKE 't-%'",
        )
        .await
    }

    async fn by_posthog(&self, event: &str, at: &str) {
        let mut body = posthog(&format!("{event}-{at}"), event, "u", "u@example.com", "U");
        body["event"]["timestamp"] = json!(at);
        let answer = self.post("/v1/webhooks/posthog", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

const NOW: &str = "2026-03-02T09:00:00Z";

on_each_store! {
    async fn a_journey_that_asks_for_trust_is_not_entered_by_what_strangers_can_send(server: Server) {
        server.by_posthog("t.trusted", NOW).await;
        assert_eq!(server.entries().await, "t-trusted untrusted_event");
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE NOT trusted").await, 1);
        // What a run triggers is believed as what began it.
        server.by_posthog("t.relay", NOW).await;
        assert_eq!(server.entries().await, "t-relay entered, t-trusted untrusted_event, t-trusted untrusted_event");
        for event in ["t.trusted", "t.relay"] {
            let body = json!({ "event": event, "userId": "v" });
            assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
        }
        let entered = server.entries().await;
        assert_eq!(entered.matches("t-trusted entered").count(), 2, "{entered}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_says_that_a_sources_events_come_from_servers_only() {
    let server = Server::with(Store::native().await, &[("TRUSTED_SOURCES", "posthog")]).await;
    server.by_posthog("t.trusted", NOW).await;
    assert_eq!(server.entries().await, "t-trusted entered");
    server.stop().await;
}

on_each_store! {
    async fn a_late_event_enrols_as_the_journey_says(server: Server) {
        server.by_posthog("t.late", "2026-03-01T08:59:59Z").await;
        assert_eq!(server.entries().await, "t-however-late entered, t-late late_event");
        server.by_posthog("t.late", "2026-03-01T09:00:00Z").await;
        assert_eq!(
            server.entries().await,
            "t-however-late entered, t-however-late entered, t-late entered, t-late late_event"
        );
        // It ends what it ends.
        server.by_posthog("t.exit", NOW).await;
        server.by_posthog("t.stop", "2025-01-01T00:00:00Z").await;
        assert_eq!(server.text("SELECT status FROM journey_states WHERE journey_id = 't-exit'").await, "exited");
        server.stop().await;
    }
}

async fn contact(server: &Server, user: &str, email: &str) -> ContactId {
    let body = json!({ "event": "t.nothing", "userId": user, "userEmail": email });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    let mut conn = server.app.db.conn().await.unwrap();
    let found = db::contacts_find(&mut conn, Some(user), None).await;
    found.unwrap()[0].id
}

fn pending(server: &Server, contact: ContactId, change: PendingChange) -> NewPending {
    NewPending {
        contact,
        change,
        source: "posthog".into(),
        event: EventId::new(server.now()),
    }
}

on_each_store! {
    async fn a_change_waits_once_and_strangers_cannot_pile_them_up(server: Server) {
        let ann = contact(&server, "ann", "ann@example.com").await;
        let bob = contact(&server, "bob", "bob@example.com").await;
        let mut conn = server.app.db.conn().await.unwrap();
        let now = server.now();
        let address = |n: usize| PendingChange::Address(format!("x{n}@evil.test"));
        let twice = [
            pending(&server, ann, address(0)),
            pending(&server, ann, address(0)),
            pending(&server, ann, PendingChange::Unite(bob)),
            pending(&server, ContactId::new(now), address(0)),
        ];
        assert_eq!(db::pending_put(&mut conn, &twice, now).await.unwrap(), 2);
        assert_eq!(db::pending_put(&mut conn, &twice, now).await.unwrap(), 0);
        let many: Vec<_> = (1..50).map(|n| pending(&server, ann, address(n))).collect();
        db::pending_put(&mut conn, &many, now).await.unwrap();
        assert_eq!(db::pending_count(&mut conn, Some(ann)).await.unwrap(), 20);
        assert_eq!(db::pending_count(&mut conn, Some(bob)).await.unwrap(), 1);

        let all = db::pending_list(&mut conn, None, 3, 0).await.unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].change(), Some(address(0)));
        assert_eq!(all[1].other_external_id.as_deref(), Some("bob"));
        let got = db::pending_get(&mut conn, all[1].id).await.unwrap().unwrap();
        assert_eq!(got.change(), Some(PendingChange::Unite(bob)));

        // What has come about needs no decision.
        db::pending_settle(&mut conn, &[ann], &["x0@evil.test".into()]).await.unwrap();
        assert!(db::pending_get(&mut conn, all[0].id).await.unwrap().is_none());
        assert!(db::pending_delete(&mut conn, all[1].id).await.unwrap());
        assert!(!db::pending_delete(&mut conn, all[1].id).await.unwrap());
        drop(conn);
        server.stop().await;
    }
}

on_each_store! {
    async fn changes_follow_a_merge_and_are_erased_with_the_address(server: Server) {
        let ann = contact(&server, "ann", "ann@example.com").await;
        let bob = contact(&server, "bob", "bob@example.com").await;
        let eve = contact(&server, "eve", "eve@example.com").await;
        let now = server.now();
        let mut tx = server.app.db.begin().await.unwrap();
        let address = |text: &str| PendingChange::Address(text.into());
        let all = [
            pending(&server, ann, PendingChange::Unite(bob)),
            pending(&server, eve, PendingChange::Unite(bob)),
            pending(&server, bob, address("eve@example.com")),
        ];
        assert_eq!(db::pending_put(&mut tx, &all, now).await.unwrap(), 3);
        db::contact_lock(&mut tx, &[ann, bob]).await.unwrap();
        let merge = db::Merge { keep: ann, gone: bob, reason: "alias", source: "test" };
        db::contact_merge(&mut tx, merge, now).await.unwrap();
        tx.commit().await.unwrap();
        let mut conn = server.app.db.conn().await.unwrap();
        let left = db::pending_list(&mut conn, None, 10, 0).await.unwrap();
        let left: Vec<_> = left.iter().map(|row| (row.contact_id, row.change().unwrap())).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&(eve, PendingChange::Unite(ann))));
        assert!(left.contains(&(ann, address("eve@example.com"))));
        drop(conn);

        let mut tx = server.app.db.begin().await.unwrap();
        hogsend::contacts::erase(&server.app, &mut tx, Some("eve"), None, now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(server.count("SELECT count(*) FROM pending_changes").await, 0);
        server.stop().await;
    }
}
