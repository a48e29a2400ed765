//! Untrusted events may be forged, so they can do less than trusted ones.

use axum::body::Body;
use axum::http::{Method, Request};
use hogsend::db::{self, NewPending, PendingChange};
use hogsend::ids::{ContactId, EventId};
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::{Server, Store, posthog};

impl Server {
    /// Runs, and the reasons of refused enrolments, by journey.
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
        // An event that a run triggers has the trust of the event that started the run.
        server.by_posthog("t.relay", NOW).await;
        assert_eq!(server.entries().await, "t-relay entered, t-trusted untrusted_event, t-trusted untrusted_event");
        for event in ["t.trusted", "t.relay"] {
            let body = json!({ "event": event, "userId": "v" });
            assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
            server.drain().await;
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
        // A late event still ends runs.
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

        // A change that already happened needs no decision.
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
        let address = |text: &str| PendingChange::Address(text.into());
        let all = [
            pending(&server, ann, PendingChange::Unite(bob)),
            pending(&server, eve, PendingChange::Unite(bob)),
            pending(&server, bob, address("eve@example.com")),
        ];
        let merging = async |mut tx: db::Tx| {
            let put = db::pending_put(&mut tx, &all, now).await?;
            db::contact_lock(&mut tx, &[ann, bob]).await?;
            let merge = db::Merge { keep: ann, gone: bob, reason: "alias", source: "test" };
            db::contact_merge(&mut tx, merge, now).await?;
            db::Result::Ok((tx, put))
        };
        assert_eq!(server.app.db.transact(merging).await.unwrap(), 3);
        let mut conn = server.app.db.conn().await.unwrap();
        let left = db::pending_list(&mut conn, None, 10, 0).await.unwrap();
        let left: Vec<_> = left.iter().map(|row| (row.contact_id, row.change().unwrap())).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&(eve, PendingChange::Unite(ann))));
        assert!(left.contains(&(ann, address("eve@example.com"))));
        drop(conn);

        let erase = async |mut tx: db::Tx| {
            hogsend::contacts::erase_in(&server.app, &mut tx, Some("eve"), None, now).await?;
            db::Result::Ok((tx, ()))
        };
        server.app.db.transact(erase).await.unwrap();
        assert_eq!(server.count("SELECT count(*) FROM pending_changes").await, 0);
        server.stop().await;
    }
}

const KEY: &str = "an admin key of tests";

impl Server {
    async fn admin(&self, method: Method, path: &str, status: u16) -> Value {
        let path = format!("/v1/admin/contacts/{path}");
        let answer = self.call(method, &path, KEY, None).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        answer.json()
    }

