//! Templates: listing, previewing, and sending a test mail.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hogsend_plugin_api::Properties;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::emails::{EmailQueuedOut, prop_issues, queue_test};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Name, Path, Query};
use crate::nearest::nearest;
use crate::templates::{Entry, category, preview};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_templates))
        .routes(routes!(preview_template))
        .routes(routes!(send_test))
}

#[derive(Serialize, ToSchema)]
pub struct TemplateOut {
    #[schema(example = "welcome")]
    key: String,
    /// May hold expressions.
    subject: String,
    /// The preview line that mail clients show next to the subject.
    preview: String,
    /// The list that contacts unsubscribe from. If the template declares none, the sending journey
    /// decides.
    category: String,
    /// The declared props; empty if the template declares none.
    props: Vec<PropOut>,
    /// The values that previews use by default.
    #[schema(value_type = Object)]
    samples: Properties,
    /// The plugin that provides the template, or the template that a file replaces.
    plugin: Option<String>,
    /// The file in `TEMPLATE_DIR`, if the template comes from one.
    file: Option<String>,
}

/// A prop: a value passed to a template.
#[derive(Serialize, ToSchema)]
pub struct PropOut {
    name: String,
    /// `text`, `url`, `number`, `bool`, `list` or `any`.
    kind: &'static str,
    required: bool,
    /// The prop that, if given, makes this one optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    unless: Option<String>,
    about: String,
}

impl From<&Entry> for TemplateOut {
    fn from(entry: &Entry) -> Self {
        let template = &entry.template;
        let props = template.props.iter().map(|prop| PropOut {
            name: prop.name.clone(),
            kind: prop.kind.name(),
            required: prop.required,
            unless: prop.unless.clone(),
            about: prop.about.clone(),
        });
        let name = |file: &std::path::PathBuf| Some(file.file_name()?.to_str()?.to_owned());
        Self {
            key: template.key.clone(),
            subject: template.subject.clone(),
            preview: template.preview.clone(),
            category: category(template).to_owned(),
            props: props.collect(),
            samples: template.samples(),
            plugin: entry.plugin.clone(),
            file: entry.file.as_ref().and_then(name),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct TemplatesOut {
    templates: Vec<TemplateOut>,
    total: usize,
    limit: i64,
    offset: i64,
}

/// Lists the templates, ordered by key.
#[utoipa::path(
    get, path = "/v1/admin/templates", tag = "templates",
    security(("key" = ["read"]), ("session" = [])),
    params(PartParams),
    responses((status = 200, description = "A page of templates", body = TemplatesOut), (status = 400, response = BadRequest)),
)]
pub async fn list_templates(
    State(app): State<App>,
    _: Caller<Read>,
    page: Part,
) -> Result<Json<TemplatesOut>, ApiError> {
    let catalog = app.catalog();
    let all: Vec<&Entry> = catalog.templates().iter().collect();
    let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let take = usize::try_from(page.limit).unwrap_or_default();
    let templates = all.iter().skip(skip).take(take);
    Ok(Json(TemplatesOut {
        templates: templates.map(|one| TemplateOut::from(*one)).collect(),
        total: all.len(),
        limit: page.limit,
        offset: page.offset,
    }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    /// Values for the template, as a JSON object; its sample values by default.
    #[param(example = "{\"url\":\"https://example.com\"}")]
    props: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PreviewOut {
    template: RenderedOut,
}

/// A rendered template, for a fictitious contact.
#[derive(Serialize, ToSchema)]
pub struct RenderedOut {
    key: String,
    subject: String,
    html: String,
    text: String,
}

/// Renders a template. Links are not rewritten for tracking, and no mail is sent.
#[utoipa::path(
    get, path = "/v1/admin/templates/{key}/preview", tag = "templates",
    security(("key" = ["read"]), ("session" = [])),
    params(("key" = String, Path), PreviewQuery),
    responses((status = 200, description = "Subject, HTML and text", body = PreviewOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn preview_template(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(key)): Path<Name>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<PreviewOut>, ApiError> {
    let catalog = app.catalog();
    let found = catalog.template(&key);
    let template = found.ok_or_else(|| unknown(&app, &key))?.clone();
    let props = match query.props.as_deref() {
        Some(text) => serde_json::from_str::<Properties>(text).map_err(|_| {
            let issue = Issue::new("props", "must be a JSON object");
            ApiError::validation(&[issue])
        })?,
        None => template.samples(),
    };
    let issues = prop_issues(&template, &props);
    if !issues.is_empty() {
        return Err(ApiError::validation(&issues));
    }
    let rendered = tokio::task::spawn_blocking(move || {
        preview(
            &app.config,
            catalog.templates(),
            &template,
            &props,
            Properties::new(),
        )
    });
    let rendered = rendered.await.map_err(|error| ApiError::internal(&error))?;
    let rendered = rendered
        .map_err(|error| ApiError::validation(&[Issue::new("props", error.to_string())]))?;
    let template = RenderedOut {
        key,
        subject: rendered.subject,
        html: rendered.html,
        text: rendered.text,
    };
    Ok(Json(PreviewOut { template }))
}

#[derive(Deserialize, ToSchema)]
pub struct SendTestIn {
    #[schema(value_type = String, example = "ann@example.com")]
    to: Option<String>,
    /// Values for the template; its sample values by default.
    #[schema(value_type = Option<Object>)]
    props: Option<Properties>,
}

/// Sends a test mail of a template to one address. It ignores unsubscriptions, but a suppressed
/// address gets nothing.
#[utoipa::path(
    post, path = "/v1/admin/templates/{key}/send-test", tag = "templates",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("key" = String, Path)),
    request_body = SendTestIn,
    responses((status = 202, description = "The mail is queued", body = EmailQueuedOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn send_test(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(Name(key)): Path<Name>,
    JsonBody(body): JsonBody<SendTestIn>,
) -> Result<(StatusCode, Json<EmailQueuedOut>), ApiError> {
    if app.catalog().template(&key).is_none() {
        return Err(unknown(&app, &key));
    }
    let queued = queue_test(&app, &caller.actor, key, body.to, body.props).await?;
    Ok((StatusCode::ACCEPTED, Json(queued)))
}

fn unknown(app: &App, key: &str) -> ApiError {
    let catalog = app.catalog();
    let known = catalog.templates().iter();
    let near = nearest(key, known.map(|entry| entry.template.key.as_str()));
    match near {
        Some(near) => ApiError::not_found(&format!("Template not found; did you mean '{near}'?")),
        None => ApiError::not_found("Template not found"),
    }
}
