//! Events, dead letters and reports as administrators see them.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use sqlx::Connection as _;

use crate::delivery;
use crate::support::admin::{KEY, call, get, server};
use crate::support::resend::{Mood, Resend};
use crate::support::{Server, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_and_replayed_for_the_one_journey_that_missed_them() {
    let server = server().await;
    let off = json!({ "enabled": false });
    call(&server, Method::PATCH, "/journeys/t-slow", off).await;
    for user in ["ann", "bob", "ann"] {
        let event = json!({ "name": "t.slow", "userId": user, "eventProperties": { "n": 1 } });
        server
            .call(Method::POST, "/v1/events", KEY, Some(&event))
            .await;
    }
    server
        .call(
            Method::POST,
            "/v1/events",
            KEY,
            Some(&json!({ "name": "other", "userId": "ann" })),
        )
        .await;
    let list = get(&server, "/events?name=t.slow&limit=2").await.json();
    assert_eq!(
        (&list["total"], list["events"].as_array().unwrap().len()),
        (&json!(3), 2)
    );
    let cursor = list["nextCursor"].as_str().unwrap();
    let rest = get(&server, &format!("/events?name=t.slow&cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        (
            rest["events"].as_array().unwrap().len(),
            &rest["events"][0]["userId"]
        ),
        (1, &json!("ann"))
    );
    let one = rest["events"][0]["id"].as_str().unwrap();
    let shown = get(&server, &format!("/events/{one}")).await.json();
    assert_eq!(shown["event"], rest["events"][0]);
    assert_eq!(
        get(&server, "/events/0190aaaa-0000-7000-8000-000000000000")
            .await
            .status,
        404
    );
    assert_eq!(get(&server, "/events?since=soon").await.status, 400);

    call(
        &server,
        Method::PATCH,
        "/journeys/t-slow",
        json!({ "enabled": true }),
    )
    .await;
    let wanted = json!({ "name": "t.slow", "journeyId": "t-slow", "dryRun": true });
    let dry = call(&server, Method::POST, "/events/replay", wanted).await;
    assert_eq!(
        dry.json(),
        json!({ "matched": 3, "replayed": 0, "enrolled": 0, "skipped": {}, "truncated": false })
    );
    assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 0);
    let wanted = json!({ "name": "t.slow", "journeyId": "t-slow" });
    let done = call(&server, Method::POST, "/events/replay", wanted).await;
    assert_eq!(
        done.json(),
        json!({ "matched": 3, "replayed": 3, "enrolled": 2, "skipped": { "already_active": 1 }, "truncated": false })
    );
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 4);
    let by_id = call(
        &server,
        Method::POST,
        "/events/replay",
        json!({ "eventIds": [one, one] }),
    )
    .await;
    assert_eq!(by_id.json()["matched"], 1);
    for (body, status) in [
        (json!({}), 400),
        (json!({ "eventIds": [] }), 400),
        (json!({ "eventIds": ["x"] }), 400),
        (json!({ "name": 5 }), 400),
        (json!({ "name": "t.slow", "journeyId": "nope" }), 404),
    ] {
        let answer = call(&server, Method::POST, "/events/replay", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let seen = get(&server, "/metrics/events").await.json();
    assert_eq!(
        seen["events"][0],
        json!({ "name": "t.slow", "count": 3, "people": 2 })
    );
    server.stop().await;
}

/// A lock on one contact outlasts the time in which the replay begins new transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_runs_out_of_time_says_where_to_continue() {
    let server = server().await;
    let off = json!({ "enabled": false });
    call(&server, Method::PATCH, "/journeys/t-slow", off).await;
    let event = |n: usize| json!({ "name": "t.slow", "userId": format!("u{n}") });
    let batch = json!({ "events": (0..150).map(event).collect::<Vec<_>>() });
    let stored = server.call(Method::POST, "/v1/events/batch", KEY, Some(&batch));
    assert_eq!(stored.await.status, 202);
    let on = json!({ "enabled": true });
    call(&server, Method::PATCH, "/journeys/t-slow", on).await;

    let mut conn = server.app.db.conn().await.unwrap();
    let mut held = conn.begin().await.unwrap();
    sqlx::query("SELECT id FROM contacts WHERE id = (SELECT contact_id FROM user_events ORDER BY id LIMIT 1) FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let wanted = json!({ "name": "t.slow", "journeyId": "t-slow" });
    let (part, ()) = tokio::join!(
        call(&server, Method::POST, "/events/replay", wanted.clone()),
        async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            held.rollback().await.unwrap();
        }
    );
    drop(conn);
    let hundredth = "SELECT id::text FROM user_events ORDER BY id LIMIT 1 OFFSET 99";
    let after = server.text(hundredth).await;
    assert_eq!(part.status, 202, "{}", part.text());
    assert_eq!(
        part.json(),
        json!({ "matched": 150, "replayed": 100, "enrolled": 100, "skipped": {}, "truncated": false,
                "continueAfter": after })
    );
    let mut rest = wanted;
    rest["after"] = json!(after);
    let rest = call(&server, Method::POST, "/events/replay", rest).await;
    assert_eq!(
        rest.json(),
        json!({ "matched": 50, "replayed": 50, "enrolled": 50, "skipped": {}, "truncated": false })
    );
    let transactions = "SELECT count(DISTINCT xmin::text) FROM journey_states";
    assert_eq!(server.count(transactions).await, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mail_is_retried_or_dismissed() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[("ADMIN_API_KEY", KEY)]).await;
    for to in ["ann@example.com", "bob@example.com"] {
        resend.next(Mood::Refuse(422, "validation_error"));
        let mail = json!({ "to": to, "template": "welcome" });
        server
            .call(Method::POST, "/v1/emails", KEY, Some(&mail))
            .await;
        server.advance(std::time::Duration::from_secs(60)).await;
    }
    let dead = get(&server, "/dlq").await.json();
    assert_eq!(
        (
            &dead["total"],
            &dead["dlq"][0]["type"],
            &dead["dlq"][0]["status"]
        ),
        (&json!(2), &json!("email"), &json!("failed"))
    );
    let id = |n: usize| dead["dlq"][n]["id"].as_str().unwrap().to_owned();
    let retry = format!("/dlq/{}/retry", id(0));
    let retried = call(&server, Method::POST, &retry, json!({})).await;
    assert_eq!(retried.status, 202, "{}", retried.text());
    assert_eq!(
        call(&server, Method::POST, &retry, json!({})).await.status,
        404
    );
    server.drain().await;
    let new = retried.json()["emailSendId"].as_str().unwrap().to_owned();
    let sent = get(&server, &format!("/emails/{new}")).await.json();
    assert_eq!(sent["email"]["status"], "sent");
    assert_eq!(resend.accepted().len(), 1);
    let path = format!("/dlq/{}", id(1));
    assert_eq!(
        call(&server, Method::DELETE, &path, json!({})).await.json(),
        json!({ "deleted": true })
    );
    assert_eq!(
        call(&server, Method::DELETE, &path, json!({})).await.status,
        404
    );
    assert_eq!(get(&server, "/dlq").await.json()["total"], 0);
    assert_eq!(get(&server, "/dlq?type=x").await.status, 400);
    let audit = get(&server, "/audit-logs").await.json();
    assert_eq!(audit["auditLogs"][0]["action"], "dead_letter.dismiss");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_run_retries_its_failed_step() {
    let port = crate::support::process::free_port();
    let url = format!("http://127.0.0.1:{port}");
    let variables = [("ADMIN_API_KEY", KEY), ("STEPS_URL", &url)];
    let server = Server::with(Store::native().await, &variables).await;
    let event = json!({ "name": "s.broken", "email": "a@example.com" });
    server
        .call(Method::POST, "/v1/events", KEY, Some(&event))
        .await;
    for _ in 0..7 {
        server.advance(std::time::Duration::from_secs(3_600)).await;
    }
    let dead = get(&server, "/dlq?type=journey").await.json();
    assert_eq!(
        (&dead["total"], &dead["dlq"][0]["subject"]),
        (&json!(1), &json!("s-broken"))
    );
    assert!(
        dead["dlq"][0]["error"]
            .as_str()
            .unwrap()
            .contains("http_connect")
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let answering = axum::Router::new().fallback(async || "yes");
    tokio::spawn(axum::serve(listener, answering).into_future());
    let retry = format!("/dlq/{}/retry", dead["dlq"][0]["id"].as_str().unwrap());
    assert_eq!(
        call(&server, Method::POST, &retry, json!({})).await.status,
        202
    );
    server.drain().await;
    assert_eq!(
        server.text("SELECT status FROM journey_states").await,
        "completed"
    );
    assert_eq!(get(&server, "/dlq").await.json()["total"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_count_what_was_sent_and_read_it_from_the_index() {
    let server = server().await;
    server.run_sql("INSERT INTO contacts (id, email, first_seen_at, last_seen_at, created_at, updated_at) SELECT gen_random_uuid(), n || '@example.com', now(), now(), now(), now() FROM generate_series(1, 4) n").await;
    server.run_sql("INSERT INTO email_preferences (contact_id, unsubscribed_all, updated_at) SELECT id, true, now() FROM contacts LIMIT 1").await;
    // Of each 20 mails one bounced, ten were opened and five clicked; a third are older than a day.
    let fill = "INSERT INTO email_sends (id, contact_id, template_key, category, from_email, to_email, subject, provider, idempotency_key, status, created_at, updated_at, sent_at, delivered_at, opened_at, clicked_at, bounced_at)
        SELECT gen_random_uuid(), (SELECT id FROM contacts LIMIT 1), CASE WHEN n % 4 = 0 THEN 'welcome' ELSE 'nudge' END, 'journey', 'a@b.co', 'c@d.co', 's', 'resend', n::text, 'sent', at, at, at,
               CASE WHEN n % 20 <> 0 THEN at END, CASE WHEN n % 2 = 1 THEN at END, CASE WHEN n % 4 = 1 THEN at END, CASE WHEN n % 20 = 0 THEN at END
        FROM (SELECT n, $1::timestamptz - CASE WHEN n % 3 = 0 THEN interval '2 days' ELSE interval '1 hour' END AS at FROM generate_series(1, 6000) n) AS mails";
    let now = server.now();
    sqlx::query(fill)
        .bind(now)
        .execute(&mut *server.app.db.conn().await.unwrap())
        .await
        .unwrap();
    let mut overview = get(&server, "/metrics/overview").await.json();
    let span = (overview["since"].take(), overview["until"].take());
    assert!(span.0.is_string() && span.1.is_string(), "{span:?}");
    assert_eq!(
        overview,
        json!({ "totalContacts": 4, "activeJourneys": 0, "emailsSent24h": 4000, "emailsSent7d": 6000, "emailsSent30d": 6000, "bounceRate30d": 0.05, "since": null, "until": null, "emailsSent": 6000, "bounceRate": 0.05, "unsubscribeRate": 0.25 })
    );
    let seen = get(&server, "/metrics/emails").await.json();
    assert_eq!(
        seen["templates"][0],
        json!({ "templateKey": "nudge", "sent": 4500, "delivered": 4500, "opened": 3000, "clicked": 1500, "bounced": 0, "deliveryRate": 1.0, "openRate": 0.6667, "clickRate": 0.3333 })
    );
    let welcome = &seen["templates"][1];
    assert_eq!(
        (
            &welcome["delivered"],
            &welcome["bounced"],
            &welcome["deliveryRate"]
        ),
        (&json!(1200), &json!(300), &json!(0.8))
    );
    let reach = get(&server, "/metrics/emails/deliverability").await.json();
    assert_eq!(
        (
            &reach["providers"][0]["provider"],
            &reach["providers"][0]["bounceRate"]
        ),
        (&json!("resend"), &json!(0.05))
    );
    assert_eq!(
        get(
            &server,
            "/metrics/emails?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z"
        )
        .await
        .status,
        400
    );
    for path in [
        "/metrics/journeys",
        "/metrics/journeys/t-slow",
        "/metrics/events",
    ] {
        assert_eq!(get(&server, path).await.status, 200, "{path}");
    }
    assert_eq!(get(&server, "/metrics/journeys/nope").await.status, 404);
    let (day, instant) = (
        chrono::TimeDelta::days(1),
        |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    );
    for (path, of_time) in [
        ("overview", "/emailsSent"),
        ("emails", "/templates/0/sent"),
        ("emails/deliverability", "/providers/0/sent"),
        ("journeys", "/journeys/0/enrolled"),
        ("journeys/t-slow", "/journey/enrolled"),
        ("events", "/events/0/count"),
    ] {
        // Every report states its period, and reads no other rows.
        let long_ago = format!(
            "since=2001-01-01T00:00:00Z&until={}",
            instant(now - day * 300)
        );
        let seen = get(&server, &format!("/metrics/{path}?{long_ago}")).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        assert_eq!(seen.json()["since"], "2001-01-01T00:00:00Z", "{path}");
        let figure = seen.json().pointer(of_time).cloned().unwrap_or(json!(0));
        assert_eq!(figure, json!(0), "{path}");
        for wrong in [
            "since=yesterday",
            "until=2026-13-01T00:00:00Z",
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        ] {
            let refused = get(&server, &format!("/metrics/{path}?{wrong}")).await;
            assert_eq!(refused.status, 400, "{path}?{wrong}");
            let named = refused.json()["error"]["issues"][0]["path"].clone();
            assert_eq!(named, json!(wrong.split('=').next()), "{path}?{wrong}");
        }
    }

    // An index-only scan answers: a report reads no row of a mail, however many there are.
    server.run_sql("VACUUM ANALYZE email_sends").await;
    let mut conn = server.app.db.conn().await.unwrap();
    let set = sqlx::query("SET enable_seqscan = off");
    set.execute(&mut *conn).await.unwrap();
    let plan: Vec<String> = sqlx::query_scalar("EXPLAIN SELECT template_key, count(*), count(delivered_at), count(opened_at), count(clicked_at), count(bounced_at), count(complained_at) FROM email_sends WHERE sent_at >= now() - interval '400 days' AND sent_at < now() + interval '400 days' GROUP BY template_key")
        .fetch_all(&mut *conn).await.unwrap();
    assert!(
        plan.join("\n")
            .contains("Index Only Scan using email_sends_sent"),
        "{plan:#?}"
    );
    drop(conn);
    server.stop().await;
}
