//! The OpenAPI document: generated from the handlers, completed here with what they share.

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
        description = "Self-hosted lifecycle email: product events in, durable journeys, mail out.\n\nTimes are RFC 3339, answered in UTC. Unknown body fields are ignored, unknown query parameters are refused with the nearest known one. Bodies may be `gzip`, `deflate`, `br` or `zstd` encoded. Every answer carries `x-request-id`, the caller's own where it sent one.",
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
        (name = "events", description = "Events of the product"),
        (name = "contacts", description = "People, and the lists they are on"),
        (name = "webhooks", description = "Events that vendors tell"),
        (name = "outgoing-webhooks", description = "Endpoints that are told what happens"),
        (name = "alerts", description = "Rules that tell administrators when something goes wrong"),
        (name = "recipients", description = "Pages behind the signed links in mails"),
        (name = "emails", description = "Mails and what became of them"),
        (name = "journeys", description = "Journeys and their runs"),
        (name = "templates", description = "Templates of mails"),
        (name = "plugins", description = "What this installation is made of"),
        (name = "metrics", description = "Reports"),
        (name = "dead-letters", description = "What broke for good: runs, mails, webhooks, captures"),
        (name = "api-keys", description = "Keys of programs"),
        (name = "audit-logs", description = "What administrators changed"),
        (name = "sessions", description = "Signing in by e-mail address and password, as Better Auth's client speaks"),
        (name = "health", description = "Whether the service is well"),
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
                "A key of `POST /v1/admin/api-keys`, or `ADMIN_API_KEY`. Scopes: `read` < `journey-admin` < `full-admin`; beside them `events` < `ingest`, which `full-admin` includes.",
            ))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(key));
        let session = ApiKeyValue::with_description(
            "better-auth.session_token",
            "The cookie of an administrator's session, `__Secure-better-auth.session_token` on https.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// What is wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = Error, example = json!({ "error": "Not found" }))]
pub struct ErrorOut {
    error: String,
}

/// What is wrong with a request, field by field.
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

/// The request is not valid; every problem is named by its field.
#[derive(ToResponse)]
#[response(description = "The request is not valid; every problem is named by its field")]
pub struct BadRequest(#[allow(dead_code)] ValidationErrorOut);

/// No key or session, or one that is not known.
#[derive(ToResponse)]
#[response(description = "No key or session, or one that is unknown or expired")]
pub struct Unauthorized(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "The key lacks the scope")]
pub struct Forbidden(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(description = "There is no such thing")]
pub struct NotFound(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(
    description = "Too many requests within 60 s; refused ones do not count",
    headers(
        ("Retry-After" = u32, description = "Seconds to wait"),
        ("X-RateLimit-Limit" = u32, description = "Requests allowed within 60 s"),
        ("X-RateLimit-Remaining" = u32, description = "Requests left of these"),
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
#[response(description = "The body is not of a type or encoding this takes")]
pub struct UnsupportedMediaType(#[allow(dead_code)] ErrorOut);

#[derive(ToResponse)]
#[response(
    description = "Too many requests are waiting, or the database does not answer. Nothing was stored, unless the text says that it may have been: then repeat the request with the same Idempotency-Key",
    headers(("Retry-After" = u32, description = "Seconds to wait")),
)]
pub struct Busy(#[allow(dead_code)] ErrorOut);

/// The document before any route.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds to each operation of `routes` the refusals of the gate it stands behind, and of the parameters
/// it does not know.
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

/// Adds to each operation of `routes` what a request meets that comes too slowly, is too large, is of
/// another type or encoding, or comes when there are too many.
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
    // Only maps with text keys and plain values: it is always JSON.
    Json(serde_json::to_value(document).unwrap_or_default())
}
