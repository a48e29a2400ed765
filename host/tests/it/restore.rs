//! A database that was restored, copied or moved sends nothing until an operator accepts it.

use std::time::Duration;

use axum::http::Method;
use hogsend::db;
use hogsend::ids::{SendId, floor};
use hogsend::restore::{Memory, Standing, beat, examine, learn};
use hogsend_plugin_api::{DeliveryEvent, DeliveryEventKind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::resend::Resend;
use crate::support::{Answer, Server, Store};

/// Long enough for production.
const KEY: &str = "an-admin-key-of-tests-in-production";
const HOUR: Duration = Duration::from_secs(3_600);
const HOME: &str = "https://mail.acme.test";
const AWAY: &str = "https://staging.acme.test";

async fn call(server: &Server, method: Method, path: &str, body: Value) -> Answer {
    let path = format!("/v1/admin{path}");
    server.call(method, &path, KEY, Some(&body)).await
}

/// A server in production at this address.
async fn at(store: Store, resend: &Resend, url: &str) -> Server {
    let base = resend.url();
    let variables = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://elsewhere/x"),
        ("ADMIN_API_KEY", KEY),
        ("API_PUBLIC_URL", url),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", base.as_str()),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
    ];
    Server::with(store, &variables).await
}

async fn home(resend: &Resend) -> Server {
    let server = at(Store::native().await, resend, HOME).await;
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    server
}

/// One of another address on the same database.
async fn away(server: &Server, resend: &Resend) -> Server {
    let away = at(server.share(), resend, AWAY).await;
    let ahead = server.now() - away.now();
    away.clock.advance(ahead.to_std().unwrap_or_default());
    away
}

