//! Lists and reports: narrowed to one person, planned for what they are asked, bounded in time.

use axum::http::{Method, StatusCode};
use axum::response::IntoResponse as _;
use hogsend::db::{self, EventFilter};
use hogsend::http::ApiError;
use serde_json::{Value, json};

use crate::delivery::server;
use crate::support::admin::KEY;
use crate::support::resend::Resend;
use crate::support::{Server, Store, admin};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_mails_and_runs_are_found_by_the_products_id_of_a_person() {
    let resend = Resend::start().await;
    let server = server(&resend, &[("ADMIN_API_KEY", KEY)]).await;
    for user in ["ann", "bob", "bob's \"%_\\ friend"] {
        let email = format!("{}@example.com", &user[..3]);
        let body = json!({ "event": "t.mail", "userId": user, "userEmail": email });
        let answer = server
            .call(Method::POST, "/v1/ingest", KEY, Some(&body))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    server.drain().await;
    let find = async |list: &str, user: &str| -> (i64, Vec<Value>) {
        let mut url = reqwest::Url::parse("http://host").unwrap();
        url.set_path(list);
        url.query_pairs_mut().append_pair("userId", user);
        let path = format!("/{list}?{}", url.query().unwrap());
        let body = admin::get(&server, &path).await.json();
        let plural = list.rsplit('/').next().unwrap();
        let rows = body[plural].as_array().unwrap().clone();
        (body["total"].as_i64().unwrap(), rows)
    };
    for user in ["ann", "bob's \"%_\\ friend"] {
        let (total, events) = find("events", user).await;
        assert!(total > 0 && events.iter().all(|event| event["userId"] == user));
        let (total, emails) = find("emails", user).await;
        assert_eq!((total, emails.len()), (1, 1));
        let address = format!("{}@example.com", &user[..3]);
        assert_eq!(emails[0]["toEmail"], address.as_str());
        let (total, states) = find("journeys/t-mail/states", user).await;
        assert_eq!((total, states.len()), (1, 1));
        assert_eq!(states[0]["userId"], user);
    }
    for list in ["events", "emails", "journeys/t-mail/states"] {
        assert_eq!(find(list, "nobody").await, (0, vec![]), "{list}");
        assert_eq!(find(list, "").await, (0, vec![]), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_sees_one_state_is_planned_for_its_values_and_ends_in_time() {
    let server = Server::start(Store::native().await).await;
    let send = async |user: &str| {
        let body = json!({ "event": "page.viewed", "userId": user });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    };
    send("ann").await;
    let mut report = server.app.db.report().await.unwrap();
    let filter = EventFilter::default();
    // After five times Postgres would choose between this and a plan for any values.
    for round in 0..8 {
        let rows = db::event_stories(&mut report, &filter, 50, 0)
            .await
            .unwrap();
        assert_eq!(rows.len(), 1, "round {round}");
        send(&format!("user-{round}")).await;
    }
    let plans: (i64, i64) = sqlx::query_as(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements
         WHERE statement LIKE '%FROM user_events e LEFT JOIN%' AND parameter_types <> '{}'",
    )
    .fetch_one(&mut *report)
    .await
    .unwrap();
    assert_eq!(plans, (0, 8));
    let refused = sqlx::query("DELETE FROM user_events")
        .execute(&mut *report)
        .await
        .unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap();
    assert_eq!(code, "25006", "read-only transaction");
    drop(report);

    let mut report = server.app.db.report().await.unwrap();
    let bound: String = sqlx::query_scalar("SHOW statement_timeout")
        .fetch_one(&mut *report)
        .await
        .unwrap();
    assert_eq!(bound, "25s");
    sqlx::query("SET LOCAL statement_timeout = '20ms'")
        .execute(&mut *report)
        .await
        .unwrap();
    let overdue = sqlx::query("SELECT pg_sleep(600)")
        .execute(&mut *report)
        .await
        .unwrap_err();
    let answer = ApiError::from(overdue).into_response();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "60");
    let body = axum::body::to_bytes(answer.into_body(), 1_000)
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&body).contains("took too long"));
    drop(report);
    // What a report set, it set for itself.
    assert_eq!(server.text("SHOW statement_timeout").await, "1min");
    server.stop().await;
}
