//! Several providers: the next one takes over when the first is down, and no mail goes to both.

use std::time::Duration;

use serde_json::json;

use crate::delivery;
use crate::support::Server;
use crate::support::resend::{Resend, Weather};

async fn server(resend: &Resend) -> Server {
    delivery::server(resend, &[("EMAIL_PROVIDER", "resend,outbox")]).await
}

async fn mail(server: &Server, user: &str, category: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "category": category } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    // The provider's rate limit is one request a second.
    server.advance(Duration::from_secs(1)).await;
}

async fn taken(server: &Server) -> String {
    server
        .text("SELECT string_agg(split_part(to_email, '@', 1) || ' ' || status || ' ' || coalesce(provider, '-'), ', ' ORDER BY to_email) FROM email_sends")
        .await
}

const CLOSED: Weather = Weather {
    fault: 0,
    late_fault: 0,
    closed: 100,
    silence: 0,
    limit: 0,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_provider_takes_over_from_a_failing_one_which_is_probed_later() {
    let resend = Resend::start().await;
    resend.weather(CLOSED);
    let server = server(&resend).await;
    for user in ["a1", "a2", "a3", "a4", "a5"] {
        mail(&server, user, "journey").await;
    }
    assert_eq!(resend.seen().len(), 5, "five failures open the breaker");
    mail(&server, "b1", "journey").await;
    assert_eq!(
        resend.seen().len(),
        5,
        "a provider that is down is left alone"
    );
    // Mail that it certainly did not accept goes to the next one as well.
    server.advance(Duration::from_secs(10)).await;
    assert_eq!(
        taken(&server).await,
        "a1 sent outbox, a2 sent outbox, a3 sent outbox, a4 sent outbox, a5 sent outbox, b1 sent outbox"
    );
    // After a pause one mail probes the first provider, which works again.
    resend.weather(Weather::default());
    server.advance(Duration::from_secs(60)).await;
    mail(&server, "c1", "journey").await;
    mail(&server, "c2", "journey").await;
    let taken = taken(&server).await;
    assert!(taken.ends_with("c1 sent resend, c2 sent resend"), "{taken}");
    assert_eq!(resend.accepted().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_in_doubt_moves_to_the_next_provider_only_where_duplicates_are_allowed() {
    let resend = Resend::start().await;
    // It accepts every mail and never answers.
    resend.weather(Weather {
        late_fault: 100,
        ..Weather::default()
    });
    let server = server(&resend).await;
    mail(&server, "t1", "transactional").await;
    mail(&server, "a1", "journey").await;
    assert_eq!(resend.accepted().len(), 2);
    resend.weather(CLOSED);
    for _ in 0..20 {
        server.advance(Duration::from_secs(4)).await;
    }
    assert_eq!(taken(&server).await, "a1 queued resend, t1 sent outbox");
    // The first works again and recognises the mail it accepted, so nothing is sent twice.
    resend.weather(Weather::default());
    for _ in 0..6 {
        server.advance(Duration::from_secs(400)).await;
    }
    assert_eq!(taken(&server).await, "a1 sent resend, t1 sent outbox");
    assert_eq!(resend.accepted().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_rate_limit_does_not_fail_over_and_a_refused_key_does() {
    use crate::support::resend::Mood;

    let resend = Resend::start().await;
    let server = server(&resend).await;
    resend.next(Mood::RateLimit(20));
    mail(&server, "a1", "journey").await;
    mail(&server, "a2", "journey").await;
    assert_eq!(taken(&server).await, "a1 queued resend, a2 queued -");
    server.advance(Duration::from_secs(30)).await;
    assert_eq!(taken(&server).await, "a1 sent resend, a2 sent resend");
    resend.next(Mood::Refuse(403, "invalid_api_key"));
    mail(&server, "b1", "journey").await;
    mail(&server, "b2", "journey").await;
    assert!(taken(&server).await.ends_with("b2 sent outbox"));
    server.stop().await;
}
