//! The preference centre: unsubscribing and subscribing again.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use crate::on_each_store;
use crate::support::{Answer, Server};

/// The unsubscribe link and the preferences link of a welcome mail.
async fn links(server: &Server) -> (String, String) {
    let body = json!({ "event": "user.created", "userId": "ann", "userEmail": "ann@example.com" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
    let text = server.text("SELECT mail->>'text' FROM email_sends").await;
    let path = |name: &str| {
        let at = text.find(&format!("/v1/email/{name}?token=")).unwrap();
        let link = text[at..].split_whitespace().next().unwrap();
        link.to_owned()
    };
    (path("unsubscribe"), path("preferences"))
}

async fn post(server: &Server, path: &str, kind: &str, body: &str) -> Answer {
    let request = Request::post(path).header(header::CONTENT_TYPE, kind);
    let answer = server
        .request(request.body(Body::from(body.to_owned())).unwrap())
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer
}

const FORM: &str = "application/x-www-form-urlencoded";
const PREFERENCES: &str = "SELECT unsubscribed_all || ' ' || categories FROM email_preferences";
const LEFT: &str = "SELECT string_agg(properties::text, ' ' ORDER BY id) FROM user_events WHERE name = 'email.unsubscribed'";

on_each_store! {
    async fn a_person_chooses_category_by_category(server: Server) {
        let (_, link) = links(&server).await;
        let page = server.get(&link).await;
        assert_eq!(page.status, StatusCode::OK);
        let html = page.text();
        assert!(!html.contains("<script") && html.contains("ann@example.com"), "{html}");
        assert!(html.contains(r#"value="journey" checked"#) && !html.contains("transactional"), "{html}");
        let head = server.request(Request::head(&link).body(Body::empty()).unwrap()).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(server.count("SELECT count(*) FROM email_preferences").await, 0);

        // With nothing ticked, every category is left, and each is reported once.
        let page = post(&server, &link, FORM, "x=1").await;
        assert!(page.text().contains("Saved") && !page.text().contains(" checked"), "{}", page.text());
        let left = server.text(LEFT).await;
        assert!(left.contains(r#""category": "journey""#), "{left}");
        post(&server, &link, FORM, "x=1").await;
        assert_eq!(server.text(LEFT).await, left);

        let multipart = "--b\r\nContent-Disposition: form-data; name=\"category\"\r\n\r\njourney\r\n--b--\r\n";
        let page = post(&server, &link, "multipart/form-data; boundary=b", multipart).await;
        assert!(page.text().contains(r#"value="journey" checked"#), "{}", page.text());
        server.stop().await;
    }
}

on_each_store! {
    async fn a_person_leaves_everything_and_comes_back(server: Server) {
        let (_, link) = links(&server).await;
        let page = post(&server, &link, FORM, "all=unsubscribe").await;
        assert!(page.text().contains("unsubscribed from everything"));
        assert_eq!(server.text(PREFERENCES).await, "true {}");
        assert_eq!(server.text(LEFT).await, r#"{"all": true}"#);
        let page = post(&server, &link, FORM, "all=resubscribe").await;
        assert!(!page.text().contains("unsubscribed from everything"));
        assert_eq!(server.text(PREFERENCES).await, "false {}");
        // After unsubscribing from everything, ticking a category subscribes to it again.
        post(&server, &link, FORM, "all=unsubscribe").await;
        post(&server, &link, FORM, "category=journey").await;
        assert!(server.text(PREFERENCES).await.starts_with("false "));
        server.stop().await;
    }
}

on_each_store! {
    async fn unsubscribing_can_be_undone_and_leaves_transactional_mail_alone(server: Server) {
        let (link, manage) = links(&server).await;
        let page = post(&server, &link, FORM, "List-Unsubscribe=One-Click").await.text();
        assert_eq!(server.text(PREFERENCES).await, r#"false {"journey": false}"#);
        for event in ["t.mail", "t.receipt"] {
            let body = json!({ "event": event, "userId": "ann" });
            assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
            server.drain().await;
        }
        let fates = "SELECT string_agg(category || ' ' || status, ', ' ORDER BY category) FROM email_sends WHERE template_key = 't-plain'";
        // Only the transactional journey starts for this contact.
        assert_eq!(server.text(fates).await, "transactional sent");
        let headers = server.text("SELECT mail->>'headers' FROM email_sends WHERE category = 'transactional'").await;
        assert!(!headers.contains("List-"), "{headers}");

        let undo = page.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
        let undo = format!("/v1/email/unsubscribe{undo}");
        let asked = server.get(&undo).await;
        assert!(asked.text().contains("Subscribe again?"));
        post(&server, &undo, FORM, "").await;
        assert_eq!(server.text(PREFERENCES).await, r#"false {"journey": true}"#);

        // Each link works for its own page only.
        let token = |link: &str| link.split_once("token=").unwrap().1.to_owned();
        for bad in [
            format!("/v1/email/preferences?token={}", token(&link)),
            format!("/v1/email/unsubscribe?token={}", token(&manage)),
            "/v1/email/preferences".to_owned(),
        ] {
            assert_eq!(server.get(&bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
            let posted = server.request(Request::post(&bad).body(Body::empty()).unwrap()).await;
            assert_eq!(posted.status, StatusCode::BAD_REQUEST, "{bad}");
        }
        server.stop().await;
    }
}
