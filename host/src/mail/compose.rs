//! The decision to send: a template becomes a frozen mail, or a reason not to send one.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_mime as mime;
use hogsend_plugin_api::journey::{PropFault, SendArgs};
use hogsend_plugin_api::{Mail, Properties, StepError, Template};
use hogsend_render::{Values, render};
use hogsend_semantics::TRANSACTIONAL;
use serde_json::json;

use super::fate;
use super::tracking::{Tracked, track};
use super::untrusted::without_strangers;
use crate::context::Context;
use crate::db::{Contact, NewSend};
use crate::ids::{SendId, StateId};
use crate::nearest::nearest;
use crate::signed_link::Ids;

/// Why a transactional mail is skipped whose address nobody who is trusted has named.
pub const UNCONFIRMED: &str = "unconfirmed_address";

/// The longest a mail may be useful.
const USEFUL_MAX: TimeDelta = TimeDelta::days(366);

/// What to send to whom.
pub struct Composing<'a> {
    pub contact: &'a Contact,
    pub args: &'a SendArgs,
    /// Properties of the event behind it.
    pub event: &'a Properties,
    /// Where neither the send nor the template names a category.
    pub category: &'a str,
    /// The run and the number of its step.
    pub origin: Option<(StateId, u32)>,
    /// Further labels for the provider's reports.
    pub labels: &'a [(&'a str, &'a str)],
    /// Properties of events that anybody could have sent and that the run knows of.
    pub strange: &'a [Properties],
    /// An administrator's look at the mail: it goes whatever its reader left.
    pub test: bool,
}

/// Renders a mail for the ledger. The error is the caller's: there is no such template, or it does
/// not render.
pub async fn compose(
    cx: &Context,
    composing: Composing<'_>,
    now: DateTime<Utc>,
) -> Result<NewSend, StepError> {
    let args = composing.args;
    let template = cx.catalog.template(&args.template).ok_or_else(|| {
        StepError::new("template_unknown", cx.catalog.no_template(&args.template))
    })?;
    let category = args
        .category
        .as_deref()
        .or(template.category.as_deref())
        .unwrap_or(composing.category);
    if let Some(fault) = cx.catalog.category_fault(category) {
        return Err(StepError::new("category_unknown", fault));
    }
    let hosts = &cx.config.link_hosts;
    let believed = |values| without_strangers(template, values, composing.strange, hosts);
    let props = given(cx, template, believed(args.props.clone()))?;
    let event = believed(composing.event.clone());
    let transactional = category == TRANSACTIONAL;
    let contact = composing.contact;
    let id = SendId::new(now);
    let key = match composing.origin {
        // The same decision always has the same key.
        Some((state, seq)) => format!("{state}-{seq}"),
        None => id.to_string(),
    };
    let mut send = NewSend {
        id,
        contact_id: contact.id,
        origin: composing.origin,
        template_key: template.key.clone(),
        category: if composing.test {
            TRANSACTIONAL.to_owned()
        } else {
            category.to_owned()
        },
        transactional: transactional || composing.test,
        from: sender(cx, transactional),
        to: args
            .to
            .clone()
            .or_else(|| contact.email.clone())
            .unwrap_or_default(),
        subject: String::new(),
        idempotency_key: key,
        mail: Err("no_address"),
        links: Vec::new(),
        not_after: now + useful(args.not_after_ms.or(template.not_after_ms), transactional),
        sender_given: false,
    };
    if send.to.is_empty() {
        return Ok(send);
    }
    // It opens accounts and shows bills, and a stranger may have chosen where it goes.
    if transactional && args.to.is_none() && contact.email_unconfirmed {
        send.mail = Err(UNCONFIRMED);
        return Ok(send);
    }
    match mime::bare_address("recipient", &send.to) {
        Ok(address) => send.to = address,
        Err(_) => {
            send.mail = Err("invalid_address");
            return Ok(send);
        }
    }

    let reader = Ids::of(&cx.addresses, contact, &send.to);
    let unsubscribe_url = cx.links.url(reader, category);
    let (template, subject) = (template.clone(), args.subject.clone());
    let (catalog, shown_category) = (cx.catalog.clone(), category.to_owned());
    let about = json!({
        "id": contact.id,
        "external_id": contact.external_id,
        "email": contact.email,
        "properties": contact.properties,
    });
    let link = unsubscribe_url.clone();
    let preferences_url = cx.links.preferences_url(reader, now);
    let config = cx.config.clone();
    let (rendered, links) = tokio::task::spawn_blocking(move || {
        let values = Values {
            contact: about,
            props: &props,
            event: &event,
            category: &shown_category,
            unsubscribe_url: &link,
            preferences_url: &preferences_url,
            postal_address: &config.postal_address,
            brand: &config.brand,
            footer: &config.texts.footer(&config.brand.name, transactional),
        };
        let layout = catalog.templates().layout();
        let rendered = render(&template, layout, subject.as_deref(), &values);
        let mut rendered =
            rendered.map_err(|error| StepError::new("template_failed", error.to_string()))?;
        let mut tracking = config.tracking;
        // Links of such mails open accounts: they are kept nowhere and told to nobody.
        tracking.clicks &= !transactional;
        let about = Tracked {
            send: id,
            base: &config.api_public_url,
            tracking,
        };
        let (html, links) = track(&rendered.html, about).map_err(|error| {
            let message = format!(
                "the links of template '{}' cannot be read: {error}",
                template.key
            );
            StepError::new("template_failed", message)
        })?;
        rendered.html = html;
        Ok::<_, StepError>((rendered, links))
    })
    .await
    .map_err(|error| StepError::new("template_failed", error.to_string()))??;

    let mut subject = rendered.subject;
    if let Some(test_to) = &cx.config.policy.test_to {
        subject = format!("[to {}] {subject}", send.to);
        send.to.clone_from(test_to);
    }
    let domain = domain_of(&send.from);
    let mut headers = Vec::new();
    if !transactional {
        // RFC 8058 §3.1: both headers, the link alone being enough to unsubscribe.
        headers.push(("List-Unsubscribe".into(), format!("<{unsubscribe_url}>")));
        headers.push((
            "List-Unsubscribe-Post".into(),
            "List-Unsubscribe=One-Click".into(),
        ));
        // RFC 2919 §3: an identifier within a domain of the sender.
        headers.push(("List-Id".into(), format!("<{}.{domain}>", label(category))));
    }
    let mut tags = vec![
        ("template".into(), args.template.clone()),
        ("category".into(), category.to_owned()),
    ];
    tags.extend(
        composing
            .labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    );
    send.subject.clone_from(&subject);
    send.links = links;
    send.mail = Ok(Mail {
        id: id.into(),
        from: send.from.clone(),
        to: send.to.clone(),
        reply_to: None,
        subject,
        html: rendered.html,
        text: rendered.text,
        headers,
        tags,
        date: now,
        message_id: format!("{id}@{domain}"),
    });
    Ok(send)
}

