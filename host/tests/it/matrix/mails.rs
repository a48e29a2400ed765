//! Faults of a delivery plugin.

use std::time::Duration;

use super::{Host, Place};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

pub async fn a_mail_whose_id_cannot_be_stored_is_sent_once(place: Place) {
    let host = Host::start(place, &[]).await;
    for (event, user, fault) in [
        ("faults.receipt", "ann", "odd id"),
        ("faults.receipt", "bob", "long id"),
        ("faults.mail", "cy", "odd id"),
    ] {
        host.happens(event, user, fault).await;
    }
    host.server.drain().await;
    host.server.advance(HOUR).await;
    host.server.advance(HOUR * 24).await;
    assert_eq!(host.mails().await, "ann sent, bob sent, cy sent");
    assert_eq!(host.attempts().await, 3);
    host.server.stop().await;
}

pub async fn a_webhook_with_text_that_cannot_be_stored_is_recorded(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.mail", "ann", "odd id").await;
    host.server.drain().await;
    let path = "/v1/webhooks/email/faults";
    let answer = host.server.post_raw(path, b"news".into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(host.mails().await, "ann bounced");
    host.server.stop().await;
}

/// Nothing can have been sent, so it is neither in doubt nor the provider's fault.
pub async fn a_mail_at_which_the_plugin_panics_stops_no_other(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.mail", "ann", "panic").await;
    host.server.drain().await;
    while host.attempts().await < 7 {
        host.server.advance(Duration::from_secs(300)).await;
    }
    assert_eq!(host.mails().await, "ann queued");
    let holds = "SELECT count(*) FROM provider_holds";
    assert_eq!(host.server.count(holds).await, 0);
    host.happens("faults.mail", "bob", "none").await;
    host.server.drain().await;
    assert_eq!(host.mails().await, "ann queued, bob sent");
    // It is of no use after two days.
    host.server.advance(HOUR * 48).await;
    assert_eq!(host.mails().await, "ann skipped, bob sent");
    host.server.stop().await;
}

pub async fn a_batch_at_which_the_plugin_panics_is_sent_mail_by_mail(place: Place) {
    let host = Host::start(place, &[("FAULTS_BATCHES", "yes")]).await;
    for (user, fault) in [
        ("ann", "none"),
        ("bob", "panic"),
        ("cy", "none"),
        ("dan", "none"),
    ] {
        host.happens("faults.mail", user, fault).await;
    }
    host.server.drain().await;
    host.server.advance(SECOND).await;
    assert_eq!(
        host.mails().await,
        "ann sent, bob queued, cy sent, dan sent"
    );
    let batches = "SELECT count(*) FROM email_batches";
    assert_eq!(host.server.count(batches).await, 1);
    host.server.stop().await;
}

pub async fn a_panic_after_a_request_leaves_the_mail_in_doubt(place: Place) {
    // Nobody listens there.
    let host = Host::start(place, &[("FAULTS_URL", "http://127.0.0.1:1/")]).await;
    host.happens("faults.mail", "ann", "request, panic").await;
    host.happens("faults.mail", "bob", "request, none").await;
    host.server.drain().await;
    assert_eq!(host.mails().await, "ann ambiguous, bob sent");
    host.server.stop().await;
}

/// There is no attempt that could be counted.
pub async fn a_mail_that_cannot_be_prepared_waits_longer_each_time(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.mail", "ann", "prepare, panic").await;
    host.happens("faults.mail", "bob", "none").await;
    host.server.drain().await;
    assert_eq!(host.mails().await, "ann queued, bob sent");
    let due = "SELECT extract(epoch FROM next_attempt_at - created_at)::bigint FROM email_sends
               WHERE to_email LIKE 'ann@%'";
    // It waits as long as it has waited, from half a minute to an hour.
    for (advance, expected) in [(0, 30), (600, 1_200), (600, 2_400), (7_200, 12_000)] {
        host.server.advance(SECOND * advance).await;
        assert_eq!(host.server.count(due).await, expected);
    }
    assert_eq!(host.mails().await, "ann queued, bob sent");
    host.server.stop().await;
}

pub async fn a_pause_without_end_is_a_day(place: Place) {
    // Of the whole provider, and of one mail.
    for fault in ["pause", "later"] {
        let host = Host::start(place, &[]).await;
        host.happens("faults.mail", "ann", fault).await;
        host.server.drain().await;
        for _ in 0..23 {
            host.server.advance(HOUR).await;
        }
        // An attempt at a limit does not count, so the last one is known by its time.
        let last = "SELECT extract(epoch FROM max(a.started_at) - min(s.created_at))::bigint
                    FROM email_attempts a JOIN email_sends s ON s.id = a.send_id";
        assert_eq!(host.server.count(last).await, 0, "{fault}");
        host.server.advance(HOUR * 2).await;
        assert_eq!(host.server.count(last).await, 25 * 3_600, "{fault}");
        assert_eq!(host.mails().await, "ann queued", "{fault}");
        host.server.stop().await;
    }
}
