//! Links and images in mails: who reads, and who only scans.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hogsend::db::{self, Tx};
use hogsend::worker;
use serde_json::{Value, json};

use crate::delivery;
use crate::on_each_store;
use crate::support::resend::{Mood, Resend};
use crate::support::{Answer, Server};

const BASE: &str = "http://localhost:3002";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// Where the links of the test's mail lead, as they are stored and as a browser is told.
const LINKS: [(&str, &str); 3] = [
    (
        "https://shop.test/go?a=1&b=2#top",
        "https://shop.test/go?a=1&b=2#top",
    ),
    (
        "https://shop.test/s?q=a%20b%26c&copy=1",
        "https://shop.test/s?q=a%20b%26c&copy=1",
    ),
    (
        "https://shop.test/grün?größe=日本",
        "https://shop.test/gr%C3%BCn?gr%C3%B6%C3%9Fe=%E6%97%A5%E6%9C%AC",
    ),
];

/// A mail to Ann, with the paths of its links and of its image.
struct Sent {
    links: Vec<String>,
    image: String,
    html: String,
    text: String,
}

async fn sent(server: &Server) -> Sent {
    let body = json!({ "event": "t.await-click", "userId": "ann", "userEmail": "ann@example.com" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
    let html = server.text("SELECT mail->>'html' FROM email_sends").await;
    let paths = |start: &str| -> Vec<String> {
        let whole = format!("{BASE}{start}");
        let parts = html.split(&whole).skip(1);
        let id = |part: &str| part.split('"').next().unwrap().to_owned();
        parts.map(|part| format!("{start}{}", id(part))).collect()
    };
    let mut images = paths("/v1/t/o/");
    assert!(images.len() <= 1, "{html}");
    Sent {
        links: paths("/v1/t/c/"),
        image: images.pop().unwrap_or_default(),
        text: server.text("SELECT mail->>'text' FROM email_sends").await,
        html,
    }
}

async fn fetch(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.request(request.body(Body::empty()).unwrap()).await
}

/// A person with an ordinary browser.
async fn visit(server: &Server, path: &str) -> Answer {
    fetch(server, Method::GET, path, &[("user-agent", FIREFOX)]).await
}

fn location(answer: &Answer) -> &str {
    answer.headers[header::LOCATION].to_str().unwrap()
}

async fn told(server: &Server) -> String {
    server
        .text("SELECT coalesce(string_agg(name, ', ' ORDER BY name), '') FROM user_events WHERE name IN ('email.opened', 'email.clicked')")
        .await
}

/// What is recorded, in order.
async fn recorded(server: &Server) -> String {
    server
        .text("SELECT string_agg(kind || ' ' || coalesce(machine, CASE WHEN settle_at IS NULL THEN 'person' ELSE 'open' END), ', ' ORDER BY id) FROM email_events")
        .await
}

/// What an ordinary person could have waited.
async fn later(server: &Server) {
    server.advance(Duration::from_secs(60)).await;
}

async fn judged(server: &Server) {
    server.advance(Duration::from_secs(5)).await;
}

on_each_store! {
    async fn a_persons_click_is_told_once_and_leads_where_the_author_meant(server: Server) {
        let mail = sent(&server).await;
        assert_eq!(mail.links.len(), LINKS.len(), "{}", mail.html);
        later(&server).await;
        for (path, (_, browser)) in mail.links.iter().zip(LINKS) {
            let answer = visit(&server, path).await;
            assert_eq!(answer.status, StatusCode::FOUND);
            assert_eq!(location(&answer), browser);
            assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
            assert!(recorded(&server).await.ends_with("clicked open"), "not judged at once");
            server.advance(Duration::from_secs(4)).await;
        }
        judged(&server).await;
        assert_eq!(recorded(&server).await, "clicked person, clicked person, clicked person");
        assert_eq!(told(&server).await, "email.clicked, email.clicked, email.clicked");
        // The journey saw the first, and the time of the click is when it happened.
        assert_eq!(
            server.text("SELECT current_node_id || ', ' || status FROM journey_states").await,
            format!("clicked {}, completed", LINKS[0].0)
        );
        assert_eq!(
            server.text("SELECT status || to_char(clicked_at AT TIME ZONE 'UTC', ' HH24:MI:SS') FROM email_sends").await,
            "clicked 09:01:00"
        );
        let link = server.text("SELECT properties->>'linkId' FROM user_events WHERE name = 'email.clicked' ORDER BY occurred_at").await;
        assert!(mail.links[0].ends_with(&link) && !link.is_empty());
        let detail = server.text("SELECT detail::text FROM email_events LIMIT 1").await;
        let detail: Value = serde_json::from_str(&detail).unwrap();
        assert_eq!(detail, json!({ "userAgent": FIREFOX }), "and no address of the reader");
        server.stop().await;
    }
}

on_each_store! {
    async fn the_image_is_told_as_an_open(server: Server) {
        let mail = sent(&server).await;
        later(&server).await;
        let answer = visit(&server, &mail.image).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body.len(), 43);
        assert!(answer.body.starts_with(b"GIF89a"));
        assert_eq!(answer.headers[header::CONTENT_TYPE], "image/gif");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        judged(&server).await;
        assert_eq!(told(&server).await, "email.opened");
        assert_eq!(server.text("SELECT status FROM email_sends").await, "opened");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_links_to_the_web_are_replaced_and_only_in_the_html() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    let stored = "SELECT string_agg(url, ' ' ORDER BY position) FROM tracked_links";
    let urls: Vec<_> = LINKS.iter().map(|(url, _)| *url).collect();
    assert_eq!(server.text(stored).await, urls.join(" "));
    for kept in [
        "<a href=\"https://shop.test/plain\"",
        "href=\"mailto:help@shop.test\"",
        "href=\"http://localhost:3002/v1/email/unsubscribe?token=",
        "<!--[if mso | IE]>",
    ] {
        assert!(mail.html.contains(kept), "{kept}: {}", mail.html);
    }
    assert!(!mail.html.contains("data-track") && !mail.html.contains("shop.test/go"));
    assert!(mail.text.contains(LINKS[0].0) && !mail.text.contains("/v1/t/"));
    let end = format!(
        "<img src=\"{BASE}{}\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block\"></body>",
        mail.image
    );
    assert!(mail.html.contains(&end), "{}", mail.html);
    assert_eq!(resend.seen()[0].body["html"], mail.html);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_tracking_is_off_the_html_is_the_authors() {
    for (tracking, links, image) in [("off", 0, false), ("opens", 0, true), ("clicks", 3, false)] {
        let resend = Resend::start().await;
        let server = delivery::server(&resend, &[("EMAIL_TRACKING", tracking)]).await;
        let mail = sent(&server).await;
        assert_eq!(mail.links.len(), links);
        assert_eq!(!mail.image.is_empty(), image);
        let author = "href=\"https://shop.test/go?a=1&amp;b=2#top\"";
        assert_eq!(mail.html.contains(author), links == 0, "{}", mail.html);
        assert_eq!(
            server.count("SELECT count(*) FROM tracked_links").await,
            links as i64
        );
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_can_be_slipped_in() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    let known = &mail.links[0];
    for suffix in [
        "?url=https://evil.test",
        "?to=//evil.test&u=https://evil.test",
    ] {
        assert_eq!(
            location(&visit(&server, &format!("{known}{suffix}")).await),
            LINKS[0].1
        );
    }
    for path in [
        "/v1/t/c/018f0000-0000-4000-8000-000000000000".to_owned(),
        "/v1/t/c/https%3A%2F%2Fevil.test".into(),
        "/v1/t/c/%00".into(),
        "/v1/t/c/x%FF".into(),
        // The id of a mail is none of a link.
        mail.image.replace("/o/", "/c/"),
    ] {
        let answer = visit(&server, &path).await;
        assert_ne!(answer.status, StatusCode::FOUND, "{path}");
        assert!(answer.status.is_client_error(), "{path}");
        assert!(!answer.headers.contains_key(header::LOCATION));
    }
    let unknown = visit(&server, "/v1/t/c/018f0000-0000-4000-8000-000000000000").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text().contains("<h1>This link does not work</h1>"));
    assert!(unknown.text().contains("href=\"mailto:hello@acme.test\""));
    for path in [
        "/v1/t/o/018f0000-0000-4000-8000-000000000000",
        "/v1/t/o/nonsense",
        "/v1/t/o/%00",
    ] {
        let answer = visit(&server, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.body.len(), 43);
    }
    assert_eq!(server.count("SELECT count(*) FROM email_events").await, 2);
    assert_eq!(
        fetch(&server, Method::POST, known, &[]).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_are_recorded_and_trigger_nothing() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    // Two seconds after the mail left, and with an ordinary browser.
    server.advance(Duration::from_secs(2)).await;
    visit(&server, &mail.links[0]).await;
    visit(&server, &mail.image).await;
    later(&server).await;
    let long = "x".repeat(1_000);
    for headers in [
        &[("user-agent", "Mozilla/5.0")][..],
        &[("user-agent", "BarracudaCentral/1.0")],
        &[],
        &[
            ("user-agent", FIREFOX),
            ("sec-purpose", "prefetch;prerender"),
        ],
        &[("user-agent", FIREFOX), ("x-moz", "prefetch")],
    ] {
        for path in [&mail.links[0], &mail.image] {
            fetch(&server, Method::GET, path, headers).await;
        }
        later(&server).await;
    }
    assert_eq!(
        recorded(&server).await,
        "clicked early, opened early, clicked proxy, opened proxy, clicked scanner, \
         opened scanner, clicked no_user_agent, opened no_user_agent, clicked prefetch, \
         opened prefetch, clicked prefetch, opened prefetch"
    );
    assert_eq!(told(&server).await, "");
    assert_eq!(server.text("SELECT status FROM email_sends").await, "sent");
    assert_eq!(
        server.text("SELECT status FROM journey_states").await,
        "waiting"
    );
    // What a client says of itself is kept as far as it is of use.
    fetch(&server, Method::GET, &mail.image, &[("user-agent", &long)]).await;
    assert_eq!(
        server
            .count("SELECT max(length(detail->>'userAgent'))::bigint FROM email_events")
            .await,
        300
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_is_answered_without_a_body_and_never_judged_a_person() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    later(&server).await;
    let agent = [("user-agent", FIREFOX)];
    let answer = fetch(&server, Method::HEAD, &mail.links[0], &agent).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(location(&answer), LINKS[0].1);
    let answer = fetch(&server, Method::HEAD, &mail.image, &agent).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "image/gif");
    assert_eq!(answer.body.len(), 0);
    assert_eq!(recorded(&server).await, "clicked head, opened head");
    judged(&server).await;
    assert_eq!(told(&server).await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_every_link_at_once_is_a_scanners_doing() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    later(&server).await;
    for path in &mail.links {
        visit(&server, path).await;
        server.advance(Duration::from_secs(1)).await;
    }
    judged(&server).await;
    assert_eq!(
        recorded(&server).await,
        "clicked burst, clicked burst, clicked burst"
    );
    assert_eq!(told(&server).await, "");
    // The person comes after the scanner.
    later(&server).await;
    visit(&server, &mail.links[1]).await;
    judged(&server).await;
    assert_eq!(told(&server).await, "email.clicked");
    server.stop().await;
}

async fn webhook(server: &Server, id: &str, body: &Value) {
    let request = Request::post("/v1/webhooks/resend")
        .header("content-type", "application/json")
        .header("svix-id", id)
        .body(Body::from(body.to_string()));
    assert_eq!(server.request(request.unwrap()).await.status, 200);
}

fn click(message: &str, at: &str, agent: &str, link: &str) -> Value {
    json!({ "type": "email.clicked", "created_at": at, "data": {
        "email_id": message, "created_at": at, "to": ["ann@example.com"], "from": "x", "subject": "y",
        "click": { "link": link, "timestamp": at, "userAgent": agent, "ipAddress": "192.0.2.7" } } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_saw_is_judged_too() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    let id = server.text("SELECT message_id FROM email_sends").await;
    let at = "2026-03-02T09:00:30Z";
    let own = format!("{BASE}{}", mail.links[0]);
    for (n, agent, link) in [
        (1, "Mimecast", "https://shop.test/plain"),
        // It rewrote our own link as well, which sees the click itself.
        (2, FIREFOX, own.as_str()),
    ] {
        webhook(&server, &format!("msg_{n}"), &click(&id, at, agent, link)).await;
    }
    later(&server).await;
    assert_eq!(recorded(&server).await, "clicked scanner, clicked repeat");
    assert_eq!(told(&server).await, "");
    let body = click(&id, at, FIREFOX, "https://shop.test/plain");
    for _ in 0..2 {
        webhook(&server, "msg_3", &body).await;
    }
    judged(&server).await;
    assert_eq!(told(&server).await, "email.clicked");
    assert_eq!(
        server
            .text("SELECT current_node_id FROM journey_states")
            .await,
        "clicked https://shop.test/plain"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_never_judge_one_click_twice() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    later(&server).await;
    for _ in 0..12 {
        visit(&server, &mail.links[0]).await;
        visit(&server, &mail.image).await;
    }
    server.clock.advance(Duration::from_secs(5));
    let workers = (0..4).map(|_| {
        let app = server.app.clone();
        tokio::spawn(async move { worker::track_due(&app).await.unwrap() })
    });
    let mut judged = 0;
    for worker in workers.collect::<Vec<_>>() {
        judged += worker.await.unwrap();
    }
    assert_eq!(judged, 24);
    let events = "SELECT count(*) FROM user_events WHERE name IN ('email.clicked', 'email.opened')";
    assert_eq!(server.count(events).await, 24);
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_events WHERE settle_at IS NOT NULL")
            .await,
        0
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_waits_until_its_mail_is_recorded_as_sent() {
    let resend = Resend::start().await;
    for _ in 0..3 {
        resend.next(Mood::AcceptAndGarble);
    }
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    // Ann has the mail, though the answer was lost on the way.
    server.clock.advance(Duration::from_secs(4));
    visit(&server, &mail.links[0]).await;
    server.clock.advance(Duration::from_secs(5));
    assert_eq!(worker::track_due(&server.app).await.unwrap(), 1);
    assert_eq!(recorded(&server).await, "clicked open");
    for _ in 0..8 {
        later(&server).await;
    }
    assert_eq!(resend.accepted().len(), 1);
    assert_eq!(recorded(&server).await, "clicked person");
    assert_eq!(told(&server).await, "email.clicked");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_never_left_is_read_by_nobody() {
    let resend = Resend::start().await;
    // It is nine o'clock.
    let server = delivery::server(&resend, &[("EMAIL_SEND_WINDOW", "18:00-20:00")]).await;
    let mail = sent(&server).await;
    visit(&server, &mail.image).await;
    for _ in 0..11 {
        later(&server).await;
    }
    assert_eq!(recorded(&server).await, "opened unsent");
    assert_eq!(
        server.text("SELECT status FROM email_sends").await,
        "queued"
    );
    server.advance(Duration::from_secs(10 * 3_600)).await;
    assert_eq!(resend.accepted().len(), 1, "the mail still goes out");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_the_image_is_there_and_the_link_says_so() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    server.app.db.close().await;
    let answer = visit(&server, &mail.links[0]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("try again in a minute"));
    let answer = visit(&server, &mail.image).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 43));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_persons_links_are_gone() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    later(&server).await;
    visit(&server, &mail.links[0]).await;
    let now = server.now();
    let erase = async |mut tx: Tx| {
        hogsend::contacts::erase_in(&server.app, &mut tx, Some("ann"), None, now).await?;
        db::Result::Ok((tx, ()))
    };
    server.app.db.transact(erase).await.unwrap();
    judged(&server).await;
    assert_eq!(server.count("SELECT count(*) FROM email_events").await, 0);
    assert_eq!(
        visit(&server, &mail.links[0]).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(visit(&server, &mail.image).await.status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fetches_without_end_leaves_a_number_and_the_first_visit() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[]).await;
    let mail = sent(&server).await;
    let rows = async |kind: &str| {
        let mut conn = server.app.db.conn().await.unwrap();
        let (kept, first): (i64, Option<chrono::DateTime<chrono::Utc>>) =
            sqlx::query_as("SELECT count(*), min(occurred_at) FROM email_events WHERE kind = $1")
                .bind(kind)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        let further: Option<i64> =
            sqlx::query_scalar("SELECT sum(count)::bigint FROM further_visits WHERE kind = $1")
                .bind(kind)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        (kept, further.unwrap_or(0), first)
    };
    let began = server.now();
    for (path, kind) in [(&mail.image, "opened"), (&mail.links[0], "clicked")] {
        for _ in 0..300 {
            let answer = visit(&server, path).await;
            assert!(answer.status.is_success() || answer.status.is_redirection());
        }
        assert_eq!(rows(kind).await, (20, 280, Some(began)), "{kind}");
    }
    // Another link of the mail is counted for itself.
    visit(&server, &mail.links[1]).await;
    assert_eq!(rows("clicked").await, (21, 280, Some(began)));
    // A later visit may be a person's: one of them is kept each ten minutes.
    server.clock.advance(Duration::from_secs(601));
    for _ in 0..5 {
        visit(&server, &mail.links[0]).await;
        visit(&server, &mail.image).await;
    }
    assert_eq!(rows("clicked").await, (22, 284, Some(began)));
    assert_eq!(rows("opened").await, (21, 284, Some(began)));
    // For weeks, and it stays bounded.
    for _ in 0..300 {
        server.clock.advance(Duration::from_secs(601));
        visit(&server, &mail.image).await;
    }
    let (kept, further, _) = rows("opened").await;
    assert_eq!((kept, kept + further), (200, 605));
    server.stop().await;
}
