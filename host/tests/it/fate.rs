//! No fault of somebody else burns a mail, and none goes out twice or too late.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use hogsend::{db, worker};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::delivery::server;
use crate::support::admin::KEY;
use crate::support::process::until;
use crate::support::resend::{Hold, Mood, Refusal, Resend, Weather};
use crate::support::smtp::Smtp;
use crate::support::{Server, Store};

const HOUR: Duration = Duration::from_secs(3_600);

const CLOSED: Weather = Weather {
    fault: 0,
    late_fault: 0,
    closed: 100,
    silence: 0,
    limit: 0,
};

/// Quick enough for many single mails at one moment of a clock that stands still.
const QUICK: Weather = Weather {
    fault: 0,
    late_fault: 0,
    closed: 0,
    silence: 0,
    limit: 100_000,
};

/// As Resend answers a key that was revoked.
const REVOKED: Refusal = Refusal {
    status: 400,
    name: "validation_error",
    message: "API key is invalid",
    from: "",
};

/// Lets something happen to a person; the worker does nothing yet.
async fn decide(server: &Server, user: &str, category: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "category": category } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
}

async fn mail(server: &Server, user: &str, category: &str) {
    decide(server, user, category).await;
    server.drain().await;
}

async fn ledger(server: &Server) -> String {
    server
        .text("SELECT string_agg(split_part(to_email, '@', 1) || ' ' || status || coalesce(' ' || CASE WHEN status = 'skipped' THEN reason ELSE provider END, ''), ', ' ORDER BY to_email) FROM email_sends")
        .await
}

