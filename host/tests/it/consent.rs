//! Consent applies to the mailbox as well as to the contact.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::{Server, Store};

const KEY: &str = "an admin key of tests";
const MAILS: &str = "SELECT count(*) FROM email_sends WHERE template_key = 't-plain' AND status = 'sent' AND category = 'journey'";

async fn mail(server: &Server, user: &str, email: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": email });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

async fn press(server: &Server, path: &str) -> String {
    let request = Request::post(path).body(Body::empty()).unwrap();
    let answer = server.request(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text()
}

/// The path of the one-click link of the first mail.
async fn one_click(server: &Server) -> String {
    let header = "SELECT h->>1 FROM email_sends, jsonb_array_elements(mail->'headers') h WHERE h->>0 = 'List-Unsubscribe' ORDER BY email_sends.id LIMIT 1";
    let url = server.text(header).await;
    let url = url.trim_matches(['<', '>']);
    let (_, token) = url.split_once("token=").unwrap();
    assert!(token.len() <= 200, "{token}");
    url.strip_prefix("http://localhost:3002")
        .unwrap()
        .to_owned()
}

fn undo(page: &str) -> String {
    let action = page.split("action=\"").nth(1).unwrap();
    format!("/v1/email/unsubscribe{}", action.split('"').next().unwrap())
}

on_each_store! {
    async fn one_click_unsubscribes_every_contact_of_the_mailbox_even_later_ones_and_can_be_undone(server: Server) {
        mail(&server, "id-1", "ann@example.com").await;
        assert_eq!(server.count(MAILS).await, 1);
        mail(&server, "id-2", "Ann@Example.com").await;
        assert_eq!(server.count(MAILS).await, 2);
        let page = press(&server, &one_click(&server).await).await;
        assert!(page.contains("You are unsubscribed"), "{page}");
        mail(&server, "id-2", "ann@example.com").await;
        // An account created later, with another spelling of the address.
        mail(&server, "id-3", "ANN@EXAMPLE.COM").await;
        assert_eq!(server.count(MAILS).await, 2);
        let proof = "SELECT count(*) FROM consent_changes WHERE category = 'journey' AND NOT subscribed AND source <> '' AND wording <> ''";
        assert!(server.count(proof).await > 0);

        let page = press(&server, &undo(&page)).await;
        assert!(page.contains("You are subscribed"), "{page}");
        mail(&server, "id-3", "ann@example.com").await;
        assert_eq!(server.count(MAILS).await, 3);
        server.stop().await;
    }
}

on_each_store! {
    async fn undoing_one_category_while_unsubscribed_from_everything_shows_the_stored_state(server: Server) {
        mail(&server, "ann", "ann@example.com").await;
        let page = press(&server, &one_click(&server).await).await;
        let back = undo(&page);
        let manage = page.split("href=\"preferences?token=").nth(1).unwrap();
        let manage = format!("/v1/email/preferences?token={}", manage.split('"').next().unwrap());
        let form = Request::post(&manage).header("content-type", "application/x-www-form-urlencoded");
        let saved = server.request(form.body(Body::from("all=unsubscribe")).unwrap()).await;
        assert_eq!(saved.status, 200);
        let page = press(&server, &back).await;
        assert!(!page.contains("You are subscribed") && page.contains("still unsubscribed"), "{page}");
        let form = Request::post(&manage).header("content-type", "application/x-www-form-urlencoded");
        let saved = server.request(form.body(Body::from("all=resubscribe")).unwrap()).await;
        assert_eq!(saved.status, 200);
        let events = "SELECT count(*) FROM user_events WHERE name = 'email.subscribed'";
        assert!(server.count(events).await > 0);
        server.stop().await;
    }
}

on_each_store! {
    async fn preferences_stored_by_an_older_version_apply_to_the_mailbox(server: Server) {
        mail(&server, "id-1", "ann@example.com").await;
        server.run_sql("INSERT INTO email_preferences (contact_id, unsubscribed_all, categories, updated_at) SELECT id, true, '{}', now() FROM contacts").await;
        // The opt-outs apply both before and after the worker copies them.
        mail(&server, "id-2", "ann@example.com").await;
        assert_eq!(server.count(MAILS).await, 1);
        server.drain().await;
        assert_eq!(server.text("SELECT mailbox FROM mailbox_consents WHERE unsubscribed_all").await, "ann@example.com");
        mail(&server, "id-3", "ann@example.com").await;
        assert_eq!(server.count(MAILS).await, 1);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_leaving_a_list_every_route_needs_consent_to_subscribe_again() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    let call = async |method: Method, path: &str, body: Value| {
        let answer = server.call(method, path, KEY, Some(&body)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
        answer.json()
    };
    let ann = |more: Value| {
        let mut body = json!({ "email": "ann@example.com" });
        body.as_object_mut()
            .unwrap()
            .append(&mut more.as_object().unwrap().clone());
        body
    };
    let join = "/v1/lists/journey/subscribe";
    let leave = "/v1/lists/journey/unsubscribe";
    let lists = json!({ "lists": { "journey": true } });
    let wants = "SELECT categories->>'journey' FROM email_preferences";
    call(Method::POST, leave, ann(json!({}))).await;
    let answer = call(Method::POST, join, ann(json!({}))).await;
    assert_eq!(
        answer,
        json!({ "list": "journey", "subscribed": false, "reason": "left" })
    );
    let mut named = ann(lists.clone());
    named["name"] = json!("x");
    for (method, path, body) in [
        (Method::PUT, "/v1/contacts", ann(lists)),
        (Method::POST, "/v1/events", named),
    ] {
        let answer = call(method.clone(), path, body.clone()).await;
        assert!(
            answer["listsError"]
                .as_str()
                .unwrap()
                .contains("left: journey"),
            "{answer}"
        );
        assert_eq!(server.text(wants).await, "false", "{path}");
        let mut agreed = body;
        agreed["consent"] = json!(true);
        let answer = call(method, path, agreed).await;
        assert!(answer["listsError"].is_null(), "{answer}");
        assert_eq!(server.text(wants).await, "true", "{path}");
        call(Method::POST, leave, ann(json!({}))).await;
    }
    let answer = call(Method::POST, join, ann(json!({ "consent": true }))).await;
    assert_eq!(answer, json!({ "list": "journey", "subscribed": true }));
    let audited = "SELECT count(*) FROM audit_logs WHERE action LIKE '%consent%'";
    assert_eq!(server.count(audited).await, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_suppresses_a_mailbox_finds_it_and_lifts_it_in_any_spelling() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    let path = "/v1/admin/suppressions";
    for bad in [
        json!({}),
        json!({ "email": "nobody" }),
        json!({ "email": 1 }),
    ] {
        let answer = server.call(Method::POST, path, KEY, Some(&bad)).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
    let body = json!({ "email": "Ann@Bücher.example", "reason": "asked by telephone" });
    let answer = server.call(Method::POST, path, KEY, Some(&body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["reason"], "manual");
    assert_eq!(answer.json()["detail"], "asked by telephone");
    let event =
        json!({ "event": "t.mail", "userId": "ann", "userEmail": "ann@xn--bcher-kva.example" });
    let answer = server
        .call(Method::POST, "/v1/ingest", KEY, Some(&event))
        .await;
    assert_eq!(answer.status, 202);
    server.drain().await;
    assert_eq!(server.count(MAILS).await, 0);
    let find = async |query: &str| {
        let path = format!("{path}?{query}");
        let answer = server.call(Method::GET, &path, KEY, None).await;
        answer.json()["total"].as_i64().unwrap()
    };
    for (query, total) in [
        ("search=ann@", 1),
        ("search=ANN&type=manual", 1),
        ("search=bob", 0),
        ("search=%25", 0),
        ("type=bounced", 0),
        ("reason=manual", 1),
    ] {
        assert_eq!(find(query).await, total, "{query}");
    }
    let path = format!("{path}/ANN@xn--bcher-kva.example");
    let answer = server.call(Method::DELETE, &path, KEY, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(find("").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_addresses_is_suppressed_row_by_row_and_may_be_uploaded_twice() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    let import = async |kind: &str, body: &str| {
        let request = Request::post("/v1/admin/suppressions/import")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", kind);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        server.request(request).await
    };
    let file = "email,reason\nann@example.com,left us\nnobody,\n\nANN@example.com,again\nbob@example.com,\n";
    for added in [2, 0] {
        let answer = import("text/csv", file).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(
            (&body["addedRows"], &body["failedRows"]),
            (&json!(added), &json!(1))
        );
        assert_eq!(body["errors"][0]["row"], 2);
    }
    let list = r#"["cy@example.com",{"email":"Ann@example.com","reason":"x"}]"#;
    assert_eq!(
        import("application/json", list).await.json()["addedRows"],
        1
    );
    let kept = "SELECT string_agg(email || ' ' || reason || ' ' || coalesce(detail, '-'), ', ' ORDER BY email) FROM suppressions";
    assert_eq!(
        server.text(kept).await,
        "ann@example.com manual left us, bob@example.com manual -, cy@example.com manual -"
    );
    for (kind, body, status) in [
        ("text/csv", "name\nann\n", 400),
        ("text/csv", "email\n\"x", 400),
        ("application/json", "{}", 400),
        ("text/plain", "email\nx@y.zz\n", 415),
    ] {
        assert_eq!(import(kind, body).await.status, status, "{body}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_use_the_texts_of_a_file_and_name_the_sender() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pages.json");
    let texts = json!({ "lang": "de", "leaveQuestion": "Abmelden?", "left": "Abgemeldet",
        "leftNotice": "{address} bekommt keine {mail}.", "listMail": "Mails <{list}>",
        "lists": { "journey": { "name": "Tipps & mehr", "description": "Ab und zu." } } });
    std::fs::write(&file, texts.to_string()).unwrap();
    let variables = [
        ("PAGE_TEXTS", file.to_str().unwrap()),
        ("EMAIL_FROM", "Acme & Söhne <hello@acme.example>"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    mail(&server, "ann", "ann@example.com").await;
    let link = one_click(&server).await;
    let page = server.get(&link).await.text();
    assert!(
        page.contains("<html lang=\"de\">") && page.contains("<h1>Abmelden?</h1>"),
        "{page}"
    );
    assert!(
        page.contains("Acme &amp; Söhne") && page.contains("mailto:hello@acme.example"),
        "{page}"
    );
    let page = press(&server, &link).await;
    let said = "ann@example.com bekommt keine Mails &lt;<b>Tipps &amp; mehr</b>&gt;.";
    assert!(page.contains(said), "{page}");
    // A second visit shows the state and asks nothing.
    let again = server.get(&link).await.text();
    assert!(
        again.contains("<h1>Abgemeldet</h1>") && !again.contains("<form"),
        "{again}"
    );
    let manage = page.split("href=\"preferences?token=").nth(1).unwrap();
    let manage = format!(
        "/v1/email/preferences?token={}",
        manage.split('"').next().unwrap()
    );
    let page = server.get(&manage).await.text();
    assert!(
        page.contains("Tipps &amp; mehr") && page.contains("Ab und zu."),
        "{page}"
    );
    let broken = server.get("/v1/email/preferences?token=x").await;
    assert_eq!(broken.status, 400);
    assert!(
        broken.text().contains("mailto:hello@acme.example"),
        "{}",
        broken.text()
    );
    server.stop().await;
}
