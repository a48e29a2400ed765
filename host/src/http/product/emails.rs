//! Mails sent by the product's own code.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use hogsend_mime::NameAddr;
use hogsend_plugin_api::journey::PropFault;
use hogsend_plugin_api::journey::SendArgs;
use hogsend_plugin_api::{Properties, Template};
use hogsend_semantics::{TRANSACTIONAL, address::normalise};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::app::App;
use crate::db::NewIdentity;
use crate::foreign;
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Actor, Caller, Ingest, Scope};
use crate::http::wire::body::{JsonBody, idempotency_key};
use crate::http::wire::names::names;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::params::time;
use crate::ids::SendId;
use crate::mail::{self, Queued, Requested, UNCONFIRMED, misfits};
use crate::purpose::Purpose;
use crate::states::SendStatus;
use crate::templates;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(send_email))
}

/// The longest subject.
const SUBJECT_MAX: usize = 500;

/// A mail to one contact. `to` or `userId` is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailIn {
    /// The recipient's address. Together with `userId`, the contact gets the mail at this address.
    #[schema(example = "ann@example.com")]
    to: Option<String>,
    user_id: Option<String>,
    #[schema(value_type = String, example = "password-reset")]
    template: Option<String>,
    #[schema(value_type = Option<Object>)]
    props: Option<Properties>,
    /// The sender, as `Name <address>` or an address; by default the installation's. An address that
    /// is not a sender of this installation requires the scope `full-admin`.
    from: Option<String>,
    /// Replaces the template's subject.
    subject: Option<String>,
    reply_to: Option<String>,
    /// One of the installation's lists; by default the template's. `transactional` is accepted only
    /// for templates that declare it.
    category: Option<String>,
    /// The mail is not sent after this time; by default after one hour for transactional mail, and
    /// after two days for other mail.
    #[serde(default, deserialize_with = "time")]
    not_after: Option<DateTime<Utc>>,
    /// A repeated key sends no second mail.
    idempotency_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailQueuedOut {
    pub email_send_id: SendId,
    /// `queued`, or the current status if the idempotency key was used before.
    #[schema(example = "queued")]
    status: SendStatus,
    /// Why the mail was skipped, if that is known at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'static str>,
    /// Parts of the request that have no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// What to do about a skipped mail.
fn help(reason: Option<&str>) -> Option<&'static str> {
    (reason? == UNCONFIRMED).then_some(
        "an untrusted event gave this person their address: name it in a trusted call (PUT \
         /v1/contacts with userId and email, or `to` beside userId here), or let them click a link in \
         a mail to it",
    )
}

