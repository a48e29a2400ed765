//! What strangers may have made up is believed less.

use hogsend::db::{self, NewPending, PendingChange};
use hogsend::ids::{ContactId, EventId};
use serde_json::json;

use crate::on_each_store;
use crate::support::Server;

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