    /// A trusted call.
    async fn put(&self, path: &str, body: Value) -> Value {
        let method = if path == "/v1/contacts" {
            Method::PUT
        } else {
            Method::POST
        };
        let answer = self.call(method, path, KEY, Some(&body)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
        answer.json()
    }

    /// An untrusted event that names an address.
    async fn says(&self, uuid: &str, event: &str, user: &str, email: &str) {
        let answer = self
            .post(
                "/v1/webhooks/posthog",
                &posthog(uuid, event, user, email, "A"),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn waiting(&self) -> Value {
        let answer = self.call(Method::GET, "/v1/health", KEY, None).await;
        answer.json()["pendingChanges"].clone()
    }
}

async fn with_key() -> Server {
    Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_a_stranger_gives_a_known_person_waits_for_a_decision() {
    let server = with_key().await;
    server
        .put(
            "/v1/contacts",
            json!({ "userId": "ann", "email": "ann@example.com" }),
        )
        .await;
    server.says("1", "t.nothing", "ann", "Eve@Evil.test").await;
    let story = server.admin(Method::GET, "ann", 200).await;
    assert_eq!(story["contact"]["email"], "ann@example.com");
    assert_eq!(story["emailUnconfirmed"], false);
    assert_eq!(story["pendingChanges"][0]["kind"], "address");
    assert_eq!(server.waiting().await, 1);
    let mail = json!({ "userId": "ann", "template": "password-reset", "props": { "url": "https://acme.test/reset" } });
    server.put("/v1/emails", mail).await;
    assert_eq!(
        server.text("SELECT to_email FROM email_sends").await,
        "ann@example.com"
    );

    let list = server.admin(Method::GET, "pending?limit=1", 200).await;
    let one = &list["pending"][0];
    assert_eq!(
        (&list["total"], &one["address"], &one["source"]),
        (&json!(1), &json!("eve@evil.test"), &json!("posthog"))
    );
    let path = |what: &str| format!("pending/{}/{what}", one["id"].as_str().unwrap());
    server.admin(Method::POST, &path("dismiss"), 200).await;
    server.admin(Method::POST, &path("dismiss"), 404).await;
    server.admin(Method::POST, &path("apply"), 404).await;
    assert_eq!(server.waiting().await, 0);

    server
        .says("2", "t.nothing", "ann", "new@example.com")
        .await;
    let list = server.admin(Method::GET, "pending", 200).await;
    let id = list["pending"][0]["id"].as_str().unwrap().to_owned();
    let now = server
        .admin(Method::POST, &format!("pending/{id}/apply"), 200)
        .await;
    assert_eq!(now["contact"]["email"], "new@example.com");
    assert_eq!(server.waiting().await, 0);
    let audited = "SELECT string_agg(action, ',' ORDER BY id) FROM audit_logs WHERE action LIKE 'contact.pending%'";
    assert_eq!(
        server.text(audited).await,
        "contact.pending_dismiss,contact.pending_apply"
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM audit_logs WHERE audit_logs::text LIKE '%evil%'")
            .await,
        0
    );

    // A trusted event with the same address also decides the pending change.
    server
        .says("3", "t.nothing", "ann", "third@example.com")
        .await;
    assert_eq!(server.waiting().await, 1);
    server
        .put(
            "/v1/events",
            json!({ "name": "t.nothing", "userId": "ann", "email": "third@example.com" }),
        )
        .await;
    assert_eq!(server.waiting().await, 0);
    assert_eq!(
        server.admin(Method::GET, "ann", 200).await["contact"]["email"],
        "third@example.com"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_are_united_when_an_administrator_says_so() {
    let server = with_key().await;
    let ids = async |user: &str| {
        let names = json!({ "userId": user, "email": format!("{user}@example.com") });
        let put = server.put("/v1/contacts", names).await;
        put["id"].as_str().unwrap().parse::<ContactId>().unwrap()
    };
    let (ann, bob) = (ids("ann").await, ids("bob").await);
    let change = [pending(&server, ann, PendingChange::Unite(bob))];
    let mut conn = server.app.db.conn().await.unwrap();
    db::pending_put(&mut conn, &change, server.now())
        .await
        .unwrap();
    drop(conn);
    let list = server.admin(Method::GET, "pending", 200).await;
    let one = &list["pending"][0];
    assert_eq!(
        (&one["kind"], &one["other"]["externalId"]),
        (&json!("unite"), &json!("bob"))
    );
    let id = one["id"].as_str().unwrap();
    let left = server
        .admin(Method::POST, &format!("pending/{id}/apply"), 200)
        .await;
    assert_eq!(left["contact"]["externalId"], "ann");
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
    assert_eq!(
        server.admin(Method::GET, "bob", 200).await["contact"]["externalId"],
        "ann"
    );
    assert_eq!(server.waiting().await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactional_mail_by_user_id_waits_until_the_address_is_confirmed() {
    let server = with_key().await;
    let reset = |user: &str| json!({ "userId": user, "template": "password-reset", "props": { "url": "https://acme.test/reset" } });
    // Any trusted call that names the address confirms it.
    for (user, call, body) in [
        (
            "a",
            "/v1/contacts",
            json!({ "userId": "a", "email": "A@Example.com" }),
        ),
        (
            "b",
            "/v1/events",
            json!({ "name": "t.nothing", "userId": "b", "email": "b@example.com" }),
        ),
        (
            "c",
            "/v1/ingest",
            json!({ "event": "t.nothing", "userId": "c", "userEmail": "c@example.com" }),
        ),
        (
            "d",
            "/v1/emails",
            json!({ "userId": "d", "to": "d@example.com", "template": "password-reset", "props": { "url": "https://acme.test/reset" } }),
        ),
    ] {
        server
            .says(user, "t.nothing", user, &format!("{user}@example.com"))
            .await;
        assert_eq!(
            server.admin(Method::GET, user, 200).await["emailUnconfirmed"],
            true
        );
        let told = server.put("/v1/emails", reset(user)).await;
        assert_eq!(
            (&told["status"], &told["reason"]),
            (&json!("skipped"), &json!("unconfirmed_address"))
        );
        assert!(told["help"].as_str().unwrap().contains("PUT /v1/contacts"));
        // Another untrusted event, or a trusted one without the address, does not confirm it.
        server
            .says(
                &format!("{user}2"),
                "t.nothing",
                user,
                &format!("{user}@example.com"),
            )
            .await;
        server
            .put("/v1/events", json!({ "name": "t.nothing", "userId": user }))
            .await;
        assert_eq!(
            server.put("/v1/emails", reset(user)).await["status"],
            "skipped"
        );
        server.put(call, body).await;
        assert_eq!(
            server.put("/v1/emails", reset(user)).await["status"],
            "queued",
            "{call}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_in_a_mail_to_the_address_confirms_it() {
    let server = with_key().await;
    // Lifecycle mail goes to the unconfirmed address.
    server
        .says("1", "t.await-click", "ann", "ann@example.com")
        .await;
    server.drain().await;
    assert_eq!(server.text("SELECT status FROM email_sends").await, "sent");
    server.clock.advance(std::time::Duration::from_secs(3_600));
    let link = server
        .text("SELECT id::text FROM tracked_links LIMIT 1")
        .await;
    let click = |agent: &str| {
        let request = Request::get(format!("/v1/t/c/{link}")).header("user-agent", agent);
        request.body(Body::empty()).unwrap()
    };
    server.request(click("Mimecast Scanner")).await;
    server.clock.advance(std::time::Duration::from_secs(3_600));
    server.drain().await;
    assert_eq!(
        server.admin(Method::GET, "ann", 200).await["emailUnconfirmed"],
        true,
        "a machine clicked"
    );
    server
        .request(click("Mozilla/5.0 (Macintosh) Firefox/140.0"))
        .await;
    server.clock.advance(std::time::Duration::from_secs(3_600));
    server.drain().await;
    assert_eq!(
        server.admin(Method::GET, "ann", 200).await["emailUnconfirmed"],
        false
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_id_of_the_product_reaches_its_person() {
    let server = with_key().await;
    let first = server
        .put("/v1/contacts", json!({ "userId": "first" }))
        .await;
    let uuid = first["id"].as_str().unwrap().to_owned();
    let ids = [
        "export", "import", "pending", "ext:x", "ext:", "a/b", "a b", "é%2F?", "..", &uuid,
    ];
    for id in ids {
        server
            .put(
                "/v1/contacts",
                json!({ "userId": id, "properties": { "own": id } }),
            )
            .await;
    }
    for id in ids {
        let path: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let path = format!("ext:{}", path.replace('+', "%20"));
        let one = server.admin(Method::GET, &path, 200).await;
        assert_eq!(one["contact"]["externalId"], id);
        for more in ["timeline", "preferences"] {
            server
                .admin(Method::GET, &format!("{path}/{more}"), 200)
                .await;
        }
        let body = json!({ "properties": { "seen": true } });
        let full = format!("/v1/admin/contacts/{path}");
        let changed = server.call(Method::PATCH, &full, KEY, Some(&body)).await;
        assert_eq!(
            changed.json()["contact"]["externalId"],
            id,
            "{}",
            changed.text()
        );
    }
    // A bare UUID is Hogsend's id of a contact.
    assert_eq!(
        server.admin(Method::GET, &uuid, 200).await["contact"]["externalId"],
        "first"
    );
    assert_eq!(
        server.admin(Method::GET, "ext:nobody", 404).await["error"],
        "Contact not found"
    );
    for id in ids {
        let path: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        server
            .admin(
                Method::DELETE,
                &format!("ext:{}", path.replace('+', "%20")),
                200,
            )
            .await;
    }
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
    server.stop().await;
}

impl Server {
    /// An event of PostHog about a person whose address is known, with these properties.
    async fn tells(&self, event: &str, user: &str, properties: Value) {
        let uuid = uuid::Uuid::new_v4().to_string();
        let address = format!("{user}@example.com");
        let mut body = posthog(&uuid, event, user, &address, "Free gift bit.ly/3xFree");
        body["event"]["properties"] = properties;
        let answer = self.post("/v1/webhooks/posthog", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_puts_no_other_address_among_a_persons_properties() {
    let server = with_key().await;
    let person =
        json!({ "userId": "ann", "email": "ann@example.com", "properties": { "plan": "pro" } });
    server.put("/v1/contacts", person).await;
    let known =
        async || server.admin(Method::GET, "ann", 200).await["contact"]["properties"].clone();
    server.says("1", "t.nothing", "ann", "eve@evil.test").await;
    let set = json!({ "$set": {
        "email": "eve@evil.test", "user_email": "eve@evil.test", "E-Mail Address": ["eve@evil.test"], "city": "Rome",
    } });
    let mut body = posthog("2", "t.nothing", "ann", "", "A");
    body["event"]["properties"] = set;
    let answer = server.post("/v1/webhooks/posthog", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = json!({ "plan": "pro", "name": "A", "first_name": "A", "city": "Rome" });
    assert_eq!(known().await, expected);

    // Another spelling of the contact's own address is accepted, another address is not.
    server
        .says("3", "t.nothing", "ann", "Ann@EXAMPLE.com")
        .await;
    assert_eq!(known().await["email"], "Ann@EXAMPLE.com");
    server.says("4", "t.nothing", "ann", "eve@evil.test").await;
    assert_eq!(known().await["email"], "Ann@EXAMPLE.com");
    // A trusted call may set any value.
    let own = json!({ "userId": "ann", "properties": { "email": "billing@example.com" } });
    server.put("/v1/contacts", own).await;
    assert_eq!(known().await["email"], "billing@example.com");

    // An identified visitor's earlier events do not set an address either.
    let mut visit = posthog("5", "t.nothing", "device", "", "A");
    visit["person"] = json!({});
    visit["event"]["properties"] = json!({ "$process_person_profile": false, "$set": { "user_email": "eve@evil.test", "shoe": 7 } });
    server.post("/v1/webhooks/posthog", &visit).await;
    let bob = json!({ "userId": "bob", "email": "bob@example.com", "anonymousId": "device" });
    server.put("/v1/contacts", bob).await;
    let bob = server.admin(Method::GET, "bob", 200).await;
    assert_eq!(bob["contact"]["properties"], json!({ "shoe": 7 }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_calls_a_person_and_links_to_stands_in_no_mail() {
    let server = with_key().await;
    let won = json!({ "milestone": "Free gift bit.ly/3xFree", "detail": "Call +1 900 555 0199", "url": "https://evil.test/win" });
    server.tells("user.created", "ann", won.clone()).await;
    server.tells("milestone.reached", "ann", won).await;
    server.drain().await;
    for _ in 0..3 {
        server.advance(std::time::Duration::from_secs(3_600)).await;
    }
    let sent = "SELECT string_agg(template_key, ',' ORDER BY template_key) FROM email_sends WHERE status = 'sent'";
    assert_eq!(server.text(sent).await, "retention-achievement,welcome");
    let strange =
        "SELECT count(*) FROM email_sends WHERE mail::text ~ '3xFree|evil[.]test|900 555'";
    assert_eq!(server.count(strange).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trusted_run_reads_of_strangers_stays_a_strangers_word() {
    const SUBJECTS: &str = "SELECT string_agg(subject, ',' ORDER BY subject) FROM email_sends";
    let ours = json!({ "word": "see docs.vendor.test" });
    let theirs = json!({ "word": "see evil.test" });
    for by in ["wait", "history", "digest"] {
        for (stranger, subjects, relayed) in [
            (false, "Plain see docs.vendor.test", "t-trusted entered"),
            (true, "Plain", "t-trusted untrusted_event"),
        ] {
            let server = with_key().await;
            // A digest includes its own trigger, so here the trusted trigger carries the text.
            let told = if by == "digest" { "t.gather" } else { "t.told" };
            let mut begins = json!({ "by": by });
            if by == "digest" && !stranger {
                begins["word"] = ours["word"].clone();
            }
            let begins = json!({ "name": "t.gather", "userId": "ann", "email": "ann@example.com", "eventProperties": begins });
            server.put("/v1/events", begins).await;
            server.drain().await;
            if stranger {
                server.tells(told, "ann", theirs.clone()).await;
            } else if by != "digest" {
                let event = json!({ "name": told, "userId": "ann", "eventProperties": ours });
                server.put("/v1/events", event).await;
            }
            server.drain().await;
            server.advance(std::time::Duration::from_secs(3_600)).await;
            server.drain().await;
            let all = server.text(SUBJECTS).await;
            let mails: Vec<&str> = all.split(',').map(str::trim).collect();
            assert!(mails.contains(&subjects), "{by} {stranger}: {all}");
            let strange = "SELECT count(*) FROM email_sends WHERE mail::text LIKE '%evil%' OR subject LIKE '%evil%'";
            assert_eq!(server.count(strange).await, 0, "{by}");
            let entries = server.entries().await;
            assert!(entries.contains(relayed), "{by} {stranger}: {entries}");
            // A journey's property for the contact cannot carry a forged address either: only the
            // contact's own is kept.
            let noted =
                server.admin(Method::GET, "ann", 200).await["contact"]["properties"]["email"]
                    .clone();
            assert_eq!(noted == ours["word"], !stranger, "{by} {stranger}: {noted}");
            assert_ne!(noted, theirs["word"], "{by} {stranger}");
            server.stop().await;
        }
    }
}
