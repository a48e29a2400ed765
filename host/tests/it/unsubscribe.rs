//! Leaving by the link in a mail.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use crate::on_each_store;
use crate::support::{Server, posthog};

async fn link(server: &Server) -> String {
    server
        .post(
            "/v1/webhooks/posthog",
            &posthog("1", "user.created", "u-1", "ann@example.com", "Ann"),
        )
        .await;
    server.drain().await;
    let header = "SELECT h->>1 FROM email_sends, jsonb_array_elements(mail->'headers') h WHERE h->>0 = 'List-Unsubscribe'";
    let url = server.text(header).await;
    let url = url.trim_matches(['<', '>']).to_owned();
    url.strip_prefix("http://localhost:3002")
        .unwrap()
        .to_owned()
}

on_each_store! {
    async fn opening_the_link_changes_nothing_and_one_post_unsubscribes(server: Server) {
        let link = link(&server).await;
        let page = server.get(&link).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text().contains("<form method=\"post\""));
        assert!(!page.text().contains("<script"));
        assert_eq!(server.count("SELECT count(*) FROM email_preferences").await, 0);
        let head = server.request(Request::head(&link).body(Body::empty()).unwrap()).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(server.count("SELECT count(*) FROM email_preferences").await, 0);

        for (kind, body) in [
            ("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click".to_owned()),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n".to_owned()),
            ("text/plain", String::new()),
        ] {
            server.run_sql("DELETE FROM email_preferences").await;
            let request = Request::post(&link).header(header::CONTENT_TYPE, kind).body(Body::from(body));
            let answer = server.request(request.unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK, "{kind}");
            assert!(answer.headers.get(header::SET_COOKIE).is_none());
            assert_eq!(server.text("SELECT categories::text FROM email_preferences").await, r#"{"journey": false}"#);
        }
        // The next mail of that category is not sent.
        server.advance(std::time::Duration::from_secs(3 * 86_400)).await;
        assert_eq!(server.text("SELECT reason FROM email_sends WHERE template_key = 'activation-nudge'").await, "user_unsubscribed");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_tampered_or_missing_token_is_refused(server: Server) {
        let link = link(&server).await;
        let (body, signature) = link.rsplit_once('.').unwrap();
        let other = format!("{body}.{}", signature.chars().rev().collect::<String>());
        let path = "/v1/email/unsubscribe";
        for bad in [other, body.to_owned(), path.into(), format!("{path}?token=%00"), format!("{link}x"),
                    format!("{path}?token=x&token=y"), format!("{path}?%=&token&%ff=%fe")] {
            let posted = server.request(Request::post(&bad).body(Body::empty()).unwrap()).await;
            for answer in [posted, server.get(&bad).await] {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
                assert_eq!(answer.headers[header::CONTENT_TYPE], "text/html; charset=utf-8", "{bad}");
            }
        }
        let choices = server.get("/v1/email/preferences?token=x&token=y").await;
        assert_eq!(choices.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(server.count("SELECT count(*) FROM email_preferences").await, 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn while_the_database_fails_a_recipient_reads_a_page(server: Server) {
        let link = link(&server).await;
        server.run_sql("ALTER TABLE contacts RENAME TO contacts_away").await;
        let answer = server.get(&link).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(answer.text().contains("This link does not work right now"), "{}", answer.text());
        server.run_sql("ALTER TABLE contacts_away RENAME TO contacts").await;
        assert_eq!(server.get(&link).await.status, StatusCode::OK);
        server.stop().await;
    }
}
