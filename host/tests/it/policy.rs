//! How often, when and to whom mail goes out.

use std::time::Duration;

use serde_json::json;

use crate::support::{Server, Store};

const HOUR: Duration = Duration::from_secs(3_600);

async fn server(variables: &[(&str, &str)]) -> Server {
    Server::with(Store::native().await, variables).await
}

async fn enter(server: &Server, event: &str, user: &str, zone: &str) {
    let body = json!({ "name": event, "userId": user, "email": format!("{user}@example.com"),
                       "contactProperties": { "timezone": zone } });
    assert_eq!(server.post("/v1/events", &body).await.status, 202);
    server.drain().await;
}

async fn mails(server: &Server) -> String {
    server
        .text("SELECT string_agg(status || coalesce(' ' || reason, ''), ', ' ORDER BY id) FROM email_sends")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_holds_over_all_journeys_and_moves_with_the_clock() {
    let server = server(&[("EMAIL_FREQUENCY_CAP", "3/24h")]).await;
    enter(&server, "s.mails", "u", "UTC").await;
    enter(&server, "t.mail", "u", "UTC").await;
    enter(&server, "t.mail", "u", "UTC").await;
    enter(&server, "t.mail", "v", "UTC").await;
    assert_eq!(
        mails(&server).await,
        "sent, sent, sent, skipped frequency_cap, sent"
    );
    server.clock.advance(25 * HOUR);
    enter(&server, "t.mail", "u", "UTC").await;
    assert!(mails(&server).await.ends_with("sent, sent"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_the_persons_hours_a_mail_waits() {
    // It is nine in London, five in the evening in Perth, three in the night in Chicago.
    let server = server(&[("EMAIL_SEND_WINDOW", "08:00-17:00")]).await;
    for (user, zone) in [
        ("l", "Europe/London"),
        ("p", "Australia/Perth"),
        ("c", "America/Chicago"),
    ] {
        enter(&server, "t.mail", user, zone).await;
    }
    assert_eq!(
        mails(&server).await,
        "sent, queued outside_send_window, queued outside_send_window"
    );
    server.advance(5 * HOUR).await;
    assert_eq!(
        mails(&server).await,
        "sent, queued outside_send_window, sent"
    );
    server.advance(10 * HOUR).await;
    assert_eq!(mails(&server).await, "sent, sent, sent");
    assert_eq!(server.count("SELECT count(*) FROM email_attempts").await, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journeys_own_gap_holds_across_enrolments() {
    let server = server(&[]).await;
    enter(&server, "s.gap", "u", "UTC").await;
    server.clock.advance(23 * HOUR);
    enter(&server, "s.gap", "u", "UTC").await;
    server.clock.advance(2 * HOUR);
    enter(&server, "s.gap", "u", "UTC").await;
    let gap = "skipped journey_suppressed";
    assert_eq!(
        mails(&server).await,
        format!("sent, {gap}, {gap}, {gap}, sent, {gap}")
    );
    // Neither older mails nor those of other journeys keep one back.
    server.clock.advance(240 * HOUR);
    enter(&server, "t.mail", "u", "UTC").await;
    enter(&server, "s.gap", "u", "UTC").await;
    assert!(
        mails(&server)
            .await
            .ends_with(&format!("sent, {gap}, sent, sent, {gap}"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_test_mode_every_mail_goes_to_one_address() {
    let server = server(&[("EMAIL_TEST_TO", "team@acme.test")]).await;
    enter(&server, "t.mail", "ada", "UTC").await;
    assert_eq!(
        server
            .text("SELECT to_email || ': ' || subject FROM email_sends")
            .await,
        "team@acme.test: [to ada@example.com] Plain world"
    );
    server.stop().await;
}