/// Queues a mail. It is rendered and stored before the response; a worker sends it.
///
/// The header `Idempotency-Key` takes precedence over the body's key. A repeated key returns the
/// first mail.
#[utoipa::path(
    post, path = "/v1/emails", tag = "emails",
    security(("key" = ["ingest"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Takes precedence over the body's key")),
    request_body = EmailIn,
    responses((status = 202, description = "The mail is queued, or skipped", body = EmailQueuedOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn send_email(
    State(app): State<App>,
    caller: Caller<Ingest>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<EmailIn>,
) -> Result<(StatusCode, Json<EmailQueuedOut>), ApiError> {
    let key = idempotency_key(&headers, body.idempotency_key.as_deref())?;
    let asked = Asked::check(&app, body)?;
    if let Some(from) = &asked.mail.from
        && !is_own_sender(&app, from)
        && !caller.may(Scope::FullAdmin)
    {
        return Err(ApiError::forbidden(
            "Forbidden: insufficient scope: a `from` that is not a sender of this installation requires the \
             scope `full-admin`",
        ));
    }
    let key = key.map(|key| format!("api-{}", hex::encode(Sha256::digest(key))));
    let queued = mail::request(&app, &asked.mail, key.as_deref()).await?;
    Ok((StatusCode::ACCEPTED, Json(asked.answer(queued))))
}

/// Whether this address is a configured sender of this installation.
fn is_own_sender(app: &App, from: &str) -> bool {
    let address = |sender: &str| {
        let sender: NameAddr = sender.parse().ok()?;
        normalise(&sender.address)
    };
    let given = address(from);
    let own = Purpose::ALL.map(|purpose| app.config.senders.of(purpose));
    given.is_some() && own.into_iter().any(|own| address(own) == given)
}

/// Queues a test mail of a template to one address, ignoring preferences.
pub(crate) async fn queue_test(
    app: &App,
    actor: &Actor,
    template: String,
    to: Option<String>,
    props: Option<Properties>,
) -> Result<EmailQueuedOut, ApiError> {
    let samples = app.catalog().template(&template).map(Template::samples);
    let body = EmailIn {
        to,
        user_id: None,
        template: Some(template),
        props: props.or(samples),
        from: None,
        subject: None,
        reply_to: None,
        category: None,
        not_after: None,
        idempotency_key: None,
    };
    let asked = Asked::check(app, body)?;
    let queued = mail::request_test(app, actor, &asked.mail).await?;
    Ok(asked.answer(queued))
}

/// Props that are missing or of the wrong kind.
pub(crate) fn prop_issues(template: &Template, props: &Properties) -> Vec<Issue> {
    let faults = template.faults(props).into_iter();
    let wrong = faults.filter(|fault| !matches!(fault, PropFault::Unknown { .. }));
    wrong
        .map(|fault| Issue::new(&format!("props.{}", fault.name()), fault.to_string()))
        .collect()
}

/// The first of the props that the template does not use.
fn prop_warnings(template: &Template, props: &Properties) -> Vec<String> {
    let said = misfits(template, props).into_iter().take(20);
    said.map(|(name, said)| foreign::text(&format!("props.{name} {said}"), 500))
        .collect()
}

/// A validated request.
struct Asked {
    mail: Requested,
    warnings: Vec<String>,
}

impl Asked {
    fn check(app: &App, body: EmailIn) -> Result<Self, ApiError> {
        let mut issues = Vec::new();
        let mut warnings = Vec::new();
        let template = body.template.unwrap_or_default();
        let catalog = app.catalog();
        let found = catalog.template(&template);
        let mut category = body.category;
        if let Some(found) = found {
            let props = body.props.clone().unwrap_or_default();
            issues.extend(prop_issues(found, &props));
            warnings.extend(prop_warnings(found, &props));
            let declared = found.category.as_deref().unwrap_or(templates::CATEGORY);
            // Contacts who unsubscribed from everything still get transactional mail, so only the
            // template, not the caller, may declare a mail transactional.
            if category.as_deref() == Some(TRANSACTIONAL) && declared != TRANSACTIONAL {
                category = None;
                warnings.push(format!(
                    "category: template '{template}' is not declared transactional, so the mail is of the category '{declared}'"
                ));
            }
        } else if template.is_empty() {
            issues.push(Issue::new("template", "is required"));
        } else {
            let why = format!("is unknown: {}", catalog.no_template(&template));
            issues.push(Issue::new("template", why));
        }
        let address = |path: &str, text: Option<String>, issues: &mut Vec<Issue>| {
            let text = text?;
            match text.parse::<NameAddr>() {
                Ok(mailbox) => Some(mailbox.to_string()),
                Err(error) => {
                    let message = format!("{error}; it must be an address, or Name <address>");
                    issues.push(Issue::new(path, message));
                    None
                }
            }
        };
        let from = address("from", body.from, &mut issues);
        let reply_to = address("replyTo", body.reply_to, &mut issues);
        if let Some(subject) = &body.subject
            && (subject.trim().is_empty() || subject.chars().count() > SUBJECT_MAX)
        {
            let message = format!("must have 1 to {SUBJECT_MAX} characters");
            issues.push(Issue::new("subject", message));
        }
        if let Some(fault) = category
            .as_deref()
            .and_then(|category| app.catalog().category_fault(category))
        {
            issues.push(Issue::new("category", format!("is unknown: {fault}")));
        }
        if body.not_after.is_some_and(|at| at <= app.clock.now()) {
            issues.push(Issue::new("notAfter", "must be in the future"));
        }
        if body.to.is_none() && body.user_id.is_none() {
            issues.push(Issue::new("", "to or userId is required"));
        }
        if !issues.is_empty() {
            return Err(ApiError::validation(&issues));
        }
        let identity = NewIdentity {
            external_id: body.user_id,
            email: body.to.clone(),
            ..NewIdentity::default()
        };
        let props = body.props.unwrap_or_default();
        let names = names(identity, &props, false)?;
        let mut args = SendArgs::default();
        args.template = template;
        args.to = body.to;
        args.subject = body.subject;
        args.category = category;
        args.props = props;
        let mail = Requested {
            names,
            args,
            not_after: body.not_after,
            from,
            reply_to,
        };
        Ok(Self { mail, warnings })
    }

    /// The answer to the request, whose mail is now queued.
    fn answer(self, queued: Queued) -> EmailQueuedOut {
        EmailQueuedOut {
            help: help(queued.reason.as_deref()),
            email_send_id: queued.id,
            status: queued.status,
            reason: queued.reason,
            warnings: if queued.repeated {
                Vec::new()
            } else {
                self.warnings
            },
        }
    }
}