async fn queue(server: &Server, user: &str, more: Value) -> SendId {
    let mut body = json!({ "to": format!("{user}@example.com"), "template": "t-plain", "category": "journey" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let answer = server
        .call(Method::POST, "/v1/emails", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["emailSendId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn mails(server: &Server) -> String {
    server
        .text(
            "SELECT coalesce(string_agg(split_part(to_email, '@', 1) || ' ' || status || coalesce(' ' || reason, ''),
                                        ', ' ORDER BY id), '') FROM email_sends",
        )
        .await
}

async fn reason(server: &Server) -> String {
    server
        .text("SELECT reason FROM pauses WHERE cause = 'restore' AND until IS NULL")
        .await
}

async fn accept(server: &Server, body: Value) -> Value {
    let answer = call(server, Method::POST, "/resume", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_with_another_address_mails_nobody_until_it_is_accepted() {
    let resend = Resend::start().await;
    let server = home(&resend).await;
    let id = "SELECT id::text FROM installation";
    let original = server.text(id).await;
    queue(&server, "late", json!({})).await;
    server.clock.advance(47 * HOUR);
    queue(&server, "fresh", json!({})).await;
    server.clock.advance(2 * HOUR);

    let copy = away(&server, &resend).await;
    assert_eq!(examine(&copy.app).await.unwrap(), Standing::Halted);
    assert_eq!(
        reason(&copy).await,
        format!(
            "the database was used with API_PUBLIC_URL={HOME} and a worker started with {AWAY}: it is a copy, or the address has changed"
        )
    );
    let body = json!({ "event": "t.mail", "userId": "new", "userEmail": "new@example.com" });
    assert_eq!(
        copy.call(Method::POST, "/v1/ingest", KEY, Some(&body))
            .await
            .status,
        202
    );
    copy.drain().await;
    assert_eq!(resend.accepted().len(), 0);
    assert_eq!(mails(&copy).await, "late queued, fresh queued");
    let health = copy.call(Method::GET, "/v1/health", KEY, None).await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(
        (&health["status"], &health["paused"]),
        (&json!("degraded"), &json!(["everything"]))
    );
    assert!(
        health["findings"]
            .to_string()
            .contains("hogsend resume --after-restore"),
        "{health}"
    );

    // Nobody lifts it by the way.
    let plain = call(&copy, Method::POST, "/resume", json!({})).await;
    assert_eq!(plain.status, 409, "{}", plain.text());
    let refused = call(&copy, Method::POST, "/resume", json!({ "dryRun": true })).await;
    assert_eq!(refused.status, 400);
    let plan = json!({
        "mails": [{ "template": "t-plain", "send": 1, "skip": 1, "inDoubt": 0 }], "openRuns": 1, "dueRuns": 1,
    });
    let dry = accept(&copy, json!({ "afterRestore": true, "dryRun": true })).await;
    assert_eq!((&dry["resumed"], &dry["plan"]), (&json!(false), &plan));
    copy.drain().await;
    assert_eq!(resend.accepted().len(), 0);

    let done = accept(&copy, json!({ "afterRestore": true })).await;
    assert_eq!(
        (&done["resumed"], &done["plan"], &done["pauses"]),
        (&json!(true), &plan, &json!([]))
    );
    copy.drain().await;
    assert_eq!(
        mails(&copy).await,
        "late skipped expired, fresh sent, new sent"
    );
    let audited = copy
        .text("SELECT string_agg(actor_type || ' ' || action, ', ' ORDER BY created_at, id) FROM audit_logs")
        .await;
    assert_eq!(
        audited,
        "system pause.begin, environment installation.accept"
    );
    // The copy is an installation of its own now.
    assert_ne!(copy.text(id).await, original);
    // Both addresses are valid for a day: workers are replaced one by one.
    assert_eq!(examine(&copy.app).await.unwrap(), Standing::Clear);
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    server.clock.advance(25 * HOUR);
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Halted);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_another_address_waits_while_the_others_work() {
    let resend = Resend::start().await;
    let server = home(&resend).await;
    let mut conn = server.app.db.conn().await.unwrap();
    let beat = db::Beat {
        public_url: HOME,
        ..db::Beat::default()
    };
    db::worker_beat(&mut conn, Uuid::now_v7(), &beat, server.now())
        .await
        .unwrap();
    drop(conn);
    let other = away(&server, &resend).await;
    let waits = Standing::Waits {
        used: HOME.to_owned(),
    };
    assert_eq!(examine(&other.app).await.unwrap(), waits);
    queue(&server, "ann", json!({})).await;
    server.drain().await;
    assert_eq!(mails(&server).await, "ann sent");
    // The address changes on purpose, announced before the new workers start.
    accept(
        &server,
        json!({ "afterRestore": true, "publicUrl": format!("{AWAY}/") }),
    )
    .await;
    assert_eq!(examine(&other.app).await.unwrap(), Standing::Clear);
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    assert_eq!(reason(&server).await, "");
    let wrong = json!({ "afterRestore": true, "publicUrl": "staging" });
    let wrong = call(&server, Method::POST, "/resume", wrong).await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text().contains("https://api.example.com"),
        "{}",
        wrong.text()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_is_never_in_doubt_but_a_copy_of_production_is() {
    let server = Server::start(Store::native().await).await;
    for url in [
        "http://localhost:3002",
        "http://localhost:4000",
        "https://tunnel.test",
    ] {
        let dev = server.replica(&[("API_PUBLIC_URL", url)]).await;
        assert_eq!(examine(&dev.app).await.unwrap(), Standing::Clear, "{url}");
        assert_eq!(beat(&dev.app, None).await.unwrap(), None);
    }
    // The first worker in production takes the database as it is.
    let resend = Resend::start().await;
    let production = at(server.share(), &resend, HOME).await;
    assert_eq!(examine(&production.app).await.unwrap(), Standing::Clear);
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Halted);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_behind_what_a_worker_remembers_was_restored() {
    let resend = Resend::start().await;
    let server = home(&resend).await;
    let folder = &server.app.config.data_dir;
    let mut memory = beat(&server.app, None).await.unwrap();
    for _ in 0..80 {
        memory = beat(&server.app, memory).await.unwrap();
    }
    memory.unwrap().write(folder);
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    // A failover may lose the last moments.
    server
        .run_sql("UPDATE installation SET beats = beats - 20")
        .await;
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    memory = beat(&server.app, memory).await.unwrap();
    assert_eq!(reason(&server).await, "");
    memory.unwrap().write(folder);

    // The backup is put back while no worker runs: the data folder remembers.
    server.run_sql("UPDATE installation SET beats = 1").await;
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Halted);
    assert!(reason(&server).await.contains("restored from a backup"));
    accept(&server, json!({ "afterRestore": true })).await;
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);

    // Where the folder is gone as well, the cache remembers.
    memory = beat(&server.app, None).await.unwrap();
    for _ in 0..40 {
        memory = beat(&server.app, memory).await.unwrap();
    }
    memory.unwrap().keep(&server.app).await;
    std::fs::remove_file(folder.join("installation.json")).unwrap();
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    server.run_sql("UPDATE installation SET beats = 1").await;
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Halted);
    accept(&server, json!({ "afterRestore": true })).await;

    // And while one runs: it remembers itself.
    let mut memory = beat(&server.app, None).await.unwrap();
    for _ in 0..40 {
        memory = beat(&server.app, memory).await.unwrap();
    }
    server.run_sql("UPDATE installation SET beats = 1").await;
    let after = beat(&server.app, memory).await.unwrap();
    assert!(reason(&server).await.contains("restored from a backup"));
    assert_eq!(after.map(|memory: Memory| memory.beats), Some(2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_restored_into_another_database_is_noticed_at_the_start() {
    let resend = Resend::start().await;
    let server = home(&resend).await;
    server.app.db.close().await;
    // Postgres copies a database as a dump and a restore do.
    let copy = Store::copy_of(&server).await;
    let restored = at(copy, &resend, HOME).await;
    assert_eq!(examine(&restored.app).await.unwrap(), Standing::Halted);
    assert!(
        reason(&restored)
            .await
            .starts_with("the database is not where it was")
    );
    accept(&restored, json!({ "afterRestore": true })).await;
    assert_eq!(examine(&restored.app).await.unwrap(), Standing::Clear);
    assert_eq!(examine(&restored.app).await.unwrap(), Standing::Clear);
    restored.stop().await;
    server.stop().await;
}

fn report(send: SendId, key: &str, server: &Server) -> DeliveryEvent {
    let mut event = DeliveryEvent::new(DeliveryEventKind::Delivered, server.now());
    event.send_id = Some(send.into());
    event.dedupe_key = Some(key.to_owned());
    event
}

async fn told(server: &Server, send: SendId, key: &str) {
    let event = report(send, key, server);
    hogsend::mail::take_feedback(&server.app, "resend", &event)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_about_a_mail_that_was_never_tried_stops_everything() {
    let resend = Resend::start().await;
    let server = home(&resend).await;
    let sent = queue(&server, "sent", json!({})).await;
    server.drain().await;
    told(&server, sent, "1").await;
    assert_eq!(reason(&server).await, "");
    let waiting = queue(&server, "waiting", json!({})).await;
    queue(&server, "next", json!({})).await;
    told(&server, waiting, "2").await;
    assert!(
        reason(&server).await.contains("has not sent yet"),
        "{}",
        reason(&server).await
    );
    server.drain().await;
    // The provider has it, so it does not go out again.
    assert_eq!(
        mails(&server).await,
        "sent delivered, waiting delivered, next queued"
    );
    accept(&server, json!({ "afterRestore": true })).await;
    server.drain().await;
    assert_eq!(
        mails(&server).await,
        "sent delivered, waiting delivered, next sent"
    );
    assert_eq!(resend.accepted().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_mails_count_where_they_are_ours_and_from_a_time_without_a_worker() {
    let resend = Resend::start().await;
    let server = home(&resend).await;
    beat(&server.app, None).await.unwrap();
    // Of this moment, whatever the clocks of other tests: ids never go back within a process.
    let mark = SendId::marked(server.now(), &server.app.mark).0.as_u128() & u128::from(u32::MAX);
    let ours = |server: &Server, count: u128| {
        let made = |at| floor(server.now()).as_u128() | 7 << 76 | 2 << 62 | (at << 40) | mark;
        let ids = (1..=count).map(|at| SendId(Uuid::from_u128(made(at))));
        ids.collect::<Vec<SendId>>()
    };
    // Made while a worker ran: of an erased contact.
    let erased = ours(&server, 5);
    server.clock.advance(HOUR);
    // Lost with everything since the backup. And those of another installation with the same account.
    let lost = ours(&server, 3);
    let foreign: Vec<SendId> = (0..5).map(|_| SendId::new(server.now())).collect();
    server.clock.advance(HOUR);
    assert_eq!(examine(&server.app).await.unwrap(), Standing::Clear);
    beat(&server.app, None).await.unwrap();
    for (at, send) in erased.iter().chain(&foreign).chain(&lost[..2]).enumerate() {
        told(&server, *send, &format!("a{at}")).await;
    }
    // The same mail twice is one mail.
    told(&server, lost[1], "again").await;
    assert_eq!(reason(&server).await, "");
    told(&server, lost[2], "last").await;
    let why = reason(&server).await;
    let kept = server
        .text("SELECT row_to_json(i)::text FROM installation i")
        .await;
    assert!(why.contains("the ledger does not know"), "{why}: {kept}");

    // Accepted once, the same loss is no news.
    accept(&server, json!({ "afterRestore": true })).await;
    learn(&server.app).await.unwrap();
    for (at, send) in lost.iter().enumerate() {
        told(&server, *send, &format!("b{at}")).await;
    }
    assert_eq!(reason(&server).await, "");
    let pauses = server
        .call(Method::GET, "/v1/admin/pauses", KEY, None)
        .await
        .json();
    assert_eq!(pauses["pauses"], json!([]));
    server.stop().await;
}
