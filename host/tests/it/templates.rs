//! What templates take, what the mails say of the product, and files in the place of templates.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Server, Store};

const KEY: &str = "an-admin-key-of-tests";

async fn server(variables: &[(&str, &str)]) -> Server {
    let mut all = vec![("ADMIN_API_KEY", KEY)];
    all.extend(variables);
    Server::with(Store::native().await, &all).await
}

async fn call(server: &Server, method: Method, path: &str, body: Value) -> Answer {
    server.call(method, path, KEY, Some(&body)).await
}

async fn send(server: &Server, body: Value) -> Answer {
    call(server, Method::POST, "/v1/emails", body).await
}

/// Somebody unsubscribes from everything.
async fn leave(server: &Server) {
    let body = json!({ "email": "left@example.com" });
    let put = call(server, Method::PUT, "/v1/contacts", body).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let id = put.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/contacts/{id}/preferences");
    let left = call(
        server,
        Method::PUT,
        &path,
        json!({ "unsubscribedAll": true }),
    )
    .await;
    assert_eq!(left.status, 200, "{}", left.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_template_cannot_do_without_is_asked_for() {
    let server = server(&[]).await;
    let good = "https://acme.test/reset?x=1";
    for (template, more, path, words) in [
        (
            "password-reset",
            json!({ "props": { "resetUrl": good } }),
            "props.url",
            "is required",
        ),
        ("password-reset", json!({}), "props.url", "is required"),
        (
            "password-reset",
            json!({ "props": { "url": " " } }),
            "props.url",
            "is required",
        ),
        (
            "password-reset",
            json!({ "props": { "url": "javascript:alert(1)" } }),
            "props.url",
            "https://",
        ),
        (
            "password-reset",
            json!({ "props": { "url": "data:text/html,x" } }),
            "props.url",
            "https://",
        ),
        (
            "welcome",
            json!({ "props": { "url": "java\nscript:alert(1)" } }),
            "props.url",
            "https://",
        ),
        (
            "welcome",
            json!({ "props": { "url": { "a": 1 } } }),
            "props.url",
            "https://",
        ),
        (
            "retention-weekly-digest",
            json!({ "props": { "items": [{ "url": "javascript:x" }] } }),
            "props.items",
            "https://",
        ),
        (
            "retention-weekly-digest",
            json!({ "props": { "items": { "a": 1 } } }),
            "props.items",
            "must be a list",
        ),
        (
            "conversion-trial-expiring",
            json!({ "props": { "days_left": "3" } }),
            "props.days_left",
            "must be a number",
        ),
        (
            "t-plain",
            json!({ "props": { "any_url": "vbscript:x" } }),
            "props.any_url",
            "https://",
        ),
        (
            "passwort-reset",
            json!({}),
            "template",
            "did you mean 'password-reset'?",
        ),
        ("nothing-like-it", json!({}), "template", "known: "),
        (
            "welcome",
            json!({ "category": "jurney" }),
            "category",
            "did you mean 'journey'?",
        ),
        (
            "welcome",
            json!({ "category": "anything" }),
            "category",
            "known: journey, ",
        ),
        (
            "welcome",
            json!({ "category": "" }),
            "category",
            "no category ''",
        ),
        (
            "welcome",
            json!({ "category": "Transactional" }),
            "category",
            "did you mean 'transactional'?",
        ),
    ] {
        let mut body = json!({ "to": "ann@example.com", "template": template });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = send(&server, body.clone()).await;
        let issue = &answer.json()["error"]["issues"][0];
        assert_eq!(
            (answer.status.as_u16(), &issue["path"]),
            (400, &json!(path)),
            "{body}: {}",
            answer.text()
        );
        assert!(
            issue["message"].as_str().unwrap().contains(words),
            "{body}: {issue}"
        );
    }
    assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 0);
    for (props, warning) in [
        (
            json!({ "url": good, "resetUrl": good }),
            Some("props.resetUrl is not used"),
        ),
        (
            json!({ "url": good, "codee": 1 }),
            Some("did you mean code?"),
        ),
        (json!({ "code": "418" }), None),
        (json!({ "url": "mailto:help@acme.test" }), None),
    ] {
        let body = json!({ "to": "ann@example.com", "template": "password-reset", "props": props });
        let answer = send(&server, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let warnings = answer.json()["warnings"].to_string();
        assert!(
            warning.map_or(warnings == "null", |words| warnings.contains(words)),
            "{warnings}"
        );
    }
    server.stop().await;
}

/// A category, what its mail carries, and whether somebody who left everything gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_transactional_only_where_its_template_says_so() {
    let server = server(&[("RATE_LIMIT_EMAILS", "0")]).await;
    leave(&server).await;
    for (template, asked, category, warned) in [
        ("welcome", None, "journey", false),
        ("welcome", Some("transactional"), "journey", true),
        ("welcome", Some("billing"), "billing", false),
        ("churn-payment-failed", None, "billing", false),
        (
            "feedback-nps-survey",
            Some("transactional"),
            "feedback",
            true,
        ),
        ("journey-notification", None, "journey", false),
        ("t-plain", Some("transactional"), "journey", true),
        ("password-reset", None, "transactional", false),
        (
            "password-reset",
            Some("transactional"),
            "transactional",
            false,
        ),
    ] {
        let transactional = category == "transactional";
        for who in ["left", "ann"] {
            let mut body = json!({ "to": format!("{who}@example.com"), "template": template, "idempotencyKey": format!("{who}-{template}-{asked:?}") });
            if let Some(asked) = asked {
                body["category"] = json!(asked);
            }
            if transactional {
                body["props"] = json!({ "url": "https://acme.test/reset" });
            }
            let answer = send(&server, body.clone()).await;
            assert_eq!(answer.status, 202, "{body}: {}", answer.text());
            let told = answer.json();
            let gets = transactional || who == "ann";
            assert_eq!(
                told["status"],
                if gets { "queued" } else { "skipped" },
                "{body}: {told}"
            );
            assert_eq!(
                told["reason"] == json!("user_unsubscribed"),
                !gets,
                "{told}"
            );
            assert_eq!(told["warnings"].is_array(), warned, "{told}");
            let again = send(&server, body).await.json();
            assert_eq!(again["status"], told["status"]);
        }
        let headers = server
            .text("SELECT category || ' ' || COALESCE(mail->>'headers', '') || ' ' || COALESCE(mail->>'text', '') FROM email_sends WHERE to_email = 'ann@example.com' ORDER BY created_at DESC, id DESC LIMIT 1")
            .await;
        assert!(
            headers.starts_with(&format!("{category} ")),
            "{template}: {headers}"
        );
        assert_eq!(
            headers.contains("List-Unsubscribe"),
            !transactional,
            "{template}: {headers}"
        );
        // A whole document of its own has no footer.
        if template != "t-plain" {
            assert_eq!(
                headers.contains("Unsubscribe:"),
                !transactional,
                "{template}: {headers}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suppressed_addresses_are_told_at_once() {
    let server = server(&[]).await;
    let body = json!({ "email": "dead@example.com" });
    let put = call(&server, Method::POST, "/v1/admin/suppressions", body).await;
    assert!(put.status.is_success(), "{}", put.text());
    let body =
        json!({ "to": "Dead@Example.com", "template": "password-reset", "props": { "code": 1 } });
    let told = send(&server, body).await.json();
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!("skipped"), &json!("suppressed"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_a_mail_shows_what_readers_get_and_asks_nobody() {
    let server = server(&[]).await;
    leave(&server).await;
    for (key, footer) in [("welcome", true), ("password-reset", false)] {
        let path = format!("/v1/admin/templates/{key}/send-test");
        let told = call(
            &server,
            Method::POST,
            &path,
            json!({ "to": "left@example.com" }),
        )
        .await;
        assert_eq!(
            (told.status.as_u16(), &told.json()["status"]),
            (202, &json!("queued")),
            "{}",
            told.text()
        );
        let text = server
            .text("SELECT mail->>'text' FROM email_sends ORDER BY created_at DESC, id DESC LIMIT 1")
            .await;
        assert_eq!(text.contains("Unsubscribe:"), footer, "{text}");
    }
    let wrong = json!({ "to": "left@example.com", "props": { "url": "javascript:x" } });
    let told = call(
        &server,
        Method::POST,
        "/v1/admin/templates/welcome/send-test",
        wrong,
    )
    .await;
    assert_eq!(told.status, 400);
    let preview = server
        .call(
            Method::GET,
            "/v1/admin/templates/password-reset/preview?props=%7B%7D",
            KEY,
            None,
        )
        .await;
    assert_eq!(preview.json()["error"]["issues"][0]["path"], "props.url");
    let near = server
        .call(Method::GET, "/v1/admin/templates/welcom/preview", KEY, None)
        .await;
    assert_eq!(near.status, 404);
    assert!(
        near.text().contains("did you mean 'welcome'?"),
        "{}",
        near.text()
    );
    let list = server
        .call(Method::GET, "/v1/admin/templates?limit=100", KEY, None)
        .await
        .json();
    let reset = list["templates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["key"] == "password-reset");
    let url = &reset.unwrap()["props"][0];
    assert_eq!(
        (&url["name"], &url["kind"], &url["unless"]),
        (&json!("url"), &json!("url"), &json!("code"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_and_pages_carry_the_brand_and_files_replace_templates() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "welcome.mjml",
        "+++\nsubject = \"{{ brand.name }}: hello{% if name %} {{ name }}{% endif %}\"\n+++\n<h1>Our own</h1><p>{{ contact.properties.plan }}</p>",
    );
    write(
        "receipt.mjml",
        "+++\nsubject = \"Receipt\"\ncategory = \"transactional\"\n[props.amount]\nkind = \"text\"\nrequired = true\n+++\n<p>{{ props.amount }}</p>",
    );
    let server = server(&[
        ("BRAND_NAME", "Acme & Sons"),
        ("BRAND_URL", "https://www.acme.test"),
        ("BRAND_COLOR", "#0f766e"),
        ("EMAIL_POSTAL_ADDRESS", "1 Main St, Vienna"),
        ("TEMPLATE_DIR", folder.path().to_str().unwrap()),
    ])
    .await;
    let ann = json!({ "email": "ann@example.com", "properties": { "first_name": "Ann", "plan": "<Pro>" } });
    assert_eq!(
        call(&server, Method::PUT, "/v1/contacts", ann).await.status,
        200
    );
    for body in [
        json!({ "to": "ann@example.com", "template": "welcome" }),
        json!({ "to": "ann@example.com", "template": "receipt", "props": { "amount": "€5" } }),
        json!({ "to": "ann@example.com", "template": "activation-nudge" }),
    ] {
        let answer = send(&server, body).await;
        assert_eq!(answer.json()["status"], "queued", "{}", answer.text());
    }
    let bare = send(
        &server,
        json!({ "to": "ann@example.com", "template": "receipt" }),
    )
    .await;
    assert_eq!(bare.json()["error"]["issues"][0]["path"], "props.amount");
    let welcome = server
        .text("SELECT subject || '|' || category || '|' || (mail->>'html') || (mail->>'text') FROM email_sends WHERE template_key = 'welcome'")
        .await;
    assert!(
        welcome.starts_with("Acme & Sons: hello Ann|journey|"),
        "{welcome}"
    );
    for told in [
        "Our own",
        "&lt;Pro&gt;",
        "Acme &amp; Sons",
        "#0f766e",
        "1 Main St, Vienna",
        "signed up for Acme & Sons.",
    ] {
        assert!(welcome.contains(told), "{told}: {welcome}");
    }
    let receipt = server
        .text("SELECT category || (mail->>'text') FROM email_sends WHERE template_key = 'receipt'")
        .await;
    assert!(
        receipt.starts_with("transactional€5\n\nYou get this mail because somebody asked"),
        "{receipt}"
    );
    let nudge = server
        .text("SELECT mail->>'text' FROM email_sends WHERE template_key = 'activation-nudge'")
        .await;
    assert!(
        nudge.contains("Try it now: https://www.acme.test/"),
        "{nudge}"
    );
    let link = nudge
        .split_whitespace()
        .find(|word| word.contains("/v1/email/unsubscribe?token="));
    let path = link.unwrap().split_once("/v1/").unwrap().1;
    let page = server.get(&format!("/v1/{path}")).await.text();
    for told in [
        "Acme &amp; Sons",
        "https://www.acme.test/",
        "--accent: #0f766e",
        "1 Main St, Vienna",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    server.stop().await;
}

/// A journey's send with a category nobody has, or without what its template needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_that_sends_what_cannot_be_sent_fails_with_the_reason() {
    let server = server(&[]).await;
    for (user, category, status, words) in [
        ("ann", "journey", "completed", ""),
        ("bob", "transactional", "completed", ""),
        (
            "cid",
            "jurney",
            "failed",
            "no category 'jurney' (did you mean 'journey'?)",
        ),
    ] {
        let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "category": category } });
        let taken = server
            .call(Method::POST, "/v1/ingest", KEY, Some(&body))
            .await;
        assert_eq!(taken.status, 202, "{}", taken.text());
        server.drain().await;
        let ended = server
            .text("SELECT status || ' ' || COALESCE(error_message, '') FROM journey_states ORDER BY created_at DESC, id DESC LIMIT 1")
            .await;
        assert!(
            ended.starts_with(status) && ended.contains(words),
            "{user}: {ended}"
        );
    }
    server.stop().await;
}
