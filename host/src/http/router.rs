//! Every route, grouped by who calls it.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tracing::Instrument as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use super::auth::{self, Gate};
use super::development::{self, docs, outbox};
use super::serve::memory::Memory;
use super::serve::shed::{Crowd, Lane, crowd, shed};
use super::wire::body::BODY_MAX;
use super::wire::openapi::{self, Routes};
use super::wire::params::{self, Known};
use super::{ApiError, admin, health, hooks, metrics, product, recipients, sessions};
use crate::app::App;
use crate::telemetry::metrics::{HTTP_REQUESTS, HTTP_SECONDS};
use crate::telemetry::traces::spans;

/// The time limit of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Concurrent and queued requests with events. They share transactions, so many are cheap.
const INGEST_AT_ONCE: usize = 512;
const INGEST_WAITING: usize = 2_048;
/// Concurrent and queued other requests, which take one database connection each.
const OTHERS_AT_ONCE: usize = 64;
const OTHERS_WAITING: usize = 512;
/// Concurrent and queued sign-in requests, separate from the product's own calls.
const SESSIONS_AT_ONCE: usize = 128;
const SESSIONS_WAITING: usize = 128;
/// Concurrent requests over all connections, of any kind.
const REQUESTS_MAX: usize = 4_096;
/// Responses shorter than this, in bytes, are not compressed.
const COMPRESSED_MIN: u64 = 1_024;
/// The route of a request that no route matches.
const UNMATCHED: &str = "unmatched";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who calls a group of routes: it decides the gate and the lane in front of it.
#[derive(Clone, Copy)]
enum Caller {
    /// Anyone, without a limit.
    Anyone,
    /// Recipients, with a signed link.
    Recipient,
    /// Administrators' browsers, with Better Auth's protocol.
    Browser,
    /// Event sources and delivery providers, with the secret of their plugin.
    Vendor,
    /// The product, with a key that may send events.
    Product,
    /// The product and administrators, with a key or a session.
    Keyed(Gate),
    /// Administrators who send files.
    Files,
}

/// Every route of the public API, grouped by caller.
fn groups() -> [(Caller, Routes); 10] {
    [
        (Caller::Anyone, health::routes()),
        (Caller::Recipient, recipients::routes()),
        // By the links and the image of a mail.
        (Caller::Anyone, recipients::tracking::routes()),
        (Caller::Browser, sessions::routes()),
        (Caller::Vendor, hooks::routes()),
        (Caller::Product, product::events::routes()),
        (Caller::Keyed(Gate::People), product::people()),
        (Caller::Keyed(Gate::Emails), product::emails::routes()),
        (Caller::Keyed(Gate::Admin), admin::routes()),
        (Caller::Files, admin::file_routes()),
    ]
}

impl Caller {
    /// Adds what the gate and the lane may answer to the operations.
    fn documents(self, routes: &mut Routes) {
        match self {
            Self::Anyone => {}
            Self::Recipient | Self::Browser | Self::Vendor => openapi::add_limits(routes),
            Self::Product | Self::Keyed(_) | Self::Files => {
                openapi::add_refusals(routes);
                openapi::add_limits(routes);
            }
        }
    }
}

/// The routes with the gate and the lane of each group.
fn routes(app: &App) -> Routes {
    let anyone = Lane::open(Memory::new(app.config.access.request_memory));
    let ingest = anyone.narrow(INGEST_AT_ONCE, INGEST_WAITING);
    let other = anyone.narrow(OTHERS_AT_ONCE, OTHERS_WAITING);
    let sign_in = anyone.narrow(SESSIONS_AT_ONCE, SESSIONS_WAITING);
    let files = other.with_body(admin::import::FILE_MAX);
    let in_turn = |lane: &Lane| middleware::from_fn_with_state(lane.clone(), shed);
    // The gate is the outermost layer: the body of a refused request is not read.
    let gated = |routes: Routes, lane: &Lane, gate: Gate| {
        let gate = middleware::from_fn_with_state((app.clone(), gate), auth::gate);
        let strict = middleware::from_fn_with_state(Known::of(&routes), params::strict);
        let turn = in_turn(&lane.gated());
        routes
            .route_layer(turn)
            .route_layer(strict)
            .route_layer(gate)
    };
    let mut all = Routes::with_openapi(openapi::base());
    for (caller, mut group) in groups() {
        caller.documents(&mut group);
        all = all.merge(match caller {
            Caller::Anyone => group,
            Caller::Recipient => {
                group
                    .route_layer(in_turn(&anyone))
                    .route_layer(middleware::from_fn_with_state(
                        app.clone(),
                        recipients::unsubscribe::failing_pages,
                    ))
            }
            Caller::Browser => group.route_layer(in_turn(&sign_in)),
            Caller::Vendor => group.route_layer(in_turn(&ingest)),
            Caller::Product => gated(group, &ingest, Gate::Events),
            Caller::Keyed(gate) => gated(group, &other, gate),
            Caller::Files => gated(group, &files, Gate::Admin),
        });
    }
    all
}

