//! Every route, grouped by who calls it.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use uuid::Uuid;

use super::body::BODY_MAX;
use super::{ApiError, events, feedback, health, outbox, tracking, unsubscribe, webhooks};
use crate::app::App;

/// The longest a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The whole API.
pub fn router(app: App) -> Router {
    let mut routes = Router::new()
        // Anyone
        .route("/v1/health", get(health::show_health))
        // The product, with a key
        .route("/v1/ingest", post(events::ingest_event))
        .route("/v1/events", post(events::create_event))
        // Event sources, with the secret of their plugin
        .route("/v1/webhooks/{source}", post(webhooks::receive_webhook))
        // Providers of mail, likewise
        .route(
            "/v1/webhooks/email/{provider}",
            post(feedback::receive_feedback),
        )
        // Recipients, with a signed link
        .route(
            "/v1/email/unsubscribe",
            get(unsubscribe::show_unsubscribe).post(unsubscribe::unsubscribe),
        )
        // Recipients, who read a mail
        .route("/v1/t/c/{id}", get(tracking::follow_link))
        .route("/v1/t/o/{id}", get(tracking::show_pixel));
    if !app.config.production {
        // The developer at this machine
        routes = routes
            .route("/outbox", get(outbox::list_outbox))
            .route("/outbox/{id}", get(outbox::show_mail))
            .route("/outbox/{id}/html", get(outbox::show_mail_html))
            .route("/outbox/{id}/raw", get(outbox::show_mail_raw));
    }
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID]);
    routes
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .fallback(|| async { ApiError::not_found("Not found") })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
                .into_response()
        }))
        .layer(CompressionLayer::new())
        .layer(cors)
        .layer(middleware::from_fn_with_state(app.clone(), every_answer))
        .with_state(app)
}

/// Gives each request an id, each answer its headers, and the log a line.
async fn every_answer(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| id.len() <= 128 && id.to_str().is_ok())
        .cloned();
    let id = id.unwrap_or_else(|| {
        // A UUID is always a header value.
        HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("-"))
    });
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let started = std::time::Instant::now();
    let mut response = next.run(request).await;
    if method != Method::OPTIONS {
        tracing::info!(
            target: "hogsend::http::access",
            method = %method,
            path,
            status = response.status().as_u16(),
            request_id = id.to_str().unwrap_or_default(),
            duration_ms = started.elapsed().as_millis() as u64,
            "answered a request"
        );
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers
        .entry(header::X_FRAME_OPTIONS)
        .or_insert(HeaderValue::from_static("DENY"));
    if app.config.production {
        let hsts = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    response
}
