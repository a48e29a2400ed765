//! Mails without a template, from the installation to its administrators.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Mail;
use hogsend_semantics::TRANSACTIONAL;

use super::compose::{Undeliverable, deliverable, domain_of, redirect, sender};
use crate::context::Context;
use crate::db::{Contact, NewSend};
use crate::ids::SendId;
use crate::purpose::Purpose;

/// A mail of a few paragraphs, for the ledger. `key` is its idempotency key.
pub fn plain(
    cx: &Context,
    contact: &Contact,
    (name, key): (&str, String),
    (subject, paragraphs): (&str, &[String]),
    now: DateTime<Utc>,
) -> NewSend {
    let id = SendId::marked(now, &cx.mark);
    let mut send = NewSend {
        id,
        contact_id: contact.id,
        origin: None,
        template_key: name.to_owned(),
        category: TRANSACTIONAL.to_owned(),
        transactional: true,
        from: sender(cx, Purpose::Transactional),
        to: String::new(),
        subject: subject.to_owned(),
        idempotency_key: key,
        mail: Err("no_address"),
        links: Vec::new(),
        not_after: now + super::fate::useful(true),
        not_after_given: false,
        sender_given: false,
    };
    match deliverable(contact.email.as_deref().unwrap_or_default()) {
        Ok(address) => send.to = address,
        Err(Undeliverable { address, reason }) => {
            send.to = address;
            send.mail = Err(reason);
            return send;
        }
    }
    let test_to = cx.config.policy.test_to.as_deref();
    redirect(test_to, &mut send.to, &mut send.subject);
    let body: String = paragraphs
        .iter()
        .map(|text| format!("<p>{}</p>", htmlize::escape_text(text.as_str())))
        .collect();
    let title = htmlize::escape_text(subject);
    let mut mail = Mail::new(id.into(), &send.from, &send.to, now);
    mail.subject.clone_from(&send.subject);
    mail.html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         </head><body style=\"font-family:sans-serif;line-height:1.5\">{body}</body></html>"
    );
    mail.text = format!("{}\n", paragraphs.join("\n\n"));
    mail.tags = vec![
        ("template".into(), name.to_owned()),
        ("category".into(), TRANSACTIONAL.to_owned()),
    ];
    mail.message_id = format!("{id}@{}", domain_of(&send.from));
    send.mail = Ok(mail);
    send
}