/// Pages for developers on this machine, which are not part of the public API.
fn development(document: &OpenApi, app: &App) -> Router<App> {
    let document = openapi::document(document);
    Router::new()
        .route("/", get(development::show_start))
        .route("/openapi.json", get(|| async { document }))
        .route("/docs", get(docs::show_docs))
        .route("/docs/{file}", get(docs::show_docs_file))
        .route("/outbox", get(outbox::list_outbox))
        .route("/outbox/{id}", get(outbox::show_mail))
        .route("/outbox/{id}/html", get(outbox::show_mail_html))
        .route("/outbox/{id}/raw", get(outbox::show_mail_raw))
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(
            app.clone(),
            development::here_only,
        ))
}

/// The OpenAPI document of the whole API.
pub fn document() -> OpenApi {
    let mut all = Routes::with_openapi(openapi::base());
    for (caller, mut group) in groups() {
        caller.documents(&mut group);
        all = all.merge(group);
    }
    all.into_openapi()
}

/// The whole API.
pub fn router(app: App) -> Router {
    let (routes, document) = routes(&app).split_for_parts();
    let compressed = DefaultPredicate::new().and(SizeAbove::new(COMPRESSED_MIN));
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            REQUEST_ID,
            header::RETRY_AFTER,
            HeaderName::from_static("x-ratelimit-limit"),
            HeaderName::from_static("x-ratelimit-remaining"),
        ]);
    let mut routes = routes.method_not_allowed_fallback(not_allowed);
    if let Some(token) = &app.config.metrics_token {
        routes = routes.merge(metrics::router(&app, metrics::Access::Token(token.clone())));
    }
    if app.config.production {
        routes = routes
            .fallback(|| async { ApiError::not_found("Not found") })
            .layer(cors);
    } else {
        routes = routes
            .fallback(development::show_lost)
            .layer(middleware::from_fn_with_state(
                app.clone(),
                development::no_foreign_pages,
            ))
            .layer(cors)
            // Added after the CORS layer, so that no foreign page can read them.
            .merge(development(&document, &app));
    }
    routes
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(in_time))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
                .into_response()
        }))
        .layer(CompressionLayer::new().compress_when(compressed))
        .layer(middleware::from_fn_with_state(
            Crowd::new(REQUESTS_MAX),
            crowd,
        ))
        .layer(middleware::from_fn_with_state(app.clone(), every_answer))
        .with_state(app)
}

async fn not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
}

/// Answers 408 if a request exceeds the time limit.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!(
                "The request took longer than {} s",
                REQUEST_TIMEOUT.as_secs()
            );
            ApiError::new(StatusCode::REQUEST_TIMEOUT, message).into_response()
        }
    }
}

/// A method as a label: callers may send any word.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Adds an id to each request and common headers to each response, counts it, and writes the access log. The
/// log and the metrics have the route and not the path, which may name a person.
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
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let request_id = id.to_str().unwrap_or_default();
    let span = spans::request(request_id, method, route, request.headers());
    let started = std::time::Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    let status = response.status();
    span.record("status", status.as_u16());
    HTTP_REQUESTS.add(&[method, route, status.as_str()], 1);
    HTTP_SECONDS.took(&[method, route], took);
    if method != "OPTIONS" {
        span.in_scope(|| {
            tracing::info!(
                target: "hogsend::http::access",
                duration_ms = took.as_millis() as u64,
                "answered a request"
            );
        });
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