/// The cure is noticed within 35 seconds, at the provider's rate.
async fn after_the_cure(server: &Server) {
    for _ in 0..35 {
        server.advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_burns_no_mail_and_is_tried_with_one_each_half_minute() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    resend.refuse(Some(REVOKED));
    for user in ["a", "b", "c", "d", "e", "f", "g"] {
        decide(&server, user, "journey").await;
    }
    server.drain().await;
    let first = resend.seen().len();
    for _ in 0..10 {
        server.advance(Duration::from_secs(30)).await;
    }
    let tries = resend.seen().len() - first;
    assert!((9..=11).contains(&tries), "{tries}");
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE status = 'queued' AND attempts = 0 AND reason LIKE '%RESEND_API_KEY%'")
            .await,
        7
    );
    resend.refuse(None);
    after_the_cure(&server).await;
    assert_eq!(resend.accepted().len(), 7);
    assert_eq!(server.count("SELECT count(*) FROM provider_holds").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_second_provider_the_mail_that_met_the_refusal_moves_on_with_the_others() {
    let resend = Resend::start().await;
    let server = server(&resend, &[("EMAIL_PROVIDER", "resend,outbox")]).await;
    resend.refuse(Some(REVOKED));
    decide(&server, "ann", "journey").await;
    decide(&server, "bob", "journey").await;
    server.drain().await;
    assert_eq!(ledger(&server).await, "ann sent outbox, bob sent outbox");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_sender_keeps_its_own_mail_and_a_changed_setting_sends_it() {
    const FROM: [(&str, &str); 2] = [
        ("RESEND_FROM_EMAIL", "Acme <news@acme.test>"),
        ("EMAIL_FROM_TRANSACTIONAL", "Acme <billing@acme.test>"),
    ];
    let resend = Resend::start().await;
    let server = server(&resend, &FROM).await;
    resend.refuse(Some(Refusal {
        status: 403,
        name: "validation_error",
        message: "The acme.test domain is not verified",
        from: "news@acme.test",
    }));
    mail(&server, "ann", "journey").await;
    mail(&server, "tia", "transactional").await;
    server.advance(Duration::from_secs(2)).await;
    assert_eq!(
        ledger(&server).await,
        "ann queued resend, tia sent resend",
        "the other sender goes on"
    );
    assert_eq!(
        server
            .text("SELECT provider || ' ' || sender || ' ' || kind FROM provider_holds")
            .await,
        "resend news@acme.test block"
    );
    let url = resend.url();
    let cured = server
        .replica(&[
            ("EMAIL_PROVIDER", "resend"),
            ("RESEND_API_KEY", Resend::KEY),
            ("RESEND_BASE_URL", url.as_str()),
            ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
        ])
        .await;
    cured.clock.advance(Duration::from_secs(2));
    cured.drain().await;
    assert_eq!(ledger(&cured).await, "ann sent resend, tia sent resend");
    assert_eq!(resend.accepted()[1].1["from"], "Acme <hello@acme.test>");
    assert_eq!(
        cured
            .text("SELECT from_email FROM email_sends WHERE to_email LIKE 'ann%'")
            .await,
        "Acme <hello@acme.test>"
    );
    cured.app.db.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_given_with_one_mail_fails_that_mail_alone() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    resend.refuse(Some(Refusal {
        status: 422,
        name: "invalid_from_address",
        message: "Invalid `from` field",
        from: "elsewhere@other.test",
    }));
    decide(&server, "ann", "journey").await;
    decide(&server, "bob", "journey").await;
    hogsend::runs::advance_due(&server.app).await.unwrap();
    server.run_sql("UPDATE email_sends SET sender_given = true, from_email = 'elsewhere@other.test', mail = jsonb_set(mail, '{from}', '\"elsewhere@other.test\"') WHERE to_email LIKE 'ann%'").await;
    server.drain().await;
    assert_eq!(ledger(&server).await, "ann failed resend, bob sent resend");
    assert_eq!(server.count("SELECT count(*) FROM provider_holds").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_failures_at_once_open_the_breaker_once_and_mail_flows_soon_after() {
    let resend = Resend::start().await;
    resend.weather(QUICK);
    let server = server(&resend, &[]).await;
    mail(&server, "warm", "journey").await;
    for user in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        decide(&server, user, "journey").await;
    }
    hogsend::runs::advance_due(&server.app).await.unwrap();
    server
        .run_sql("UPDATE email_sends SET alone = true WHERE status = 'queued'")
        .await;
    resend.weather(Weather {
        limit: 100_000,
        ..CLOSED
    });
    server.drain().await;
    assert_eq!(resend.seen().len(), 9, "eight attempts were under way");
    assert_eq!(
        server
            .count("SELECT extract(epoch FROM until - since)::bigint FROM provider_holds")
            .await,
        30,
        "however many failed, it is one opening"
    );
    server.advance(Duration::from_secs(20)).await;
    resend.weather(QUICK);
    after_the_cure(&server).await;
    assert_eq!(resend.accepted().len(), 9);
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
            .await,
        9
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_away_for_a_day_burns_no_mail_and_sends_none_too_late() {
    let resend = Resend::start().await;
    resend.weather(CLOSED);
    let server = server(&resend, &[]).await;
    mail(&server, "old", "journey").await;
    for _ in 0..30 {
        server.advance(HOUR).await;
    }
    mail(&server, "ann", "journey").await;
    mail(&server, "tia", "transactional").await;
    for _ in 0..24 {
        server.advance(HOUR).await;
    }
    assert_eq!(
        ledger(&server).await,
        "ann queued resend, old skipped expired, tia skipped expired"
    );
    resend.weather(Weather::default());
    after_the_cure(&server).await;
    assert_eq!(
        ledger(&server).await,
        "ann sent resend, old skipped expired, tia skipped expired"
    );
    assert_eq!(resend.accepted().len(), 1);
    // Journeys see it as they see any other reason.
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_steps WHERE result -> 'Ok' -> 'skipped' ->> 'reason' = 'expired'")
            .await,
        2
    );
    server.stop().await;
}

/// Who sends a mail says how long it is useful: by the API at what moment, in a journey how long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_sent_until_its_own_last_moment_and_never_after() {
    for (minutes, expected) in [
        (9, "api sent resend, run sent resend"),
        (11, "api skipped expired, run skipped expired"),
    ] {
        let resend = Resend::start().await;
        resend.weather(CLOSED);
        let server = server(&resend, &[("ADMIN_API_KEY", KEY)]).await;
        let body = json!({
            "event": "t.mail", "userId": "run", "userEmail": "run@example.com",
            "properties": { "category": "journey", "usefulMinutes": "10" },
        });
        let post =
            async |path: &str, body: &Value| server.call(Method::POST, path, KEY, Some(body)).await;
        assert_eq!(post("/v1/ingest", &body).await.status, 202);
        let last = server.now() + chrono::TimeDelta::minutes(10);
        let mail = json!({
            "to": "api@example.com", "template": "t-plain", "category": "journey",
            "props": { "word": "w" }, "notAfter": last,
        });
        let answer = post("/v1/emails", &mail).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        server.drain().await;
        server.advance(Duration::from_secs(minutes * 60)).await;
        resend.weather(Weather::default());
        after_the_cure(&server).await;
        assert_eq!(ledger(&server).await, expected, "after {minutes} minutes");

        let mut past = mail.clone();
        past["notAfter"] = json!(server.now());
        assert_eq!(post("/v1/emails", &past).await.status, 400);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_doubt_is_not_repeated_past_a_members_last_useful_moment() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    resend.next(Mood::AcceptAndGarble);
    decide(&server, "ann", "transactional").await;
    decide(&server, "bob", "transactional").await;
    server.drain().await;
    server.advance(HOUR + Duration::from_secs(60)).await;
    assert_eq!(resend.seen().len(), 1);
    assert_eq!(
        ledger(&server).await,
        "ann ambiguous resend, bob ambiguous resend"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_merged_while_its_mail_is_in_flight_loses_no_answer() {
    for people in [vec!["ann"], vec!["ann", "bob", "cy"]] {
        let resend = Resend::start().await;
        let server = server(&resend, &[]).await;
        let hold = Arc::new(Hold::default());
        resend.next(Mood::AcceptAndHold(hold.clone()));
        for user in &people {
            decide(&server, user, "journey").await;
        }
        let body = json!({ "event": "seen", "userId": "ann-2" });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
        let merging = async {
            hold.taken().await;
            let merging = async |mut tx: db::Tx| {
                let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
                    "SELECT id FROM contacts WHERE external_id IN ('ann', 'ann-2') ORDER BY external_id DESC",
                )
                .fetch_all(&mut *tx)
                .await?;
                let merge = db::Merge {
                    keep: ids[0].into(),
                    gone: ids[1].into(),
                    reason: "alias",
                    source: "test",
                };
                db::contact_merge(&mut tx, merge, server.now()).await?;
                db::Result::Ok((tx, ()))
            };
            server.app.db.transact(merging).await.unwrap();
            hold.go_on();
        };
        tokio::join!(server.drain(), merging);
        assert_eq!(
            server
                .count("SELECT count(*) FROM email_sends WHERE status = 'sent' AND attempts = 1 AND message_id IS NOT NULL")
                .await,
            people.len() as i64
        );
        // Told of the person it is now.
        assert_eq!(
            server
                .count("SELECT count(*) FROM user_events e JOIN contacts c ON c.id = e.contact_id WHERE e.name = 'email.sent' AND c.external_id = 'ann-2'")
                .await,
            1
        );
        server.advance(HOUR).await;
        assert_eq!(resend.seen().len(), 1);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_first_commit_fails_is_recorded_all_the_same() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    // Fails the first commit that records a mail as sent: a sequence is not rolled back.
    server.run_sql("CREATE SEQUENCE faults").await;
    server
        .run_sql(
            "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF new.status = 'sent' AND nextval('faults') = 1 THEN
                     RAISE EXCEPTION 'the disk said no' USING ERRCODE = '53100';
                 END IF;
                 RETURN new;
             END $$",
        )
        .await;
    server
        .run_sql("CREATE CONSTRAINT TRIGGER fail_once AFTER UPDATE ON email_sends DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_once()")
        .await;
    mail(&server, "ann", "journey").await;
    assert_eq!(ledger(&server).await, "ann sent resend");
    assert_eq!(server.count("SELECT last_value FROM faults").await, 2);
    assert_eq!(resend.seen().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lasts_as_long_as_the_provider_takes() {
    let resend = Resend::start().await;
    let short = [
        ("WORKER_LEASE_SECONDS", "1"),
        ("EMAIL_ATTEMPT_SECONDS", "30"),
    ];
    let url = resend.url();
    let own = [
        ("RESEND_BASE_URL", url.as_str()),
        ("RESEND_API_KEY", Resend::KEY),
    ];
    let server = Server::with(Store::native().await, &[&short[..], &own[..]].concat()).await;
    let other = server.replica(&[&short[..], &own[..]].concat()).await;
    let hold = Arc::new(Hold::default());
    resend.next(Mood::AcceptAndHold(hold.clone()));
    decide(&server, "ann", "journey").await;
    let meanwhile = async {
        hold.taken().await;
        // Far longer than the lease passes for everybody.
        server.clock.advance(Duration::from_secs(60));
        other.clock.advance(Duration::from_secs(60));
        let prolonged =
            "SELECT count(*) FROM email_sends WHERE next_attempt_at > '2026-03-02T09:01:00Z'";
        while server.count(prolonged).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.drain().await;
        assert_eq!(resend.accepted().len(), 1, "nobody else takes the mail");
        hold.go_on();
    };
    tokio::join!(server.drain(), meanwhile);
    assert_eq!(resend.seen().len(), 1);
    assert_eq!(ledger(&server).await, "ann sent resend");
    other.app.db.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_single_mails_at_a_slow_provider_go_out_once_each() {
    let resend = Resend::start().await;
    resend.weather(QUICK);
    // Two workers whose lease is shorter than the provider takes, and who look all the time.
    let short = [
        ("WORKER_LEASE_SECONDS", "3"),
        ("EMAIL_ATTEMPT_SECONDS", "30"),
    ];
    let server = server(&resend, &short).await;
    let url = resend.url();
    let own = [
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", url.as_str()),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
    ];
    let other = server.replica(&[&own[..], &short[..]].concat()).await;
    for n in 0..16 {
        decide(&server, &format!("p{n}"), "journey").await;
    }
    hogsend::runs::advance_due(&server.app).await.unwrap();
    server.run_sql("UPDATE email_sends SET alone = true").await;
    resend.answer_after(Duration::from_secs(5));
    let stop = CancellationToken::new();
    let workers =
        [&server, &other].map(|one| tokio::spawn(worker::run(one.app.clone(), stop.clone())));
    let sent = "SELECT count(*) FROM email_sends WHERE status = 'sent' AND attempts = 1";
    until("all are sent", || async {
        // No faster than time passes.
        for one in [&server, &other] {
            one.clock.advance(Duration::from_millis(25));
        }
        server.count(sent).await == 16
    })
    .await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    assert_eq!(resend.seen().len(), 16);
    other.app.db.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_put_back_keeps_no_mail_back() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    server.clock.advance(Duration::from_secs(120));
    mail(&server, "ann", "journey").await;
    // Decided and claimed by the clock that was ahead, then its worker died.
    decide(&server, "bob", "journey").await;
    decide(&server, "cy", "journey").await;
    hogsend::runs::advance_due(&server.app).await.unwrap();
    server.run_sql("UPDATE email_sends SET claim = gen_random_uuid(), next_attempt_at = next_attempt_at + interval '20 s' WHERE to_email LIKE 'bob%'").await;
    let url = resend.url();
    let back = server
        .replica(&[
            ("EMAIL_PROVIDER", "resend"),
            ("RESEND_API_KEY", Resend::KEY),
            ("RESEND_BASE_URL", url.as_str()),
            ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
            ("WORKER_LEASE_SECONDS", "20"),
        ])
        .await;
    mail(&back, "dan", "journey").await;
    for _ in 0..3 {
        back.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        ledger(&back).await,
        "ann sent resend, bob sent resend, cy sent resend, dan sent resend"
    );
    back.app.db.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactional_mail_passes_all_that_waits() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    for n in 0..101 {
        decide(&server, &format!("p{n}"), "journey").await;
    }
    decide(&server, "tia", "transactional").await;
    while hogsend::runs::advance_due(&server.app).await.unwrap() > 0 {}
    worker::deliver_due(&server.app).await.unwrap();
    let first = &resend.seen()[0].body;
    assert!(
        first.to_string().contains("tia@example.com"),
        "the newest mail is in the first request"
    );
    server.stop().await;
}

async fn with_smtp(smtp: &Smtp) -> Server {
    let port = smtp.port();
    let variables = [
        ("EMAIL_PROVIDER", "smtp"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", port.as_str()),
        ("SMTP_TLS", "none"),
    ];
    Server::with(Store::native().await, &variables).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_waits_by_itself_and_speaks_against_nobody() {
    let smtp = Smtp::start().await;
    smtp.answer("full", "452 4.2.2 Mailbox full");
    let server = with_smtp(&smtp).await;
    for n in 0..6 {
        mail(&server, &format!("full{n}"), "journey").await;
    }
    mail(&server, "ann", "journey").await;
    assert_eq!(smtp.taken(), ["ann@example.com"]);
    assert_eq!(server.count("SELECT count(*) FROM provider_holds").await, 0);
    // It is asked again some minutes later, on and on, until its last useful moment.
    smtp.answer("full0", "");
    for _ in 0..6 {
        server.advance(Duration::from_secs(60)).await;
    }
    assert!(smtp.taken().contains(&"full0@example.com".to_owned()));
    for _ in 0..49 {
        server.advance(HOUR).await;
    }
    assert_eq!(
        server
            .count(
                "SELECT count(*) FROM email_sends WHERE status = 'skipped' AND reason = 'expired'"
            )
            .await,
        5
    );
    let asked = smtp.asked();
    server.advance(HOUR * 24).await;
    assert_eq!(smtp.asked(), asked, "nothing is tried past its moment");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_does_not_exist_is_a_bounce_and_suppressed_at_once() {
    let smtp = Smtp::start().await;
    smtp.answer("gone", "550 5.1.1 No such user");
    let server = with_smtp(&smtp).await;
    mail(&server, "gone", "journey").await;
    assert_eq!(ledger(&server).await, "gone bounced smtp");
    assert_eq!(
        server
            .text("SELECT email || ' ' || reason || ' ' || provider FROM suppressions")
            .await,
        "gone@example.com bounced smtp"
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'email.bounced'")
            .await,
        1
    );
    let body = json!({ "event": "t.receipt", "userId": "gone" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
    assert_eq!(smtp.asked(), 1, "it is asked for no more");
    server.stop().await;
}
