//! Journeys, runs, templates and plugins as administrators see and change them.

use axum::http::Method;
use serde_json::json;

use crate::support::admin::{KEY, call, get, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_is_switched_off_and_on_and_people_enter_it_by_hand() {
    let server = server().await;
    let list = get(&server, "/journeys?limit=1&offset=1").await.json();
    assert_eq!(list["journeys"].as_array().unwrap().len(), 1);
    assert!(list["total"].as_i64().unwrap() > 1);
    let off = call(
        &server,
        Method::PATCH,
        "/journeys/t-slow",
        json!({ "enabled": false }),
    )
    .await;
    assert_eq!(off.json()["journey"]["enabled"], false, "{}", off.text());
    let ann =
        json!({ "userId": "ann", "userEmail": "ann@example.com", "properties": { "plan": "pro" } });
    let refused = call(
        &server,
        Method::POST,
        "/journeys/t-slow/enroll",
        ann.clone(),
    )
    .await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()),
        (
            202,
            json!({ "enrolled": false, "reason": "journey_disabled_by_admin" })
        )
    );
    call(
        &server,
        Method::PATCH,
        "/journeys/t-slow",
        json!({ "enabled": true }),
    )
    .await;
    let entered = call(
        &server,
        Method::POST,
        "/journeys/t-slow/enroll",
        ann.clone(),
    )
    .await
    .json();
    assert_eq!(entered["enrolled"], true);
    let again = call(&server, Method::POST, "/journeys/t-slow/enroll", ann)
        .await
        .json();
    assert_eq!(
        again,
        json!({ "enrolled": false, "reason": "already_active" })
    );
    // It triggers no other journey, and no event is stored.
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
    assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 1);
    server.drain().await;

    let one = get(&server, "/journeys/t-slow").await.json()["journey"].clone();
    assert_eq!(
        (
            &one["counts"]["waiting"],
            &one["skips"]["already_active"],
            &one["skips"]["journey_disabled_by_admin"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(one["trigger"]["event"], "t.slow");
    assert_eq!(one["recentStates"][0]["userEmail"], "ann@example.com");
    let id = entered["stateId"].as_str().unwrap();
    let states = get(&server, "/journeys/t-slow/states?status=waiting")
        .await
        .json();
    assert_eq!(
        (
            &states["total"],
            &states["states"][0]["id"],
            &states["states"][0]["context"]
        ),
        (&json!(1), &json!(id), &json!({ "plan": "pro" }))
    );
    for (path, status) in [
        ("/journeys/t-slow/states?status=x", 400),
        ("/journeys/nope/states", 404),
        ("/journeys/nope", 404),
        ("/journey-logs/nope", 404),
    ] {
        assert_eq!(get(&server, path).await.status, status, "{path}");
    }
    let elsewhere = format!("/journeys/t-mail/states/{id}");
    assert_eq!(get(&server, &elsewhere).await.status, 404);

    let path = format!("/journeys/t-slow/states/{id}");
    let cancelled = server
        .call(Method::DELETE, &format!("/v1/admin{path}"), KEY, None)
        .await;
    assert_eq!(cancelled.json()["state"]["status"], "exited");
    let twice = server
        .call(Method::DELETE, &format!("/v1/admin{path}"), KEY, None)
        .await;
    assert_eq!(twice.status, 409);
    let shown = get(&server, &path).await.json();
    let actions: Vec<_> = shown["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| log["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        (
            actions.first().unwrap().as_str(),
            actions.last().unwrap().as_str()
        ),
        ("enrolled", "admin_exit")
    );
    let logs = get(&server, &format!("/journey-logs/{id}")).await.json();
    assert_eq!(logs["logs"], shown["logs"]);
    assert_eq!(logs["total"], json!(actions.len()));
    assert_eq!(logs["offset"], 0);
    let audit = get(&server, "/audit-logs").await.json();
    let rows: Vec<_> = audit["auditLogs"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|row| row["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        rows,
        [
            "journey.update",
            "contact.create",
            "journey.update",
            "journey.enroll",
            "journey_state.cancel"
        ]
    );
    assert_eq!(
        call(&server, Method::PATCH, "/journeys/t-slow", json!({}))
            .await
            .status,
        400
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_enter_at_once_or_none_where_one_of_them_is_wrong() {
    let server = server().await;
    let users = |n: usize| {
        (0..n)
            .map(|n| json!({ "userId": format!("u{n}"), "userEmail": format!("u{n}@example.com") }))
            .collect::<Vec<_>>()
    };
    let path = "/journeys/t-slow/enroll/batch";
    for users in [
        vec![],
        users(501),
        [users(2), vec![json!({ "properties": {} })]].concat(),
        vec![json!({ "userEmail": "nonsense" })],
    ] {
        let answer = call(&server, Method::POST, path, json!({ "users": users })).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 0);
    let twice = [users(30), users(1)].concat();
    let answer = call(&server, Method::POST, path, json!({ "users": twice })).await;
    let results = answer.json()["results"].clone();
    let entered = results
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["enrolled"] == true)
        .count();
    assert_eq!(
        (entered, results[30]["reason"].as_str().unwrap()),
        (30, "already_active")
    );
    assert_eq!(
        server.count("SELECT count(*) FROM journey_states").await,
        30
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_enter_in_few_transactions_and_a_refusal_affects_nobody_else() {
    let server = server().await;
    let user =
        |n: usize| json!({ "userId": format!("u{n}"), "userEmail": format!("u{n}@example.com") });
    let one = "/journeys/t-slow/enroll";
    let inside = call(&server, Method::POST, one, user(7)).await.json();
    let body = json!({ "userId": "u9", "email": "u9@example.com" });
    let put = server.call(Method::PUT, "/v1/contacts", KEY, Some(&body));
    assert_eq!(put.await.status, 200);
    let off = json!({ "unsubscribedAll": true });
    let left = call(&server, Method::PUT, "/contacts/u9/preferences", off).await;
    assert_eq!(left.status, 200, "{}", left.text());

    // The third one is repeated, once in the same transaction and once in a later one.
    let mut users: Vec<_> = (0..120).map(user).collect();
    users[20] = user(3);
    users[110] = json!({ "userEmail": "U3@example.com" });
    let path = "/journeys/t-slow/enroll/batch";
    let answer = call(&server, Method::POST, path, json!({ "users": users })).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let results = answer.json()["results"].clone();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 120);
    let mut conn = server.app.db.conn().await.unwrap();
    for (n, result) in results.iter().enumerate() {
        let reason = match n {
            7 | 20 | 110 => Some("already_active"),
            9 => Some("user_unsubscribed"),
            _ => None,
        };
        if let Some(reason) = reason {
            assert_eq!(
                *result,
                json!({ "enrolled": false, "reason": reason }),
                "{n}"
            );
            continue;
        }
        assert_eq!(result["enrolled"], true, "{n}");
        let id: uuid::Uuid = result["stateId"].as_str().unwrap().parse().unwrap();
        assert_ne!(inside["stateId"], result["stateId"]);
        let whose: String = sqlx::query_scalar(
            "SELECT c.external_id FROM contacts c JOIN journey_states s ON s.contact_id = c.id WHERE s.id = $1",
        )
        .bind(id)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        assert_eq!(whose, format!("u{n}"));
    }
    drop(conn);
    let audits = "SELECT count(*) FROM audit_logs WHERE action = 'journey.enroll'";
    assert_eq!(server.count(audits).await, 117);
    // One run of the person who was in it already, and three of the 120.
    let transactions = "SELECT count(DISTINCT xmin::text) FROM journey_states";
    assert_eq!(server.count(transactions).await, 4);
    let skips = "SELECT count(*) FROM enrolment_skips";
    assert_eq!(server.count(skips).await, 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_are_shown_previewed_and_sent_as_a_test() {
    let server = server().await;
    let list = get(&server, "/templates").await.json();
    let keys: Vec<_> = list["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap().to_owned())
        .collect();
    assert!(keys.contains(&"welcome".to_owned()), "{keys:?}");
    for key in &keys {
        let shown = get(&server, &format!("/templates/{key}/preview?props=%7B%22url%22%3A%22https%3A%2F%2Facme.test%2Fgo%22%7D")).await;
        assert_eq!(shown.status, 200, "{key}: {}", shown.text());
        let template = shown.json()["template"].clone();
        for part in ["subject", "html", "text"] {
            assert!(
                !template[part].as_str().unwrap().trim().is_empty(),
                "{key} has no {part}"
            );
        }
    }
    let reset = get(&server, "/templates/password-reset/preview?props=%7B%22url%22%3A%22https%3A%2F%2Facme.test%2Fgo%22%7D").await.json();
    assert!(
        reset["template"]["html"]
            .as_str()
            .unwrap()
            .contains("https://acme.test/go")
    );
    assert_eq!(
        get(&server, "/templates/welcome/preview?props=[1]")
            .await
            .status,
        400
    );
    assert_eq!(get(&server, "/templates/nope/preview").await.status, 404);
    let sent = call(
        &server,
        Method::POST,
        "/templates/welcome/send-test",
        json!({ "to": "ann@example.com" }),
    )
    .await;
    assert_eq!(
        (sent.status.as_u16(), &sent.json()["status"]),
        (202, &json!("queued"))
    );
    server.drain().await;
    assert_eq!(
        server
            .text("SELECT status || ' ' || to_email FROM email_sends")
            .await,
        "sent ann@example.com"
    );
    for body in [json!({}), json!({ "to": "x" })] {
        assert_eq!(
            call(&server, Method::POST, "/templates/welcome/send-test", body)
                .await
                .status,
            400
        );
    }
    let plugins = get(&server, "/plugins").await.json();
    assert!(
        plugins["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["id"] == "resend")
    );
    server.stop().await;
}
