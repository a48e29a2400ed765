//! Signing up, in and out on Better Auth's wire.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::{Answer, Server, Store};

pub const SIGN_UP: &str = "/api/auth/sign-up/email";
pub const SIGN_IN: &str = "/api/auth/sign-in/email";
const SIGN_OUT: &str = "/api/auth/sign-out";
pub const SESSION: &str = "/api/auth/get-session";
pub const KEYS: &str = "/v1/admin/api-keys";

/// A browser at one address, on pages of one origin.
pub struct Browser<'a> {
    server: &'a Server,
    pub address: &'a str,
    origin: Option<&'a str>,
    pub cookie: Option<String>,
}

impl<'a> Browser<'a> {
    pub fn at(server: &'a Server) -> Self {
        Self {
            server,
            address: "192.0.2.7:5000",
            origin: Some("http://localhost:3002"),
            cookie: None,
        }
    }

    pub async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let address: SocketAddr = self.address.parse().unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .extension(ConnectInfo(address))
            .header(header::USER_AGENT, "a browser");
        if let Some(origin) = self.origin {
            request = request.header(header::ORIGIN, origin);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, format!("other=1; {cookie}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = self
            .server
            .request(request.body(Body::from(body)).unwrap())
            .await;
        if let Some(set) = answer.headers.get(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }
}

pub fn account(password: &str) -> Value {
    json!({ "name": "Ann", "email": "Ann@Example.com", "password": password })
}

fn attributes(answer: &Answer) -> String {
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    cookie.split_once(';').unwrap().1.trim().to_owned()
}

on_each_store! {
    async fn the_first_to_sign_up_administers_and_closes_the_door(server: Server) {
        // Whose client reads every fraction of a second as milliseconds.
        server.clock.advance(Duration::from_micros(7_654));
        let mut ann = Browser::at(&server);
        let answer = ann.post(SIGN_UP, account("correct horse")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["user"]["createdAt"], "2026-03-02T09:00:00.007Z");
        assert_eq!(body["user"]["email"], "ann@example.com");
        assert_eq!(body["user"]["emailVerified"], false);
        assert!(!answer.text().contains("correct horse"));
        assert_eq!(attributes(&answer), "Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
        let cookie = ann.cookie.clone().unwrap();
        assert!(cookie.starts_with("better-auth.session_token="), "{cookie}");
        let token = body["token"].as_str().unwrap();
        assert!(cookie.contains(token));

        let current = ann.get(SESSION).await.json();
        assert_eq!(current["session"]["token"], token);
        assert_eq!(current["session"]["expiresAt"], "2026-03-09T09:00:00.007Z");
        assert_eq!(current["session"]["ipAddress"], "192.0.2.7");
        assert_eq!(current["session"]["userAgent"], "a browser");
        assert_eq!(current["user"], body["user"]);

        let mut bob = Browser::at(&server);
        let late = bob.post(SIGN_UP, json!({ "name": "Bob", "email": "bob@example.com", "password": "correct horse" })).await;
        assert_eq!(late.status, StatusCode::BAD_REQUEST);
        assert_eq!(late.json()["code"], "EMAIL_PASSWORD_SIGN_UP_DISABLED");
        assert_eq!(server.text("SELECT action || actor_type FROM audit_logs").await, "user.createuser");
        // Neither the password nor the token is anywhere in the database.
        let kept = server.text("SELECT string_agg(u::text || s::text, '') FROM users u, sessions s").await;
        assert!(!kept.contains("correct horse") && !kept.contains(token));
        assert!(kept.contains("$argon2id$"));
        server.stop().await;
    }
}

#[tokio::test]
async fn of_many_first_sign_ups_at_once_one_wins() {
    let server = Server::start(Store::native().await).await;
    let sign_up = |name: usize| {
        let server = &server;
        async move {
            let mut browser = Browser::at(server);
            let email = format!("p{name}@example.com");
            let body = json!({ "name": "P", "email": email, "password": "correct horse" });
            browser.post(SIGN_UP, body).await.status
        }
    };
    let (a, b, c, d) = tokio::join!(sign_up(1), sign_up(2), sign_up(3), sign_up(4));
    let won = [a, b, c, d]
        .iter()
        .filter(|status| **status == StatusCode::OK)
        .count();
    assert_eq!(won, 1);
    assert_eq!(server.count("SELECT count(*) FROM users").await, 1);
    server.stop().await;
}

on_each_store! {
    async fn signing_in_opens_administration_and_signing_out_closes_it(server: Server) {
        Browser::at(&server).post(SIGN_UP, account("correct horse")).await;
        let mut ann = Browser::at(&server);
        assert_eq!(ann.get(SESSION).await.json(), Value::Null);
        assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        let body = json!({ "email": "ANN@example.com", "password": "correct horse" });
        let answer = ann.post(SIGN_IN, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["redirect"], false);
        assert_eq!(ann.get(KEYS).await.status, StatusCode::OK);
        let made = ann.post(KEYS, json!({ "name": "k", "scopes": ["ingest"] })).await;
        assert_eq!(made.status, StatusCode::CREATED);
        let by = "SELECT actor_type || ' ' || actor_name FROM audit_logs WHERE action = 'api_key.create'";
        assert_eq!(server.text(by).await, "user ann@example.com");

        let cookie = ann.cookie.clone();
        let out = ann.post(SIGN_OUT, json!({})).await;
        assert_eq!(out.json(), json!({ "success": true }));
        assert_eq!(attributes(&out), "Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
        assert!(ann.cookie.is_none());
        // The session is over, not only the cookie gone.
        ann.cookie = cookie;
        assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(ann.get(SESSION).await.json(), Value::Null);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let server = Server::start(Store::native().await).await;
    let mut ann = Browser::at(&server);
    ann.post(SIGN_UP, account("correct horse")).await;
    let mut bodies = Vec::new();
    for (email, password) in [
        ("ann@example.com", "wrong horse".to_owned()),
        ("bob@example.com", "correct horse".to_owned()),
        ("no address", String::new()),
        ("ann@example.com", "x".repeat(100_000)),
        ("ann\0@example.com", "wrong horse".to_owned()),
    ] {
        let mut browser = Browser::at(&server);
        let body = json!({ "email": email, "password": password });
        let answer = browser.post(SIGN_IN, body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{email}");
        assert!(browser.cookie.is_none());
        bodies.push(answer.json());
    }
    assert_eq!(bodies[0]["code"], "INVALID_EMAIL_OR_PASSWORD");
    assert_eq!(bodies[0]["message"], "Invalid email or password");
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    server.stop().await;
}

#[tokio::test]
async fn passwords_have_8_to_128_characters_and_addresses_a_form() {
    let server = Server::start(Store::native().await).await;
    let mut ann = Browser::at(&server);
    for (password, code) in [
        ("1234567", "PASSWORD_TOO_SHORT"),
        (&"x".repeat(129), "PASSWORD_TOO_LONG"),
    ] {
        let answer = ann.post(SIGN_UP, account(password)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json()["code"], code);
    }
    for email in ["ann", "@example.com", "ann@", "a nn@example.com"] {
        let body = json!({ "name": "Ann", "email": email, "password": "correct horse" });
        assert_eq!(
            ann.post(SIGN_UP, body).await.json()["code"],
            "INVALID_EMAIL",
            "{email}"
        );
    }
    server.clock.advance(Duration::from_secs(60));
    let longest = "ü".repeat(128);
    assert_eq!(
        ann.post(SIGN_UP, account(&longest)).await.status,
        StatusCode::OK
    );
    let body = json!({ "email": "ann@example.com", "password": longest });
    assert_eq!(ann.post(SIGN_IN, body).await.status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_session_lasts_seven_days_and_one_in_use_for_a_day_gets_seven_more() {
    let server = Server::start(Store::native().await).await;
    let day = Duration::from_secs(86_400);
    let mut ann = Browser::at(&server);
    ann.post(SIGN_UP, account("correct horse")).await;
    let end = |answer: &Answer| {
        answer.json()["session"]["expiresAt"]
            .as_str()
            .map(str::to_owned)
    };

    server.clock.advance(day - Duration::from_secs(1));
    let young = ann.get(SESSION).await;
    assert!(!young.headers.contains_key(header::SET_COOKIE));
    assert_eq!(end(&young).unwrap(), "2026-03-09T09:00:00.000Z");
    server.clock.advance(Duration::from_secs(1));
    // Looking only, or being told not to, leaves it as it is.
    let head = ann.send(Method::HEAD, SESSION, None).await;
    assert!(!head.headers.contains_key(header::SET_COOKIE));
    assert_eq!(
        end(&ann.get(&format!("{SESSION}?disableRefresh=true")).await).unwrap(),
        "2026-03-09T09:00:00.000Z"
    );
    let older = ann.get(SESSION).await;
    assert!(attributes(&older).starts_with("Max-Age=604800"));
    assert_eq!(end(&older).unwrap(), "2026-03-10T09:00:00.000Z");
    // Administration counts as use.
    server.clock.advance(3 * day);
    assert!(attributes(&ann.get(KEYS).await).starts_with("Max-Age=604800"));
    server.clock.advance(7 * day - Duration::from_secs(1));
    assert!(end(&ann.get(&format!("{SESSION}?disableRefresh=true")).await).is_some());
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ann.get(SESSION).await.json(), Value::Null);
    assert!(ann.cookie.is_none());

    // However much it is used, it ends 30 days after signing in.
    let body = json!({ "email": "ann@example.com", "password": "correct horse" });
    ann.post(SIGN_IN, body).await;
    let began = server.now();
    for _ in 0..5 {
        server.clock.advance(6 * day - Duration::from_secs(3_600));
        ann.get(SESSION).await;
    }
    let last = end(&ann.get(SESSION).await).unwrap();
    let last = chrono::DateTime::parse_from_rfc3339(&last).unwrap();
    assert_eq!(last.to_utc(), began + chrono::TimeDelta::days(30));
    server.clock.advance(Duration::from_secs(5 * 3_600));
    assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);

    // One that is not to be remembered ends with the browser, or after a day.
    let body =
        json!({ "email": "ann@example.com", "password": "correct horse", "rememberMe": false });
    let answer = ann.post(SIGN_IN, body).await;
    assert_eq!(attributes(&answer), "Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(
        server.count("SELECT count(*) FROM sessions").await,
        1,
        "ended ones are cleared away"
    );
    server.clock.advance(day);
    assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn on_https_cookies_are_secure_and_a_tampered_one_is_none() {
    let variables = [("BETTER_AUTH_URL", "https://app.example.com")];
    let server = Server::with(Store::native().await, &variables).await;
    let mut ann = Browser::at(&server);
    ann.origin = Some("https://app.example.com");
    let answer = ann.post(SIGN_UP, account("correct horse")).await;
    assert_eq!(
        attributes(&answer),
        "Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Lax"
    );
    let cookie = ann.cookie.clone().unwrap();
    assert!(cookie.starts_with("__Secure-better-auth.session_token="));
    assert_eq!(ann.get(KEYS).await.status, StatusCode::OK);
    let (name, value) = cookie.split_once('=').unwrap();
    let token = value.split('.').next().unwrap();
    for wrong in [
        format!("{name}={token}"),
        format!("{name}={token}.AAAA"),
        format!("{name}=x{value}"),
        format!("better-auth.session_token={value}"),
    ] {
        ann.cookie = Some(wrong.clone());
        assert_eq!(
            ann.get(KEYS).await.status,
            StatusCode::UNAUTHORIZED,
            "{wrong}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let variables = [("TRUSTED_ORIGINS", "https://desk.example.com")];
    let server = Server::with(Store::native().await, &variables).await;
    let mut ann = Browser::at(&server);
    ann.post(SIGN_UP, account("correct horse")).await;
    let signed_in = ann.cookie.clone();
    let key = json!({ "name": "k", "scopes": ["ingest"] });
    for origin in [
        "https://evil.example.com",
        "null",
        "http://localhost:3002.evil.example.com",
    ] {
        ann.origin = Some(origin);
        let made = ann.post(KEYS, key.clone()).await;
        assert_eq!(made.status, StatusCode::FORBIDDEN, "{origin}");
        let out = ann.post(SIGN_OUT, json!({})).await;
        assert_eq!(out.status, StatusCode::FORBIDDEN, "{origin}");
        assert_eq!(out.json()["code"], "INVALID_ORIGIN");
        let body = json!({ "email": "ann@example.com", "password": "correct horse" });
        assert_eq!(
            ann.post(SIGN_IN, body).await.status,
            StatusCode::FORBIDDEN,
            "{origin}"
        );
        assert_eq!(ann.cookie, signed_in);
    }
    assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 0);
    for origin in [
        Some("https://desk.example.com"),
        Some("http://localhost:3002"),
        None,
    ] {
        ann.origin = origin;
        assert_eq!(
            ann.post(KEYS, key.clone()).await.status,
            StatusCode::CREATED,
            "{origin:?}"
        );
    }
    // A place to go on to has to be ours as well.
    for (url, status) in [
        ("/dashboard", StatusCode::OK),
        ("https://desk.example.com/x", StatusCode::OK),
        ("//evil.example.com", StatusCode::FORBIDDEN),
        ("/\\evil.example.com", StatusCode::FORBIDDEN),
        ("https://evil.example.com/", StatusCode::FORBIDDEN),
    ] {
        let body =
            json!({ "email": "ann@example.com", "password": "correct horse", "callbackURL": url });
        assert_eq!(ann.post(SIGN_IN, body).await.status, status, "{url}");
        server.clock.advance(Duration::from_secs(60));
    }
    server.stop().await;
}

#[tokio::test]
async fn an_address_has_ten_tries_a_minute() {
    let variables = [("TRUSTED_PROXIES", "10.0.0.0/8")];
    let server = Server::with(Store::native().await, &variables).await;
    let mut ann = Browser::at(&server);
    ann.post(SIGN_UP, account("correct horse")).await;
    server.clock.advance(Duration::from_secs(60));
    let wrong = json!({ "email": "ann@example.com", "password": "wrong horse" });
    for _ in 0..10 {
        assert_eq!(
            ann.post(SIGN_IN, wrong.clone()).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let right = json!({ "email": "ann@example.com", "password": "correct horse" });
    let refused = ann.post(SIGN_IN, right.clone()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers[header::RETRY_AFTER], "60");
    // Somebody else is not kept out, and neither is who waited.
    let mut other = Browser::at(&server);
    other.address = "192.0.2.8:5000";
    assert_eq!(
        other.post(SIGN_IN, right.clone()).await.status,
        StatusCode::OK
    );
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(ann.post(SIGN_IN, right).await.status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn in_production_nobody_signs_up_and_the_command_makes_administrators() {
    let store = Store::native().await;
    let url = store.url().to_owned();
    let variables = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", url.as_str()),
        ("RESEND_API_KEY", "re_test"),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
    ];
    let server = Server::with(store, &variables).await;
    let mut ann = Browser::at(&server);
    ann.origin = Some("https://api.acme.test");
    let closed = ann.post(SIGN_UP, account("correct horse")).await;
    assert_eq!(closed.json()["code"], "EMAIL_PASSWORD_SIGN_UP_DISABLED");

    let admin = |action: &str, password: &str| {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut child = Command::new(env!("CARGO_BIN_EXE_hogsend"))
            .args(["admin", action, "--email", "ann@example.com"])
            .env("DATABASE_URL", &url)
            .env("NODE_ENV", "production")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{password}").unwrap();
        drop(stdin);
        let ended = child.wait_with_output().unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(password.is_empty() || !said.contains(password));
        (ended.status.success(), said)
    };
    let (done, said) = admin("create", "brief");
    assert!(!done && said.contains("use 8 to 128 characters"), "{said}");
    let (done, said) = admin("set-password", "correct horse");
    assert!(!done && said.contains("hogsend admin create"), "{said}");
    let (done, said) = admin("create", "correct horse");
    assert!(done, "{said}");
    let (done, said) = admin("create", "correct horse");
    assert!(!done && said.contains("already exists"), "{said}");
    let body = json!({ "email": "ann@example.com", "password": "correct horse" });
    assert_eq!(ann.post(SIGN_IN, body).await.status, StatusCode::OK);
    assert_eq!(ann.get(KEYS).await.status, StatusCode::OK);
    // Another password ends the sessions of the old one.
    assert!(admin("set-password", "battery staple").0);
    assert_eq!(ann.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
    let actors = "SELECT string_agg(actor_type || ':' || action, ' ' ORDER BY id) FROM audit_logs";
    assert_eq!(
        server.text(actors).await,
        "command:user.create command:user.set_password"
    );
    server.stop().await;
}