/// The values a template gets. What it declares as required has to be there; what does not fit is
/// left out, for it may come from an event, and a word too many only told of.
fn given(cx: &Context, template: &Template, props: Properties) -> Result<Properties, StepError> {
    for (name, said) in misfits(template, &props) {
        let key = &template.key;
        if cx.catalog.templates().first_time(&format!("{key} {name}")) {
            tracing::warn!("template '{key}': props.{name} {said}");
        }
    }
    let props = template.fitting(props);
    let missing: Vec<String> = template
        .faults(&props)
        .into_iter()
        .filter(|fault| matches!(fault, PropFault::Missing { .. }))
        .map(|fault| format!("props.{} {fault}", fault.name()))
        .collect();
    if missing.is_empty() {
        return Ok(props);
    }
    let message = format!("template '{}': {}", template.key, missing.join(", "));
    Err(StepError::new("props_missing", message))
}

/// Values that do not fit or are not used, each with what to say of it.
pub fn misfits(template: &Template, props: &Properties) -> Vec<(String, String)> {
    let faults = template.faults(props).into_iter();
    let said = faults.filter_map(|fault| {
        let name = fault.name().to_owned();
        match fault {
            PropFault::Missing { .. } => None,
            PropFault::Wrong { why, .. } => Some((name, format!("{why}; it is left out"))),
            PropFault::Unknown { .. } => {
                let known: Vec<&str> = template.props.iter().map(|prop| &*prop.name).collect();
                let near = nearest(&name, known.iter().copied());
                let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
                let said = format!("is not used{near}; the template uses {}", known.join(", "));
                Some((name, said))
            }
        }
    });
    said.collect()
}

/// How long the mail is useful: as its send says, its template, or the kind of mail it is.
fn useful(asked_ms: Option<u64>, transactional: bool) -> TimeDelta {
    let asked = asked_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let asked = asked.map(|ms| TimeDelta::milliseconds(ms.min(USEFUL_MAX.num_milliseconds())));
    asked.unwrap_or_else(|| fate::useful(transactional))
}

/// The installation's sender of such mail. Its form was checked at start.
pub(super) fn sender(cx: &Context, transactional: bool) -> String {
    let own = cx.config.from_transactional.as_ref();
    let own = own.filter(|_| transactional);
    let from = own.unwrap_or(&cx.config.from_email);
    mime::name_addr("sender", from).map_or_else(|_| from.clone(), |from| from.to_string())
}

/// The domain of `Name <local@domain>` or `local@domain`.
pub(super) fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("localhost", |(_, domain)| {
        domain.trim_end_matches('>').trim()
    })
}

/// A category as part of a host name.
fn label(category: &str) -> String {
    let plain = category.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    plain.collect()
}
