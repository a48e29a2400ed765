//! A mail that the product or an administrator asks for.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::SendArgs;
use serde_json::json;

use super::compose::{Composing, compose};
use super::frequency::refusal;
use crate::audit::{Actor, Change, Refused, audit};
use crate::contacts;
use crate::context::Context;
use crate::db::{self, Contact, NewIdentity, NewSend, Tx};
use crate::ids::SendId;
use crate::ingest;
use crate::states::SendStatus;
use crate::templates;

/// A mail to one contact. The values are those of a validated request.
pub struct Requested {
    /// The recipient: the contact with the product's id, which must exist, or the contact with the address,
    /// which is created if necessary.
    pub names: NewIdentity,
    pub args: SendArgs,
    /// It is not sent after this time; None leaves that to its category.
    pub not_after: Option<DateTime<Utc>>,
    /// The sender; None means the installation's.
    pub from: Option<String>,
    pub reply_to: Option<String>,
}

/// A mail that is stored.
pub struct Queued {
    pub id: SendId,
    /// [`SendStatus::Queued`] or [`SendStatus::Skipped`]; or its present status, if it is `repeated`.
    pub status: SendStatus,
    /// Why it was skipped.
    pub reason: Option<String>,
    /// A request with the same key queued it before.
    pub repeated: bool,
}

/// Renders and stores a mail. With a `key` that was used before it stores nothing and returns the first
/// mail.
pub async fn request(
    cx: &Context,
    requested: &Requested,
    key: Option<&str>,
) -> Result<Queued, Refused> {
    queue(cx, requested, key, None).await
}

/// Renders and stores a test mail of a template. It ignores preferences, but a suppressed address gets
/// nothing.
pub async fn request_test(
    cx: &Context,
    actor: &Actor,
    requested: &Requested,
) -> Result<Queued, Refused> {
    queue(cx, requested, None, Some(actor)).await
}

/// `tester` is the administrator who asks for a test.
async fn queue(
    cx: &Context,
    requested: &Requested,
    key: Option<&str>,
    tester: Option<&Actor>,
) -> Result<Queued, Refused> {
    if let Some(known) = known(cx, key).await? {
        return Ok(known);
    }
    let now = cx.clock.now();
    // Rendering holds no connection: the embedded database has only one.
    let contact = recipient(cx, &requested.names, now).await?;
    let composed = composed(cx, requested, &contact, key, tester.is_some()).await?;
    let work = async |mut tx: Tx| {
        let refused = match &composed.mail {
            Ok(_) => refusal(cx, &mut tx, &composed).await?,
            Err(_) => None,
        };
        let skipped = refused.map(|reason| NewSend {
            mail: Err(reason),
            links: Vec::new(),
            ..composed.clone()
        });
        let send = skipped.as_ref().unwrap_or(&composed);
        db::send_insert(&mut tx, send, now).await?;
        if let Some(actor) = tester {
            let change = Change::created(json!({ "emailSendId": send.id }));
            let about = ("template", send.template_key.as_str());
            audit(&mut tx, actor, "template.send_test", about, change, now).await?;
        }
        let reason = send.mail.as_ref().err().copied();
        db::Result::Ok((tx, reason))
    };
    match cx.db.transact(work).await {
        Ok(reason) => Ok(Queued {
            id: composed.id,
            status: match reason {
                Some(_) => SendStatus::Skipped,
                None => SendStatus::Queued,
            },
            reason: reason.map(str::to_owned),
            repeated: false,
        }),
        Err(error) => {
            // A concurrent request with the same key was faster.
            let twin = error.as_database_error();
            if twin.is_some_and(|error| error.is_unique_violation())
                && let Some(known) = known(cx, key).await?
            {
                return Ok(known);
            }
            Err(error.into())
        }
    }
}

async fn recipient(
    cx: &Context,
    names: &NewIdentity,
    now: DateTime<Utc>,
) -> Result<Contact, Refused> {
    let work = async |mut tx: Tx| {
        let contact = match (&names.external_id, &names.email) {
            (Some(id), None) => {
                let found = contacts::named(&mut tx, Some(id), None).await?;
                let found = found.into_iter().next();
                found.ok_or(Refused::NotFound("Contact not found"))?
            }
            _ => ingest::put(&mut tx, &cx.catalog(), names, Properties::new(), now)
                .await?
                .map(|put| Arc::unwrap_or_clone(put.contact))
                .ok_or(ingest::NOT_STORED)?,
        };
        Ok::<_, Refused>((tx, contact))
    };
    cx.db.transact(work).await
}

/// The mail that an earlier request with this key queued.
async fn known(cx: &Context, key: Option<&str>) -> db::Result<Option<Queued>> {
    let Some(key) = key else { return Ok(None) };
    let mut conn = cx.db.conn().await?;
    let found = db::send_by_key(&mut conn, key).await?;
    Ok(found.map(|(id, status, reason)| Queued {
        id,
        status,
        reason,
        repeated: true,
    }))
}

async fn composed(
    cx: &Context,
    requested: &Requested,
    contact: &Contact,
    key: Option<&str>,
    test: bool,
) -> Result<NewSend, Refused> {
    let composing = Composing {
        contact,
        args: &requested.args,
        event: &Properties::new(),
        category: templates::CATEGORY,
        not_after_ms: None,
        origin: None,
        labels: &[],
        strange: &[],
        test,
    };
    let composed = compose(cx, composing, cx.clock.now()).await;
    let mut send = composed.map_err(|error| Refused::invalid("template", error.message))?;
    if let Some(key) = key {
        key.clone_into(&mut send.idempotency_key);
    }
    if let Some(from) = &requested.from {
        send.from.clone_from(from);
        send.sender_given = true;
    }
    if let Some(not_after) = requested.not_after {
        send.not_after = not_after;
        send.not_after_given = true;
    }
    if let Ok(mail) = &mut send.mail {
        mail.from.clone_from(&send.from);
        mail.reply_to.clone_from(&requested.reply_to);
    }
    Ok(send)
}
