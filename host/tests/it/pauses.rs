//! Pauses: nothing that they cover is sent, nothing is lost, and all of it goes on afterwards.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::admin::{KEY, call, get, server};

const HOUR: Duration = Duration::from_secs(3_600);

async fn event(server: &Server, name: &str, user: &str) {
    let body = json!({ "name": name, "userId": user, "email": format!("{user}@example.com") });
    let answer = server.call(Method::POST, "/v1/events", KEY, Some(&body));
    assert_eq!(answer.await.status, 202);
    server.drain().await;
}

/// Users and the states of their mails.
async fn mails(server: &Server) -> String {
    server
        .text(
            "SELECT coalesce(string_agg(c.external_id || ' ' || s.status || coalesce(' ' || s.reason, ''),
                                        ', ' ORDER BY c.external_id, s.id), '')
             FROM email_sends s JOIN contacts c ON c.id = s.contact_id",
        )
        .await
}

/// Users and the states of their runs.
async fn runs(server: &Server) -> String {
    server
        .text(
            "SELECT coalesce(string_agg(c.external_id || ' ' || s.journey_id || ' ' || s.status,
                                        ', ' ORDER BY s.id), '')
             FROM journey_states s JOIN contacts c ON c.id = s.contact_id",
        )
        .await
}

async fn change(server: &Server, what: &str, body: Value) -> Value {
    let answer = call(server, Method::POST, &format!("/{what}"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.drain().await;
    answer.json()
}

async fn health(server: &Server) -> Value {
    server
        .call(Method::GET, "/v1/health", KEY, None)
        .await
        .json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_everything_is_paused_nothing_is_sent_and_everything_is_stored() {
    let server = server().await;
    event(&server, "t.mail", "early").await;
    let said = change(&server, "pause", json!({ "reason": "a wrong price" })).await;
    let pause = &said["pauses"][0];
    assert_eq!(
        (&pause["scope"], &pause["reason"], &pause["pausedBy"]),
        (
            &json!("everything"),
            &json!("a wrong price"),
            &json!("ADMIN_API_KEY")
        )
    );
    event(&server, "t.mail", "late").await;
    let direct = json!({ "userId": "early", "template": "t-plain", "category": "journey" });
    let direct = server
        .call(Method::POST, "/v1/emails", KEY, Some(&direct))
        .await;
    assert_eq!(direct.status, 202, "{}", direct.text());
    server.drain().await;
    assert_eq!(
        runs(&server).await,
        "early t-mail completed, late t-mail active"
    );
    assert_eq!(mails(&server).await, "early sent, early queued paused");

    let health = health(&server).await;
    assert_eq!(health["paused"], json!(["everything"]));
    let findings = health["findings"].to_string();
    assert!(
        findings.contains("a wrong price") && findings.contains("hogsend resume"),
        "{findings}"
    );
    let listed = get(&server, "/pauses").await.json();
    assert_eq!(
        listed["pauses"][0]["waiting"],
        json!({ "runs": 1, "mails": 1, "entries": 0 })
    );
    // A second pause changes nothing about the first.
    let again = change(&server, "pause", json!({ "reason": "another" })).await;
    assert_eq!(again["pauses"][0]["reason"], "a wrong price");

    assert_eq!(
        change(&server, "resume", json!({})).await,
        json!({ "resumed": true, "pauses": [] })
    );
    assert_eq!(
        runs(&server).await,
        "early t-mail completed, late t-mail completed"
    );
    assert_eq!(mails(&server).await, "early sent, early sent, late sent");
    assert_eq!(change(&server, "resume", json!({})).await["resumed"], false);
    let audited = "SELECT string_agg(action || ' ' || resource_id, ', ' ORDER BY created_at, id)
                   FROM audit_logs WHERE resource_type = 'pause'";
    assert_eq!(
        server.text(audited).await,
        "pause.begin everything, pause.end everything"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_journey_keeps_its_runs_mails_and_entries_and_no_other() {
    let server = server().await;
    // Waits for an hour before its mail.
    event(&server, "t.exit", "inside").await;
    let held = call(
        &server,
        Method::PATCH,
        "/journeys/t-exit",
        json!({ "held": true }),
    )
    .await
    .json();
    assert_eq!(
        (&held["journey"]["held"], &held["journey"]["enabled"]),
        (&json!(true), &json!(true))
    );
    for user in ["first", "leaver", "payer"] {
        event(&server, "t.exit", user).await;
    }
    event(&server, "t.mail", "other").await;
    server.advance(50 * HOUR).await;
    // What would have ended their runs, and what would not.
    event(&server, "t.stop", "leaver").await;
    let paid = json!({ "name": "t.paid", "userId": "payer", "eventProperties": { "amount": 9 } });
    server
        .call(Method::POST, "/v1/events", KEY, Some(&paid))
        .await;
    server.drain().await;
    assert_eq!(
        runs(&server).await,
        "inside t-exit waiting, other t-mail completed"
    );
    assert_eq!(mails(&server).await, "other sent");
    let journey = get(&server, "/journeys/t-exit").await.json();
    assert_eq!(journey["journey"]["skips"], json!({ "held": 3 }));
    // By hand nobody enters either.
    let by_hand = json!({ "userId": "hand" });
    let by_hand = call(&server, Method::POST, "/journeys/t-exit/enroll", by_hand).await;
    assert_eq!(
        by_hand.json(),
        json!({ "enrolled": false, "reason": "held" })
    );

    call(
        &server,
        Method::PATCH,
        "/journeys/t-exit",
        json!({ "held": false }),
    )
    .await;
    server.drain().await;
    // Entries are offered again although they are two days old, and not to who left meanwhile.
    assert_eq!(
        runs(&server).await,
        "inside t-exit completed, other t-mail completed, first t-exit waiting, payer t-exit waiting"
    );
    let journey = get(&server, "/journeys/t-exit").await.json();
    assert_eq!(
        journey["journey"]["skips"],
        json!({ "exited_while_held": 1, "held": 1 })
    );
    server.advance(50 * HOUR).await;
    assert_eq!(
        mails(&server).await,
        "first sent, inside sent, other sent, payer sent"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_a_category_holds_its_mails_alone() {
    let server = server().await;
    change(&server, "pause", json!({ "category": "journey" })).await;
    event(&server, "t.mail", "lifecycle").await;
    event(&server, "t.receipt", "receipt").await;
    assert_eq!(
        mails(&server).await,
        "lifecycle queued paused, receipt sent"
    );
    change(&server, "resume", json!({ "category": "journey" })).await;
    assert_eq!(mails(&server).await, "lifecycle sent, receipt sent");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_stops_the_clock_of_a_mail_but_not_of_a_moment_given_with_it() {
    let server = server().await;
    change(&server, "pause", json!({ "category": "journey" })).await;
    event(&server, "t.mail", "usual").await;
    let until = server.now() + 3 * HOUR;
    let given = json!({ "userId": "usual", "template": "t-plain", "category": "journey", "notAfter": until });
    let given = server
        .call(Method::POST, "/v1/emails", KEY, Some(&given))
        .await;
    assert_eq!(given.status, 202, "{}", given.text());
    // Lifecycle mail is useful for 48 hours.
    server.advance(100 * HOUR).await;
    // Two pauses at once stop it once.
    change(&server, "pause", json!({})).await;
    server.advance(10 * HOUR).await;
    change(&server, "resume", json!({ "category": "journey" })).await;
    assert_eq!(
        mails(&server).await,
        "usual queued paused, usual queued paused"
    );
    server.advance(10 * HOUR).await;
    change(&server, "resume", json!({})).await;
    assert_eq!(mails(&server).await, "usual sent, usual skipped expired");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_during_a_pause_stays_ended() {
    let server = server().await;
    event(&server, "t.exit", "leaver").await;
    change(&server, "pause", json!({})).await;
    server.advance(50 * HOUR).await;
    event(&server, "t.mail", "erased").await;
    event(&server, "t.stop", "leaver").await;
    let erased = json!({ "userId": "erased" });
    server
        .call(Method::DELETE, "/v1/contacts", KEY, Some(&erased))
        .await;
    change(&server, "resume", json!({})).await;
    assert_eq!(runs(&server).await, "leaver t-exit exited");
    assert_eq!(mails(&server).await, "");
    let left =
        "SELECT count(*) FROM journey_states WHERE paused IS NOT NULL OR wake_at IS NOT NULL";
    assert_eq!(server.count(left).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_what_does_not_exist_is_refused_with_what_is_wrong() {
    let server = server().await;
    let cases = [
        (json!({ "journey": "t-mial" }), 404, "Journey"),
        (json!({ "jurney": "t-mail" }), 400, "jurney"),
        (json!({ "category": "jurney" }), 400, "journey"),
        (
            json!({ "journey": "t-mail", "category": "journey" }),
            400,
            "one after the other",
        ),
        (
            json!({ "reason": "x".repeat(501) }),
            400,
            "at most 500 characters",
        ),
    ];
    for (body, status, word) in cases {
        let answer = call(&server, Method::POST, "/pause", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(word), "{body}: {}", answer.text());
    }
    assert_eq!(server.count("SELECT count(*) FROM pauses").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_that_wait_are_cancelled_by_journey_template_and_time() {
    let server = server().await;
    change(&server, "pause", json!({ "category": "journey" })).await;
    event(&server, "t.mail", "a").await;
    server.advance(HOUR).await;
    let between = server.now();
    server.advance(HOUR).await;
    event(&server, "t.mail", "b").await;
    event(&server, "t.twice", "c").await;
    let body = json!({ "journey": "t-mail", "since": between, "dryRun": true });
    let counted = change(&server, "emails/cancel", body).await;
    assert_eq!(
        counted,
        json!({ "cancelled": 1, "more": false, "dryRun": true })
    );
    let cases = [
        (json!({ "journey": "t-mail", "since": between }), 1),
        (json!({ "template": "t-links" }), 0),
        (json!({ "until": between }), 1),
        (json!({ "category": "transactional" }), 0),
    ];
    for (body, count) in cases {
        let done = change(&server, "emails/cancel", body.clone()).await;
        assert_eq!(done["cancelled"], count, "{body}");
    }
    // Their journeys go on, and the other mail goes out.
    change(&server, "resume", json!({ "category": "journey" })).await;
    assert_eq!(
        mails(&server).await,
        "a skipped cancelled, b skipped cancelled, c sent"
    );
    assert_eq!(
        runs(&server).await,
        "a t-mail completed, b t-mail completed, c t-twice completed"
    );
    for body in [
        json!({}),
        json!({ "since": between }),
        json!({ "jurney": "t-mail" }),
    ] {
        let refused = call(&server, Method::POST, "/emails/cancel", body.clone()).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
    server.stop().await;
}
