//! Every route, grouped by who calls it.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;
use uuid::Uuid;

use super::admin::{
    alerts, api_keys, audit_logs, contacts as admin_contacts, deliveries, dlq,
    emails as admin_emails, events as admin_events, export, import, journeys, metrics, pending,
    plugins, preferences as admin_preferences, providers, states, suppression_import, suppressions,
    templates, webhooks as admin_webhooks,
};
use super::auth::{self, Gate};
use super::body::BODY_MAX;
use super::memory::Memory;
use super::openapi::{self, Routes};
use super::params::Known;
use super::shed::{Crowd, Lane, crowd, shed};
use super::{
    ApiError, contacts, development, docs, emails, events, feedback, health, lists, outbox, params,
    preferences, sessions, tracking, unsubscribe, webhooks,
};
use crate::app::App;

/// The longest a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests with events worked on at once, and those that wait for their turn: they share
/// transactions, so many take little.
const INGEST_AT_ONCE: usize = 512;
const INGEST_WAITING: usize = 2_048;
/// The same of all others, which take a connection each.
const OTHERS_AT_ONCE: usize = 64;
const OTHERS_WAITING: usize = 512;
/// The same of browsers that sign in, who share nothing with the product's own calls.
const SESSIONS_AT_ONCE: usize = 128;
const SESSIONS_WAITING: usize = 128;
/// Requests at once over all connections, however little each takes.
const REQUESTS_MAX: usize = 4_096;
/// Answers shorter than this, in bytes, are not worth the memory of compressing them.
const COMPRESSED_MIN: u64 = 1_024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route of the contract, each with its entry in the OpenAPI document.
fn routes(app: &App) -> Routes {
    let mut events = Routes::new()
        .routes(routes!(events::ingest_event))
        .routes(routes!(events::create_event))
        .routes(routes!(events::create_events));
    openapi::add_refusals(&mut events);
    openapi::add_limits(&mut events);

    let mut people = Routes::new()
        .routes(routes!(contacts::put_contact, contacts::delete_contact))
        .routes(routes!(contacts::find_contacts))
        .routes(routes!(lists::list_lists))
        .routes(routes!(lists::join_list))
        .routes(routes!(lists::leave_list));
    openapi::add_refusals(&mut people);
    openapi::add_limits(&mut people);

    let mut mails = Routes::new().routes(routes!(emails::send_email));
    openapi::add_refusals(&mut mails);
    openapi::add_limits(&mut mails);

    let mut admin = Routes::new()
        .routes(routes!(api_keys::list_api_keys, api_keys::create_api_key))
        .routes(routes!(api_keys::delete_api_key))
        .routes(routes!(audit_logs::list_audit_logs))
        .routes(routes!(admin_emails::list_emails))
        .routes(routes!(admin_emails::show_email))
        .routes(routes!(admin_emails::resend_email))
        .routes(routes!(
            admin_contacts::list_contacts,
            admin_contacts::create_contact
        ))
        .routes(routes!(
            admin_contacts::show_contact,
            admin_contacts::change_contact,
            admin_contacts::erase_contact
        ))
        .routes(routes!(pending::list_pending))
        .routes(routes!(pending::apply_pending))
        .routes(routes!(pending::dismiss_pending))
        .routes(routes!(export::export_contacts))
        .routes(routes!(import::show_import))
        .routes(routes!(admin_contacts::show_timeline))
        .routes(routes!(
            admin_preferences::show_admin_preferences,
            admin_preferences::put_preferences
        ))
        .routes(routes!(
            suppressions::list_suppressions,
            suppressions::add_suppression
        ))
        .routes(routes!(suppressions::lift_suppression))
        .routes(routes!(journeys::list_journeys))
        .routes(routes!(journeys::show_journey, journeys::change_journey))
        .routes(routes!(journeys::enroll_person))
        .routes(routes!(journeys::enroll_people))
        .routes(routes!(states::list_states))
        .routes(routes!(states::show_state, states::cancel_state))
        .routes(routes!(states::list_journey_logs))
        .routes(routes!(templates::list_templates))
        .routes(routes!(templates::preview_template))
        .routes(routes!(templates::send_test))
        .routes(routes!(plugins::list_plugins))
        .routes(routes!(providers::list_providers))
        .routes(routes!(admin_events::list_events))
        .routes(routes!(admin_events::show_event))
        .routes(routes!(admin_events::replay_events))
        .routes(routes!(dlq::list_dead_letters))
        .routes(routes!(dlq::retry_dead_letter))
        .routes(routes!(dlq::dismiss_dead_letter))
        .routes(routes!(
            admin_webhooks::list_webhooks,
            admin_webhooks::create_webhook
        ))
        .routes(routes!(
            admin_webhooks::show_webhook,
            admin_webhooks::change_webhook,
            admin_webhooks::delete_webhook
        ))
        .routes(routes!(admin_webhooks::rotate_webhook_secret))
        .routes(routes!(admin_webhooks::test_webhook))
        .routes(routes!(deliveries::list_webhook_deliveries))
        .routes(routes!(alerts::list_alert_rules, alerts::create_alert_rule))
        .routes(routes!(
            alerts::change_alert_rule,
            alerts::delete_alert_rule
        ))
        .routes(routes!(alerts::list_alert_history))
        .routes(routes!(metrics::show_overview))
        .routes(routes!(metrics::show_email_metrics))
        .routes(routes!(metrics::show_deliverability))
        .routes(routes!(metrics::show_journeys_metrics))
        .routes(routes!(metrics::show_journey_metrics))
        .routes(routes!(metrics::show_event_metrics));
    openapi::add_refusals(&mut admin);
    openapi::add_limits(&mut admin);
    let mut files = Routes::new()
        .routes(routes!(import::import_contacts))
        .routes(routes!(suppression_import::import_suppressions));
    openapi::add_refusals(&mut files);
    openapi::add_limits(&mut files);

    let anyone = Lane::open(Memory::new(app.config.access.request_memory));
    let ingest = anyone.narrow(INGEST_AT_ONCE, INGEST_WAITING);
    let other = anyone.narrow(OTHERS_AT_ONCE, OTHERS_WAITING);
    let sign_in = anyone.narrow(SESSIONS_AT_ONCE, SESSIONS_WAITING);
    let in_turn = |lane: &Lane| middleware::from_fn_with_state(lane.clone(), shed);
    // The gate is outside: whoever may not come in has no body read.
    let turn_then_gate = |routes: Routes, lane: &Lane, gate| {
        let gate = middleware::from_fn_with_state((app.clone(), gate), auth::gate);
        let strict = middleware::from_fn_with_state(Known::of(&routes), params::strict);
        let turn = in_turn(&lane.gated());
        let routes = routes.route_layer(turn).route_layer(strict);
        routes.route_layer(gate)
    };
    let mut browsers = Routes::new()
        .routes(routes!(sessions::sign_up))
        .routes(routes!(sessions::sign_in))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(sessions::get_session))
        .routes(routes!(sessions::account::change_password))
        .routes(routes!(sessions::account::update_user))
        .routes(routes!(sessions::account::list_sessions))
        .routes(routes!(sessions::account::revoke_session))
        .routes(routes!(sessions::account::revoke_other_sessions))
        .routes(routes!(sessions::account::revoke_sessions))
        .routes(routes!(sessions::reset::request_password_reset))
        .routes(routes!(sessions::reset::reset_password))
        .routes(routes!(
            sessions::reset::follow_reset_link,
            sessions::reset::submit_reset_form
        ));
    openapi::add_limits(&mut browsers);
    let mut hooks = Routes::new()
        .routes(routes!(
            webhooks::receive_webhook,
            webhooks::answer_challenge
        ))
        .routes(routes!(feedback::receive_feedback));
    openapi::add_limits(&mut hooks);
    let mut recipients = Routes::new()
        .routes(routes!(
            unsubscribe::show_unsubscribe,
            unsubscribe::unsubscribe
        ))
        .routes(routes!(
            preferences::show_preferences,
            preferences::save_preferences
        ));
    openapi::add_limits(&mut recipients);
    Routes::with_openapi(openapi::base())
        // Anyone
        .routes(routes!(health::show_health))
        .routes(routes!(health::show_live))
        .routes(routes!(health::show_ready))
        // Recipients, with a signed link
        .merge(recipients.route_layer(in_turn(&anyone)).route_layer(
            middleware::from_fn_with_state(app.clone(), unsubscribe::failing_pages),
        ))
        // Recipients, who read a mail
        .routes(routes!(tracking::follow_link))
        .routes(routes!(tracking::show_pixel))
        // People's browsers, on Better Auth's wire
        .merge(browsers.route_layer(in_turn(&sign_in)))
        // Event sources, with the secret of their plugin, and providers of mail
        .merge(hooks.route_layer(in_turn(&ingest)))
        // The product, with a key
        .merge(turn_then_gate(events, &ingest, Gate::Events))
        .merge(turn_then_gate(people, &other, Gate::People))
        .merge(turn_then_gate(mails, &other, Gate::Emails))
        // Administrators, with a key or a session
        .merge(turn_then_gate(admin, &other, Gate::Admin))
        .merge(turn_then_gate(
            files,
            &other.with_body(import::FILE_MAX),
            Gate::Admin,
        ))
}

/// Pages for the developer at this machine, which are no part of the contract.
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
pub fn document(app: &App) -> OpenApi {
    routes(app).into_openapi()
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
            // Beside the layer: no page elsewhere may read them.
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

/// Answers in time, whatever becomes of the request.
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
