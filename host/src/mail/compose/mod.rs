//! The decision to send: a template becomes a frozen mail, or a reason not to send one.
//!
//! `whom` finds the address and says whether it may be written to, `what` renders the content, and
//! `envelope` adds sender, headers and tags. None of them reads the database.

mod envelope;
mod what;
mod whom;

pub(super) use envelope::{domain_of, redirect, sender};
pub use what::misfits;
pub use whom::UNCONFIRMED;
pub(super) use whom::{Undeliverable, deliverable};

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::SendArgs;
use hogsend_plugin_api::{Properties, StepError, Template};
use hogsend_semantics::TRANSACTIONAL;
use serde_json::json;
use tracing::Instrument as _;

use self::envelope::Envelope;
use self::what::{RenderJob, values};
use self::whom::whom;
use super::fate;
use crate::context::Context;
use crate::db::{Contact, NewSend};
use crate::ids::{SendId, StateId};
use crate::purpose::Purpose;
use crate::signed_link::Ids;
use crate::telemetry::traces::spans;

/// The longest a mail may be useful.
const USEFUL_MAX: TimeDelta = TimeDelta::days(366);

/// What to send to whom.
pub struct Composing<'a> {
    pub contact: &'a Contact,
    pub args: &'a SendArgs,
    /// Properties of the event behind the mail.
    pub event: &'a Properties,
    /// Used if neither the send nor the template names a category.
    pub category: &'a str,
    /// How long the mail is useful, in milliseconds, if neither the send nor the template says it.
    pub not_after_ms: Option<u64>,
    /// The run and the number of its step.
    pub origin: Option<(StateId, u32)>,
    /// Further tags for the provider's reports.
    pub labels: &'a [(&'a str, &'a str)],
    /// Properties of untrusted events that the run knows.
    pub strange: &'a [Properties],
    /// An administrator's test of the template: it is sent even if the recipient unsubscribed.
    pub test: bool,
}

/// Renders a mail for the ledger.
///
/// # Errors
/// The caller's mistakes: `template_unknown`, `category_unknown`, `props_missing`,
/// `template_failed`.
pub async fn compose(
    cx: &Context,
    composing: Composing<'_>,
    now: DateTime<Utc>,
) -> Result<NewSend, StepError> {
    let args = composing.args;
    let catalog = cx.catalog();
    let template = catalog
        .template(&args.template)
        .ok_or_else(|| StepError::new("template_unknown", catalog.no_template(&args.template)))?;
    let category = category(cx, template, &composing)?;
    let (props, event) = values(cx, template, &composing)?;
    let send = undecided(cx, &composing, (template, category), now);
    let span = spans::compose(send.id, &template.key);
    render(
        cx,
        composing,
        (template, category),
        (props, event),
        send,
        now,
    )
    .instrument(span)
    .await
}

/// Finds the address and renders the content.
async fn render(
    cx: &Context,
    composing: Composing<'_>,
    (template, category): (&Template, &str),
    (props, event): (Properties, Properties),
    mut send: NewSend,
    now: DateTime<Utc>,
) -> Result<NewSend, StepError> {
    let Composing { contact, args, .. } = composing;
    let catalog = cx.catalog();
    let transactional = category == TRANSACTIONAL;
    let to = match whom(contact, args.to.as_deref(), transactional) {
        Ok(address) => address,
        Err(Undeliverable { address, reason }) => {
            send.to = address;
            send.mail = Err(reason);
            return Ok(send);
        }
    };

    let reader = Ids::of(&cx.addresses, contact, &to);
    let unsubscribe_url = cx.links.url(reader, category);
    let job = RenderJob {
        send: send.id,
        template: template.clone(),
        subject: args.subject.clone(),
        contact: json!({
            "id": contact.id,
            "external_id": contact.external_id,
            "email": contact.email,
            "properties": contact.properties,
        }),
        props,
        event,
        category: category.to_owned(),
        unsubscribe_url: unsubscribe_url.clone(),
        preferences_url: cx.links.preferences_url(reader, now),
        layout: catalog
            .templates()
            .layout_of(&args.template)
            .map(str::to_owned),
        config: cx.config.clone(),
    };
    let (content, links) = job.run().await?;
    let envelope = Envelope {
        id: send.id,
        from: &send.from,
        to,
        template: &args.template,
        category,
        unsubscribe_url: &unsubscribe_url,
        labels: composing.labels,
        test_to: cx.config.policy.test_to.as_deref(),
        date: now,
    };
    let mail = envelope.seal(content);
    send.to.clone_from(&mail.to);
    send.subject.clone_from(&mail.subject);
    send.links = links;
    send.mail = Ok(mail);
    Ok(send)
}

/// The category of the send, else of the template, else the caller's.
fn category<'a>(
    cx: &Context,
    template: &'a Template,
    composing: &Composing<'a>,
) -> Result<&'a str, StepError> {
    let own = composing.args.category.as_deref();
    let own = own.or(template.category.as_deref());
    let category = own.unwrap_or(composing.category);
    match cx.catalog().category_fault(category) {
        Some(fault) => Err(StepError::new("category_unknown", fault)),
        None => Ok(category),
    }
}

/// The row of the ledger, before address and content are known.
fn undecided(
    cx: &Context,
    composing: &Composing<'_>,
    (template, category): (&Template, &str),
    now: DateTime<Utc>,
) -> NewSend {
    let id = SendId::marked(now, &cx.mark);
    let transactional = category == TRANSACTIONAL;
    let own = composing.args.not_after_ms.or(template.not_after_ms);
    let asked_ms = own.or(composing.not_after_ms);
    NewSend {
        id,
        contact_id: composing.contact.id,
        origin: composing.origin,
        template_key: template.key.clone(),
        category: match composing.test {
            true => TRANSACTIONAL.to_owned(),
            false => category.to_owned(),
        },
        transactional: transactional || composing.test,
        from: sender(cx, Purpose::when(transactional)),
        to: String::new(),
        subject: String::new(),
        idempotency_key: match composing.origin {
            // The same decision always has the same key.
            Some((state, seq)) => format!("{state}-{seq}"),
            None => id.to_string(),
        },
        mail: Err("no_address"),
        links: Vec::new(),
        not_after: now + useful(asked_ms, transactional),
        not_after_given: false,
        sender_given: false,
    }
}

/// How long the mail is useful: as the send says, else the template, else by its category.
fn useful(asked_ms: Option<u64>, transactional: bool) -> TimeDelta {
    let asked = asked_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let asked = asked.map(|ms| TimeDelta::milliseconds(ms.min(USEFUL_MAX.num_milliseconds())));
    asked.unwrap_or_else(|| fate::useful(transactional))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_useful_as_long_as_its_send_says_and_a_year_at_most() {
        assert_eq!(useful(Some(60_000), true), TimeDelta::minutes(1));
        assert_eq!(useful(None, true), fate::useful(true));
        assert_eq!(useful(Some(u64::MAX), false), USEFUL_MAX);
    }
}
