//! The OpenAPI document: generated from the handlers, and completed here with what they share.

use axum::Json;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi as _, ToResponse, ToSchema};

use crate::foreign::Issue;

/// Routers of this API: each route comes with its path item.
pub type Routes = utoipa_axum::router::OpenApiRouter<crate::app::App>;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Hogsend",
        description = "Self-hosted lifecycle email: product events in, durable journeys, mail out.\n\nTimes are in RFC 3339; responses use UTC. Unknown body fields are ignored. Unknown query parameters are refused, with a suggestion. Request bodies may be encoded with `gzip`, `deflate`, `br` or `zstd`. Every response has the header `x-request-id`, which repeats the request's if it has one.",
        license(name = "Apache-2.0 OR MIT"),
    ),
    servers((url = "/", description = "This server")),
    components(
        schemas(ErrorOut, ValidationErrorOut),
        responses(
            BadRequest, Unauthorized, Forbidden, NotFound, TooManyRequests, RequestTimeout, TooLarge,
            UnsupportedMediaType, Busy
        ),
    ),
    tags(
        (name = "events", description = "Sending, listing and replaying events"),
        (name = "contacts", description = "Contacts, their lists and preferences"),
        (name = "webhooks", description = "Incoming webhooks of event sources and delivery providers"),
        (name = "outgoing-webhooks", description = "Webhook endpoints that receive events of this installation"),
        (name = "alerts", description = "Rules that notify administrators when something goes wrong"),
        (name = "recipients", description = "Pages and links in mails, opened by recipients"),
        (name = "emails", description = "Mails, their delivery, and the suppression list"),
        (name = "journeys", description = "Journeys and their runs"),
        (name = "templates", description = "Templates of mails, with previews"),
        (name = "plugins", description = "The plugins of this installation"),
        (name = "metrics", description = "Reports"),
        (name = "dead-letters", description = "Runs, mails, webhooks and captures that failed for good"),
        (name = "api-keys", description = "API keys"),
        (name = "audit-logs", description = "The audit log: what administrators changed"),
        (name = "sessions", description = "Signing in by email address and password, with Better Auth's protocol"),
        (name = "health", description = "The health of the service"),
    ),
    modifiers(&Schemes),
)]
struct Base;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("hsk_…")
            .description(Some(
                "A key created with `POST /v1/admin/api-keys`, or `ADMIN_API_KEY`. Scopes: `read` < `journey-admin` < `full-admin`, and `events` < `ingest` < `full-admin`; each includes the ones before it.",
            ))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(key));
        let session = ApiKeyValue::with_description(
            "better-auth.session_token",
            "The cookie of an administrator's session; over https `__Secure-better-auth.session_token`.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// An error message.
#[derive(Serialize, ToSchema)]
#[schema(as = Error, example = json!({ "error": "Not found" }))]
pub struct ErrorOut {
    error: String,
}

/// The problems of a request, by field.
#[derive(Serialize, ToSchema)]
#[schema(as = ValidationError)]
pub struct ValidationErrorOut {
    #[schema(example = false)]
    success: bool,
    error: ValidationProblem,
}

#[derive(Serialize, ToSchema)]
pub struct ValidationProblem {
    #[schema(example = "ValidationError")]
    name: String,
    /// The first problem.
    message: String,
    issues: Vec<Issue>,
}

/// The request is not valid. The problems are listed by field.
#[derive(ToResponse)]
#[response(description = "The request is not valid. The problems are listed by field")]
pub struct BadRequest(#[allow(dead_code)] ValidationErrorOut);

/// No key or session, or one that is unknown or expired.
#[derive(ToResponse)]
#[response(description = "No key or session, or one that is unknown or expired")]
pub struct Unauthorized(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "The key lacks the required scope")]
pub struct Forbidden(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "The resource does not exist")]
pub struct NotFound(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(
    description = "Too many requests within 60 s. Refused requests do not count",
    headers(
        ("Retry-After" = u32, description = "Seconds to wait"),
        ("X-RateLimit-Limit" = u32, description = "Requests allowed within 60 s"),
        ("X-RateLimit-Remaining" = u32, description = "Requests left within the 60 s"),
    ),
)]
pub struct TooManyRequests(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "The request took longer than 30 s")]
pub struct RequestTimeout(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "The body is too large")]
pub struct TooLarge(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "The body's content type or encoding is not supported")]
pub struct UnsupportedMediaType(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(
    description = "Too many requests are waiting, or the database does not answer. Nothing was stored, unless the error says that it may have been: then repeat the request with the same Idempotency-Key",
    headers(("Retry-After" = u32, description = "Seconds to wait")),
)]
pub struct Busy(#[allow(dead_code)] ErrorOut);

/// The document without routes.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds the responses of the gate and of unknown parameters to each operation of `routes`.
pub fn add_refusals(routes: &mut Routes) {
    for item in routes.get_openapi_mut().paths.paths.values_mut() {
        for operation in operations(item) {
            for (status, name) in [
                ("400", "BadRequest"),
                ("401", "Unauthorized"),
                ("403", "Forbidden"),
                ("429", "TooManyRequests"),
            ] {
                let refusal: RefOr<Response> = Ref::from_response_name(name).into();
                let responses = &mut operation.responses.responses;
                responses.entry(status.to_owned()).or_insert(refusal);
            }
        }
    }
}

/// Adds to each operation of `routes` the responses to requests that are too slow, too large, of an
/// unsupported type or encoding, or too many.
pub fn add_limits(routes: &mut Routes) {
    for item in routes.get_openapi_mut().paths.paths.values_mut() {
        for operation in operations(item) {
            let has_body = operation.request_body.is_some();
            for (status, name, concerns) in [
                ("408", "RequestTimeout", true),
                ("413", "TooLarge", has_body),
                ("415", "UnsupportedMediaType", has_body),
                ("503", "Busy", true),
            ] {
                if concerns {
                    let refusal: RefOr<Response> = Ref::from_response_name(name).into();
                    let responses = &mut operation.responses.responses;
                    responses.entry(status.to_owned()).or_insert(refusal);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ];
    all.into_iter().filter_map(Option::as_mut)
}

/// The document as it is served.
pub fn document(document: &OpenApi) -> Json<Value> {
    // Only maps with text keys and plain values, so serialising cannot fail.
    Json(serde_json::to_value(document).unwrap_or_default())
}
