//! A PostHog event becomes a mail, through plugins.

use std::time::Duration;

use axum::http::StatusCode;
use mail_parser::{MessageParser, MimeHeaders as _};

use crate::on_each_store;
use crate::support::{Server, posthog};

const DAY: Duration = Duration::from_secs(86_400);

on_each_store! {
    /// The promise of the first page of the README.
    async fn a_posthog_webhook_becomes_a_welcome_mail_and_one_parked_run(server: Server) {
        let mut body = posthog("0190-a", "user.created", "u-1", "ann@example.com", "Ann");
        body["event"]["timestamp"] = "2026-03-02T08:59:58.500000Z".into();
        let answer = server.post("/v1/webhooks/posthog", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["ok"], true);
        assert_eq!(answer.json()["event"], "user.created");
        assert_eq!(answer.json()["userId"], "u-1");
        server.drain().await;

        let sent = server.count("SELECT count(*) FROM email_sends WHERE status = 'sent' AND template_key = 'welcome'").await;
        assert_eq!(sent, 1);
        // The mail is a file any mail program reads.
        let folder = server.app.config.data_dir.join("outbox");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(files.len(), 1);
        let bytes = std::fs::read(files[0].path()).unwrap();
        let mail = MessageParser::default().parse(&bytes).unwrap();
        assert_eq!(mail.to().unwrap().first().unwrap().address(), Some("ann@example.com"));
        let from = mail.from().unwrap().first().unwrap();
        assert_eq!((from.name(), from.address()), (Some("Acme"), Some("hello@acme.test")));
        let html = mail.body_html(0).unwrap();
        let text = mail.body_text(0).unwrap();
        for part in [&html, &text] {
            assert!(part.contains("Ann"), "{part}");
            assert!(part.contains("1 Main Street"), "{part}");
            assert!(!part.contains("{{"), "{part}");
        }
        assert!(mail.text_part(0).unwrap().content_type().is_some_and(|kind| kind.subtype() == Some("plain")));
        let link = mail.header_raw("List-Unsubscribe").unwrap().trim().to_owned();
        let link = link.replace(['\r', '\n', ' ', '\t'], "");
        let url = link.trim_start_matches('<').trim_end_matches('>');
        assert!(url.starts_with("http://localhost:3002/v1/email/unsubscribe?token="), "{url}");
        assert_eq!(mail.header_raw("List-Unsubscribe-Post").unwrap().trim(), "List-Unsubscribe=One-Click");
        assert!(html.contains("/v1/email/unsubscribe?token="));

        // The person waits as one row, two days away, and nothing else is due.
        let parked = server.count("SELECT count(*) FROM journey_states WHERE status = 'waiting'").await;
        assert_eq!(parked, 1);
        let wait = server.count("SELECT extract(epoch FROM wake_at - created_at)::bigint FROM journey_states").await;
        assert_eq!(wait, 2 * 86_400);
        assert!(server.text("SELECT properties->>'first_name' FROM contacts").await == "Ann");
        // The event keeps its own time, and the contact's properties stay off it.
        assert_eq!(server.text("SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS.MS') FROM user_events WHERE name = 'user.created'").await, "08:59:58.500");
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE properties ? 'email'").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn the_same_webhook_again_changes_nothing(server: Server) {
        let body = posthog("0190-b", "user.created", "u-1", "ann@example.com", "Ann");
        server.post("/v1/webhooks/posthog", &body).await;
        server.drain().await;
        let before = everything(&server).await;
        let again = posthog("0190-b", "user.created", "u-1", "other@example.com", "Changed");
        let answer = server.post("/v1/webhooks/posthog", &again).await;
        assert_eq!(answer.status, StatusCode::OK);
        server.drain().await;
        assert_eq!(everything(&server).await, before);
        server.stop().await;
    }
}

async fn everything(server: &Server) -> (i64, i64, i64, String, String) {
    (
        server.count("SELECT count(*) FROM user_events").await,
        server.count("SELECT count(*) FROM journey_states").await,
        server.count("SELECT count(*) FROM email_sends").await,
        server.text("SELECT email FROM contacts").await,
        server
            .text("SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM contacts c")
            .await,
    )
}

on_each_store! {
    async fn after_two_days_whoever_did_nothing_is_nudged_and_whoever_was_active_is_not(server: Server) {
        server.post("/v1/webhooks/posthog", &posthog("1", "user.created", "idle", "idle@example.com", "Ida")).await;
        server.post("/v1/webhooks/posthog", &posthog("2", "user.created", "busy", "busy@example.com", "Bea")).await;
        server.drain().await;
        server.advance(DAY).await;
        server.post("/v1/webhooks/posthog", &posthog("3", "feature.used", "busy", "busy@example.com", "Bea")).await;
        server.drain().await;
        assert_eq!(server.count("SELECT count(*) FROM email_sends WHERE template_key = 'activation-nudge'").await, 0);
        server.advance(DAY).await;
        assert_eq!(server.text("SELECT string_agg(to_email, ',') FROM email_sends WHERE template_key = 'activation-nudge' AND status = 'sent'").await, "idle@example.com");
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE status = 'completed' AND journey_id = 'activation-welcome'").await, 2);
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name = 'journey.completed'").await, 2);
        server.stop().await;
    }
}

on_each_store! {
    async fn test_signup_runs_its_chain_to_completed(server: Server) {
        for (user, plan) in [("p", "pro"), ("f", "free")] {
            let body = serde_json::json!({ "event": "test.signup", "userId": user, "properties": { "plan": plan } });
            let answer = server.post("/v1/ingest", &body).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        }
        server.drain().await;
        assert_eq!(
            server.text("SELECT string_agg(e.name, ' ' ORDER BY e.received_at, e.id) FROM user_events e JOIN contacts c ON c.id = e.contact_id WHERE c.external_id = 'p'").await,
            "test.signup journey.welcome_fired journey.completed"
        );
        assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE journey_id = 'test-onboarding' AND status = 'completed'").await, 2);
        assert_eq!(server.text("SELECT string_agg(s.args->>'label', ',' ORDER BY s.args->>'label') FROM journey_steps s WHERE kind = 'checkpoint'").await, "free-path,pro-path");
        assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn the_outbox_page_shows_the_mail(server: Server) {
        server.post("/v1/webhooks/posthog", &posthog("0190-c", "user.created", "u-1", "ann@example.com", "<i>Ann</i>")).await;
        server.drain().await;
        let list = server.get("/outbox").await;
        assert_eq!(list.status, StatusCode::OK);
        assert!(list.text().contains("ann@example.com"));
        let id = server.text("SELECT id::text FROM email_sends").await;
        let mail = server.get(&format!("/outbox/{id}")).await.text();
        assert!(mail.contains("List-Unsubscribe") && !mail.contains("<i>Ann</i>"), "{mail}");
        let html = server.get(&format!("/outbox/{id}/html")).await;
        assert!(html.text().contains("Welcome") && !html.text().contains("Ann&lt;"), "that is no name");
        assert!(html.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
        let raw = server.get(&format!("/outbox/{id}/raw")).await;
        assert!(MessageParser::default().parse(&raw.body).is_some());
        assert_eq!(server.get("/outbox/00000000-0000-0000-0000-000000000000").await.status, StatusCode::NOT_FOUND);
        server.stop().await;
    }
}
