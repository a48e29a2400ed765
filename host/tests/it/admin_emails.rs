//! The ledger as administrators see it.

use axum::http::Method;
use serde_json::json;

use crate::delivery::server;
use crate::support::resend::{Mood, Resend};
use crate::support::{Answer, Server};

const KEY: &str = "an-admin-key-of-tests";

async fn get(server: &Server, path: &str) -> Answer {
    server.call(Method::GET, path, KEY, None).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_shows_its_whole_history_and_can_be_sent_again() {
    let resend = Resend::start().await;
    resend.next(Mood::Refuse(503, "application_error"));
    let server = server(&resend, &[("ADMIN_API_KEY", KEY)]).await;
    let body = json!({ "event": "t.await-click", "userId": "ann", "userEmail": "ann@example.com" });
    assert_eq!(
        server
            .call(Method::POST, "/v1/ingest", KEY, Some(&body))
            .await
            .status,
        202
    );
    server.drain().await;
    server.advance(std::time::Duration::from_secs(60)).await;

    let list = get(&server, "/v1/admin/emails?status=sent&to=ANN@example.com").await;
    let list = list.json();
    assert_eq!(
        (&list["total"], &list["limit"], &list["offset"]),
        (&json!(1), &json!(50), &json!(0))
    );
    let id = list["emails"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list["emails"][0]["toEmail"], "ann@example.com");
    let bad = get(&server, "/v1/admin/emails?status=lost").await;
    assert_eq!(
        (
            bad.status.as_u16(),
            &bad.json()["error"]["issues"][0]["path"]
        ),
        (400, &json!("status"))
    );

    let one = get(&server, &format!("/v1/admin/emails/{id}")).await.json();
    let email = &one["email"];
    assert_eq!(email["status"], "sent");
    assert_eq!(email["attempts"], 2);
    assert_eq!(email["journey"]["id"], "t-await-click");
    let history = email["history"].as_array().unwrap();
    let ends: Vec<_> = history
        .iter()
        .map(|one| one["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(ends, ["retry", "accepted"]);
    assert!(
        history[0]["reason"].as_str().unwrap().contains("503"),
        "{one}"
    );

    let path = format!("/v1/admin/emails/{id}/resend");
    let again = server.call(Method::POST, &path, KEY, None).await;
    assert_eq!(again.status, 202, "{}", again.text());
    assert_ne!(again.json()["emailSendId"], id.as_str());
    server.advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(resend.accepted().len(), 2);
    assert_ne!(resend.seen()[1].key, resend.seen()[2].key);
    // The new mail is counted separately.
    let anew = again.json()["emailSendId"].as_str().unwrap().to_owned();
    let html = resend.accepted()[1].1["html"].as_str().unwrap().to_owned();
    assert!(html.contains(&format!("/v1/t/o/{anew}")), "{html}");
    assert!(!html.contains(&id), "{html}");
    let story = get(&server, &format!("/v1/admin/emails/{anew}"))
        .await
        .json();
    let (old, new) = (&email["trackedLinks"], &story["email"]["trackedLinks"]);
    assert_eq!(old[0]["originalUrl"], new[0]["originalUrl"]);
    assert_ne!(old[0]["id"], new[0]["id"]);
    let link = new[0]["id"].as_str().unwrap();
    assert!(html.contains(&format!("/v1/t/c/{link}\"")), "{html}");
    assert_eq!(server.get(&format!("/v1/t/c/{link}")).await.status, 302);
    let audit = get(&server, "/v1/admin/audit-logs?action=email.resend")
        .await
        .json();
    assert_eq!(audit["total"], 1);
    for unknown in ["nonsense", "01890000-0000-7000-8000-000000000000"] {
        let answer = get(&server, &format!("/v1/admin/emails/{unknown}")).await;
        assert_eq!(answer.status, 404, "{unknown}");
    }
    assert_eq!(server.get("/v1/admin/emails").await.status, 401);
    server.stop().await;
}
