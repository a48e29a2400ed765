//! What holds for every request, whatever it asks for.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, header};
use futures_util::stream;
use serde_json::{Value, json};

use crate::support::{Server, Store};

async fn start() -> Server {
    Server::start(Store::native().await).await
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    let server = start().await;
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/health", "GET,HEAD"),
        (Method::GET, "/v1/ingest", "POST"),
        (Method::PATCH, "/v1/events", "POST"),
        (Method::PUT, "/v1/webhooks/posthog", "POST,GET,HEAD"),
        (Method::DELETE, "/v1/email/unsubscribe", "GET,HEAD,POST"),
        (Method::POST, "/api/auth/get-session", "GET,HEAD"),
        (Method::GET, "/api/auth/sign-in/email", "POST"),
        (Method::PUT, "/v1/admin/api-keys", "GET,HEAD,POST"),
        (Method::GET, "/v1/admin/api-keys/1", "DELETE"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty());
        let answer = server.request(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.json(), json!({ "error": "Method not allowed" }));
        assert_eq!(answer.headers[header::ALLOW], allowed, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_route_is_told_in_json() {
    let server = start().await;
    for path in [
        "/v1",
        "/v1/nothing",
        "/v1/health/",
        "/v1/admin/nothing",
        "/api/auth/nothing",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json(), json!({ "error": "Not found" }));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_of_more_than_a_mebibyte_is_too_large() {
    let server = start().await;
    let body = |size: usize| {
        let rest = r#"{"event":"e","userId":"u","unknown":""}"#.len();
        format!(
            r#"{{"event":"e","userId":"u","unknown":"{}"}}"#,
            "x".repeat(size - rest)
        )
    };
    let fits = server
        .post_raw("/v1/ingest", body(1024 * 1024).into_bytes())
        .await;
    assert_eq!(fits.status, StatusCode::ACCEPTED, "{}", fits.text());
    for path in [
        "/v1/ingest",
        "/v1/events",
        "/v1/webhooks/posthog",
        "/api/auth/sign-in/email",
    ] {
        let answer = server
            .post_raw(path, body(1024 * 1024 + 1).into_bytes())
            .await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert!(
            answer.json()["error"]
                .as_str()
                .unwrap()
                .contains("1024 KiB")
        );
    }
    // One that does not say how long it is, as well.
    let chunks =
        stream::iter((0..17).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65_536]))));
    let request = Request::post("/v1/ingest")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(chunks));
    let answer = server.request(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_json_has_the_wrong_type() {
    let server = start().await;
    for path in ["/v1/ingest", "/v1/events", "/api/auth/sign-up/email"] {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "",
        ] {
            let mut request = Request::post(path);
            if !kind.is_empty() {
                request = request.header(header::CONTENT_TYPE, kind);
            }
            let answer = server
                .request(request.body(Body::from("{}")).unwrap())
                .await;
            assert_eq!(
                answer.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{path} {kind}"
            );
            assert!(
                answer.json()["error"]
                    .as_str()
                    .unwrap()
                    .contains("application/json")
            );
        }
    }
    let request = Request::post("/v1/ingest")
        .header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8")
        .body(Body::from(r#"{"event":"e","userId":"u"}"#));
    assert_eq!(
        server.request(request.unwrap()).await.status,
        StatusCode::ACCEPTED
    );
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_longer_than_30_seconds_is_given_up() {
    let server = start().await;
    let request = Request::post("/v1/webhooks/posthog")
        .header("x-request-id", "slow-1")
        .body(Body::from_stream(stream::pending::<
            Result<Bytes, std::io::Error>,
        >()))
        .unwrap();
    // The time of timers, which runs on while nothing else is to be done.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answer = server.request(request).await;
    assert_eq!(began.elapsed().as_secs(), Duration::from_secs(30).as_secs());
    tokio::time::resume();
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert!(answer.json()["error"].as_str().unwrap().contains("30 s"));
    assert_eq!(answer.headers["x-request-id"], "slow-1");
    server.stop().await;
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_it() {
    let server = start().await;
    for (accepted, encoding) in [
        ("gzip", Some("gzip")),
        ("br, gzip;q=0.5", Some("br")),
        ("identity", None),
    ] {
        let request = Request::get("/openapi.json")
            .header(header::ACCEPT_ENCODING, accepted)
            .body(Body::empty());
        let answer = server.request(request.unwrap()).await;
        let used = answer.headers.get(header::CONTENT_ENCODING);
        assert_eq!(used.map(|value| value.to_str().unwrap()), encoding);
        assert!(
            answer.headers[header::VARY]
                .to_str()
                .unwrap()
                .contains("accept-encoding")
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_its_headers() {
    let server = start().await;
    for path in [
        "/v1/health",
        "/v1/nothing",
        "/docs",
        "/v1/admin/api-keys",
        "/api/auth/get-session",
    ] {
        let request = Request::get(path)
            .header(header::ORIGIN, "https://app.example.com")
            .body(Body::empty());
        let answer = server.request(request.unwrap()).await;
        let headers = &answer.headers;
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        // Pages of other websites read the API, and no page of this machine's.
        let read = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        let expected = (path != "/docs").then_some("https://app.example.com");
        assert_eq!(
            read.map(|origin| origin.to_str().unwrap()),
            expected,
            "{path}"
        );
        assert!(
            !headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS),
            "{path}"
        );
        assert!(
            !headers.contains_key(header::STRICT_TRANSPORT_SECURITY),
            "{path}"
        );
        let id = headers["x-request-id"].to_str().unwrap();
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{path}: {id}");
    }
    server.stop().await;
}

/// Every GET of the document, asked by HEAD: the same status, no body, and nothing written.
#[tokio::test]
async fn head_has_no_side_effect() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", "k")]).await;
    let event = json!({ "event": "test.signup", "userId": "u1" });
    server
        .call(Method::POST, "/v1/ingest", "k", Some(&event))
        .await;
    let document = server.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let paths = paths.filter(|(_, item)| item.get("get").is_some());
    let paths: Vec<String> = paths
        .map(|(path, _)| path.replace("{id}", "01900000-0000-7000-8000-000000000000"))
        .collect();
    let mut statuses = Vec::new();
    for path in &paths {
        statuses.push(server.call(Method::GET, path, "k", None).await.status);
    }
    // Every row of every table, with the transaction that wrote it.
    let all =
        "SELECT md5(string_agg(query_to_xml(format('SELECT t.xmin, t.* FROM %I t', relname), \
               true, true, '')::text, '' ORDER BY relname))
               FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    let before = server.text(all).await;
    for (path, status) in paths.iter().zip(statuses) {
        let head = server.call(Method::HEAD, path, "k", None).await;
        assert_eq!(head.status, status, "{path}");
        assert!(head.body.is_empty(), "{path}");
    }
    assert!(paths.len() >= 5 && !before.is_empty());
    assert_eq!(server.text(all).await, before);
    server.stop().await;
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_wrong_ones_told() {
    let server = start().await;
    let answer = server
        .post(
            "/v1/ingest",
            &json!({ "event": "e", "userId": "u", "more": { "x": [1] } }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let answer = server
        .post("/v1/ingest", &json!({ "event": 7, "userId": "u" }))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let body: Value = answer.json();
    assert_eq!(
        (&body["success"], &body["error"]["name"]),
        (&json!(false), &json!("ValidationError"))
    );
    assert_eq!(body["error"]["issues"][0]["path"], "event");
    server.stop().await;
}

fn packed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    match encoding {
        "gzip" => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "deflate" => {
            let mut to = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "br" => {
            let mut packed = Vec::new();
            let params = brotli::enc::BrotliEncoderParams::default();
            brotli::BrotliCompress(&mut &*bytes, &mut packed, &params).unwrap();
            packed
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// Events, a webhook whose signature is of what was packed, and a file of more than a mebibyte.
#[tokio::test]
async fn a_compressed_body_is_read_as_what_it_was_before() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", "k")]).await;
    let rows: String = (0..120_000)
        .map(|n| format!("p{n}@example.com\n"))
        .collect();
    let file = format!("email\n{rows}");
    assert!(file.len() > 2 * 1024 * 1024);
    for encoding in [
        "gzip", "x-gzip", "deflate", "br", "zstd", "identity", "GZIP",
    ] {
        let send = async |path: &str, kind: &str, body: &[u8]| {
            let name = encoding.to_lowercase();
            let request = Request::post(path)
                .header(header::AUTHORIZATION, "Bearer k")
                .header(header::CONTENT_TYPE, kind)
                .header(header::CONTENT_ENCODING, encoding)
                .body(Body::from(packed(name.trim_start_matches("x-"), body)));
            server.request(request.unwrap()).await
        };
        let user = format!("u-{encoding}");
        let event = json!({ "name": "test.signup", "userId": user }).to_string();
        let answer = send("/v1/events", "application/json", event.as_bytes()).await;
        assert_eq!(
            answer.status,
            StatusCode::ACCEPTED,
            "{encoding}: {}",
            answer.text()
        );
        assert_eq!(answer.json()["contactKey"], user);
        let hook = crate::support::posthog(encoding, "test.signup", &user, "a@example.com", "Ann");
        let hook = hook.to_string();
        let answer = send("/v1/webhooks/posthog", "application/json", hook.as_bytes()).await;
        assert_eq!(answer.json()["ok"], true, "{encoding}");
        if encoding == "gzip" {
            let answer = send("/v1/admin/suppressions/import", "text/csv", file.as_bytes()).await;
            assert!(
                answer.status.is_success() || answer.status == 400,
                "{}",
                answer.text()
            );
            assert_ne!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_compressed_body_has_the_bounds_of_any_other() {
    let server = start().await;
    let bomb = vec![b' '; 20 * 1024 * 1024];
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = Request::post("/v1/events")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, encoding)
            .body(Body::from(body));
        server.request(request.unwrap()).await
    };
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let small = packed(encoding, &bomb);
        assert!(small.len() < 100_000);
        let answer = send(encoding, small).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{encoding}");
        let whole = packed(encoding, br#"{"name":"test.signup","userId":"u1"}"#);
        let cut = whole[..whole.len() - 3].to_vec();
        for damaged in [cut, b"{}".to_vec()] {
            let answer = send(encoding, damaged).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{encoding}");
            assert_eq!(answer.json()["error"]["name"], "ValidationError");
        }
    }
    for unknown in ["compress", "gzip, gzip", "br, gzip", "base64", "*"] {
        let answer = send(unknown, b"{}".to_vec()).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{unknown}"
        );
        let accepted = answer.headers[header::ACCEPT_ENCODING].to_str().unwrap();
        assert_eq!(accepted, "gzip, deflate, br, zstd");
    }
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
    server.stop().await;
}

/// Every operation of the document: where a parameter is a filter, one that is not known is refused;
/// where others write the address, it is ignored.
#[tokio::test]
async fn a_parameter_nobody_knows_is_refused_where_it_would_change_the_answer() {
    let variables = [("ADMIN_API_KEY", "k"), ("RATE_LIMIT_ADMIN", "0")];
    let server = Server::with(Store::native().await, &variables).await;
    let document = server.get("/openapi.json").await.json();
    let id = "01900000-0000-7000-8000-000000000000";
    let (mut refusing, mut ignoring) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let strict = ["/v1/admin", "/v1/contacts", "/v1/events", "/v1/lists"];
        let strict = strict.iter().any(|start| path.starts_with(start));
        for method in ["get", "put", "post", "delete", "patch"] {
            if item.get(method).is_none() {
                continue;
            }
            let real: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { id } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let call = async |query: &str| {
                let path = format!("{real}{query}");
                server.call(method.clone(), &path, "k", None).await
            };
            let with = call("?utm_source=news").await;
            if strict {
                refusing += 1;
                assert_eq!(with.status, StatusCode::BAD_REQUEST, "{method} {path}");
                let issue = &with.json()["error"]["issues"][0];
                assert_eq!(issue["path"], "utm_source", "{method} {path}");
                let message = issue["message"].as_str().unwrap();
                let known = item[method.as_str().to_lowercase()]["parameters"].as_array();
                let known = known.into_iter().flatten();
                let mut known = known.filter(|one| one["in"] == "query");
                let nearest = known
                    .any(|one| message.contains(&format!("'{}'", one["name"].as_str().unwrap())));
                assert!(
                    nearest || message.contains("takes none"),
                    "{path}: {message}"
                );
            } else if method == Method::GET {
                ignoring += 1;
                assert_eq!(with.status, call("").await.status, "{method} {path}");
            }
        }
    }
    assert!(refusing > 50 && ignoring > 8, "{refusing} {ignoring}");
    // Those of the finding.
    for (path, nearest) in [
        ("/v1/admin/emails?toEmail=a%40example.com", "'to'"),
        ("/v1/admin/events?from=2026-01-01T00:00:00Z", ""),
        ("/v1/admin/journeys?enabled=true", ""),
        ("/v1/admin/contacts?type=x", ""),
        ("/v1/contacts/find?mail=a%40example.com", "email"),
        ("/v1/lists?user=u1", "userId"),
    ] {
        let answer = server.call(Method::GET, path, "k", None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains(nearest), "{path}: {message}");
    }
    server.stop().await;
}
