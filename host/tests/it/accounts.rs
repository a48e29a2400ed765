//! How administrators change their own account, with Better Auth's protocol.

use std::time::Duration;

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use crate::on_each_store;
use crate::sessions::{Browser, KEYS, SESSION, SIGN_IN, SIGN_UP, account};
use crate::support::process::until;
use crate::support::{Server, Store};

const CHANGE: &str = "/api/auth/change-password";
const LIST: &str = "/api/auth/list-sessions";
const REVOKE: &str = "/api/auth/revoke-session";
const OTHERS: &str = "/api/auth/revoke-other-sessions";
const UPDATE: &str = "/api/auth/update-user";
const ASK: &str = "/api/auth/request-password-reset";
const RESET: &str = "/api/auth/reset-password";

fn with_password(password: &str) -> Value {
    json!({ "email": "ann@example.com", "password": password })
}

async fn signs_in(server: &Server, password: &str) -> bool {
    // Attempts are limited per minute.
    server.clock.advance(Duration::from_secs(60));
    let answer = Browser::at(server)
        .post(SIGN_IN, with_password(password))
        .await;
    answer.status == StatusCode::OK
}

on_each_store! {
    async fn a_password_is_changed_with_the_old_one_only(server: Server) {
        let mut ann = Browser::at(&server);
        ann.post(SIGN_UP, account("correct horse")).await;
        let mut elsewhere = Browser::at(&server);
        elsewhere.post(SIGN_IN, with_password("correct horse")).await;
        let change = |current: &str, new: &str| {
            json!({ "currentPassword": current, "newPassword": new })
        };
        for (body, code) in [
            (change("wrong horse", "battery staple"), "INVALID_PASSWORD"),
            (change("correct horse", "brief"), "PASSWORD_TOO_SHORT"),
            (change("correct horse", &"x".repeat(129)), "PASSWORD_TOO_LONG"),
        ] {
            let refused = ann.post(CHANGE, body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{code}");
            assert_eq!(refused.json()["code"], code);
        }
        let stranger = Browser::at(&server).post(CHANGE, change("correct horse", "battery staple")).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
        assert_eq!(stranger.json()["code"], "UNAUTHORIZED");

        let changed = ann.post(CHANGE, change("correct horse", "battery staple")).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
        assert_eq!(changed.json()["token"], Value::Null);
        assert_eq!(changed.json()["user"]["email"], "ann@example.com");
        assert_eq!(elsewhere.get(KEYS).await.status, StatusCode::OK);
        assert!(!signs_in(&server, "correct horse").await);
        assert!(signs_in(&server, "battery staple").await);

        let mut body = change("battery staple", "correct horse");
        body["revokeOtherSessions"] = json!(true);
        let before = ann.cookie.clone();
        let changed = ann.post(CHANGE, body).await;
        assert_eq!(changed.status, StatusCode::OK);
        assert!(changed.json()["token"].is_string());
        assert_ne!(ann.cookie, before);
        assert_eq!(ann.get(KEYS).await.status, StatusCode::OK);
        assert_eq!(elsewhere.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        ann.cookie = before;
        assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        let kept = "SELECT count(*) FROM audit_logs WHERE action = 'user.change_password'";
        assert_eq!(server.count(kept).await, 2);
        server.stop().await;
    }
}

on_each_store! {
    async fn sessions_are_listed_and_ended_by_their_owner_alone(server: Server) {
        let mut ann = Browser::at(&server);
        ann.post(SIGN_UP, account("correct horse")).await;
        let own = ann.get(SESSION).await.json()["session"]["token"].clone();
        let mut others = Vec::new();
        for _ in 0..2 {
            server.clock.advance(Duration::from_secs(1));
            let mut other = Browser::at(&server);
            other.post(SIGN_IN, with_password("correct horse")).await;
            others.push(other);
        }
        assert_eq!(Browser::at(&server).get(LIST).await.status, StatusCode::UNAUTHORIZED);
        let listed = ann.get(LIST).await;
        let all = listed.json();
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[2]["token"], own);
        // The list does not reveal the tokens of other sessions.
        for other in &others {
            let cookie = other.cookie.as_deref().unwrap();
            for session in &all[..2] {
                assert!(!cookie.contains(session["token"].as_str().unwrap()));
            }
        }
        let unknown = ann.post(REVOKE, json!({ "token": "session_none" })).await;
        assert_eq!(unknown.json(), json!({ "status": true }));
        assert_eq!(server.count("SELECT count(*) FROM sessions").await, 3);
        let ended = ann.post(REVOKE, json!({ "token": all[0]["token"] })).await;
        assert_eq!(ended.json(), json!({ "status": true }));
        assert_eq!(others[1].get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(others[0].get(KEYS).await.status, StatusCode::OK);
        assert_eq!(ann.post(OTHERS, json!({})).await.json(), json!({ "status": true }));
        assert_eq!(others[0].get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(ann.get(KEYS).await.status, StatusCode::OK);

        let renamed = ann.post(UPDATE, json!({ "name": "Ann A." })).await;
        assert_eq!(renamed.json(), json!({ "status": true }));
        assert_eq!(ann.get(SESSION).await.json()["user"]["name"], "Ann A.");
        let refused = ann.post(UPDATE, json!({ "email": "eve@example.com" })).await;
        assert_eq!(refused.json()["code"], "EMAIL_CAN_NOT_BE_UPDATED");
        ann.post(REVOKE, json!({ "token": own })).await;
        assert!(ann.cookie.is_none());
        assert_eq!(server.count("SELECT count(*) FROM sessions").await, 0);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_password_is_the_same_however_a_keyboard_sends_it() {
    let server = Server::start(Store::native().await).await;
    Browser::at(&server)
        .post(SIGN_UP, account("caf\u{e9} au lait"))
        .await;
    assert!(signs_in(&server, "cafe\u{301} au lait").await);
    assert!(signs_in(&server, "caf\u{e9} au lait").await);
    assert!(!signs_in(&server, "cafe au lait").await);
    server.stop().await;
}

/// The text of the mails to administrators.
async fn mailed(server: &Server) -> Vec<String> {
    let all = "SELECT string_agg(mail->>'text', '|' ORDER BY id) FROM email_sends
               WHERE template_key = 'account.password-reset'";
    server
        .text(all)
        .await
        .split('|')
        .map(str::to_owned)
        .collect()
}

fn token_of(link: &str) -> String {
    let in_token = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    link.chars().take_while(in_token).collect()
}

#[tokio::test]
async fn a_link_by_mail_chooses_another_password_once() {
    let server = Server::start(Store::native().await).await;
    let mut ann = Browser::at(&server);
    ann.post(SIGN_UP, account("correct horse")).await;
    let asked = json!({ "email": "Ann@example.com", "redirectTo": "/new-password" });
    let away = json!({ "email": "ann@example.com", "redirectTo": "https://evil.example.com/" });
    assert_eq!(
        ann.post(ASK, away).await.json()["code"],
        "INVALID_REDIRECT_URL"
    );
    let answer = ann.post(ASK, asked.clone()).await;
    // The answer does not reveal whether an address is an administrator's.
    let nobody = ann.post(ASK, json!({ "email": "bob@example.com" })).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(nobody.json(), answer.json());
    let queued = "SELECT count(*) FROM email_sends";
    until("the mail", async || server.count(queued).await == 1).await;
    // A second request within the minute sends no mail; the count waits for its transaction.
    ann.post(ASK, asked).await;
    let mails = mailed(&server).await;
    assert_eq!(mails.len(), 1, "{mails:?}");
    let link = "http://localhost:3002/api/auth/reset-password/";
    let (_, rest) = mails[0]
        .split_once(link)
        .unwrap_or_else(|| panic!("{}", mails[0]));
    let token = token_of(rest);
    assert!(token.len() >= 43, "{token}");
    let kept = server
        .text("SELECT string_agg(r::text, '') FROM password_resets r")
        .await;
    assert!(!kept.contains(&token));

    let followed = ann
        .get(&format!("{RESET}/{token}?callbackURL=%2Fnew-password"))
        .await;
    assert_eq!(followed.status, StatusCode::FOUND);
    let to = followed.headers[header::LOCATION].to_str().unwrap();
    assert_eq!(
        to,
        format!("http://localhost:3002/new-password?token={token}")
    );
    let over = ann
        .get(&format!("{RESET}/nothing?callbackURL=%2Fnew-password"))
        .await;
    let to = over.headers[header::LOCATION].to_str().unwrap();
    assert_eq!(to, "http://localhost:3002/new-password?error=INVALID_TOKEN");
    let form = ann.get(&format!("{RESET}/{token}")).await;
    assert_eq!(form.status, StatusCode::OK);
    assert!(form.text().contains("newPassword"));

    let reset = |token: &str, password: &str| json!({ "token": token, "newPassword": password });
    let brief = ann.post(RESET, reset(&token, "brief")).await;
    assert_eq!(brief.json()["code"], "PASSWORD_TOO_SHORT");
    let wrong = ann.post(RESET, reset("nothing", "battery staple")).await;
    assert_eq!(wrong.json()["code"], "INVALID_TOKEN");
    let done = ann.post(RESET, reset(&token, "battery staple")).await;
    assert_eq!(done.json(), json!({ "status": true }), "{}", done.text());
    assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
    server.clock.advance(Duration::from_secs(60));
    let again = ann.post(RESET, reset(&token, "another staple")).await;
    assert_eq!(again.json()["code"], "INVALID_TOKEN");
    assert!(signs_in(&server, "battery staple").await);
    assert!(!signs_in(&server, "correct horse").await);

    // A link expires after an hour.
    ann.post(ASK, json!({ "email": "ann@example.com" })).await;
    until("the second mail", async || server.count(queued).await == 2).await;
    let mails = mailed(&server).await;
    let (_, rest) = mails[1].split_once(link).unwrap();
    let token = token_of(rest);
    server.clock.advance(Duration::from_secs(3_600));
    let late = ann.post(RESET, reset(&token, "another staple")).await;
    assert_eq!(late.json()["code"], "INVALID_TOKEN");
    server.stop().await;
}
