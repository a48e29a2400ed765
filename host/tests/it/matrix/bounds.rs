//! Answers beyond what may be stored.

use axum::http::StatusCode;

use super::{Host, Place};

const PATH: &str = "/v1/webhooks/faults";

pub async fn answers_that_are_too_large_are_cut_or_refused(place: Place) {
    let host = Host::start(place, &[]).await;
    let post = async |body: &str| host.server.post_raw(PATH, body.into()).await;

    let answer = post("large property").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let stored = "SELECT string_agg(properties::text, ' ') FROM user_events";
    assert_eq!(host.server.text(stored).await, r#"{"small": 1}"#);

    let answer = post("long reason").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["reason"], "x".repeat(1_000));

    let answer = post("many events").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.body.len() < 1_000, "{}", answer.text());
    let events = "SELECT count(*) FROM user_events";
    assert_eq!(host.server.count(events).await, 1);
    host.server.stop().await;
}

/// A slow machine may not hand the bytes over in time; then the mail waits.
pub async fn a_mail_that_is_too_large_is_not_sent(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.mail", "ann", "large mail").await;
    host.happens("faults.mail", "bob", "none").await;
    host.server.drain().await;
    let mails = host.mails().await;
    assert!(
        ["ann failed, bob sent", "ann queued, bob sent"].contains(&mails.as_str()),
        "{mails}"
    );
    let kept = "SELECT coalesce(max(pg_column_size(prepared)), 0)::bigint FROM email_sends
                WHERE to_email LIKE 'ann@%'";
    assert_eq!(host.server.count(kept).await, 0);
    host.server.stop().await;
}

pub async fn an_event_source_brings_no_events_of_hogsends_own(place: Place) {
    let host = Host::start(place, &[]).await;
    let answer = host.server.post_raw(PATH, b"own events".into()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let names = "SELECT string_agg(name, ', ') FROM user_events";
    assert_eq!(host.server.text(names).await, "faults.none");
    host.server.stop().await;
}
