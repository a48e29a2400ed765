//! Sends a mail again at the request of an administrator.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Mail;
use hogsend_semantics::TRANSACTIONAL;
use serde_json::json;

use super::tracking::track_anew;
use crate::audit::{Actor, Change, Refused, audit};
use crate::context::Context;
use crate::db::{self, Conn, Contact, NewSend, SendStatus, SendStory, Topic, TrackedLink, Tx};
use crate::ids::SendId;
use crate::mailbox::Addresses;
use crate::signed_link::LinkSigner;

/// Sends a mail that is no longer being sent again, see [`send_again`]. Returns the id of the new mail.
pub async fn resend(cx: &Context, actor: &Actor, id: SendId) -> Result<SendId, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let story = db::send_story(&mut tx, id).await?;
        let story = story.ok_or(Refused::NotFound("Email not found"))?;
        if matches!(story.status, SendStatus::Queued | SendStatus::Sending) {
            return Err(Refused::Conflict("This mail is still being sent"));
        }
        let signers = (&*cx.links, &*cx.addresses);
        let new = send_again(&mut tx, signers, &story, now).await?;
        let new = new.ok_or(Refused::Conflict("The content of this mail was deleted"))?;
        let about = ("email", &*id.to_string());
        let change = Change::created(json!({ "emailSendId": new }));
        audit(&mut tx, actor, "email.resend", about, change, now).await?;
        db::stir(Topic::Mails);
        Ok((tx, new))
    };
    cx.db.transact(work).await
}

/// Creates a new mail with the same recipient and content. It has its own id, key and statistics,
/// belongs to no run and passes the same checks; its unsubscribe links are valid as long as those of any
/// new mail. None if the content was deleted.
pub async fn send_again(
    conn: &mut Conn,
    (unsubscribe, addresses): (&LinkSigner, &Addresses),
    story: &SendStory,
    now: DateTime<Utc>,
) -> db::Result<Option<SendId>> {
    let Some(mut mail) = db::send_mail(conn, story.id).await? else {
        return Ok(None);
    };
    let Some(contact) = db::contact_get(conn, story.contact_id).await? else {
        return Ok(None);
    };
    let links = db::send_links(conn, story.id).await?.into_iter();
    let links: Vec<TrackedLink> = links
        .map(|link| TrackedLink {
            id: link.id,
            url: link.url,
        })
        .collect();
    let id = SendId::new(now);
    let (html, links) = track_anew(&mail.html, (story.id, &links), id);
    mail.html = html;
    renew_tokens(&mut mail, unsubscribe, (&contact, addresses), now);
    let domain = mail.message_id.rsplit_once('@').map(|(_, domain)| domain);
    mail.message_id = format!("{id}@{}", domain.unwrap_or("localhost"));
    mail.id = id.into();
    mail.date = now;
    let send = NewSend {
        id,
        contact_id: story.contact_id,
        origin: None,
        template_key: story.template_key.clone(),
        category: story.category.clone(),
        transactional: story.category == TRANSACTIONAL,
        from: mail.from.clone(),
        to: mail.to.clone(),
        subject: mail.subject.clone(),
        idempotency_key: id.to_string(),
        links,
        mail: Ok(mail),
        not_after: now + super::fate::useful(story.category == TRANSACTIONAL),
        not_after_given: false,
        sender_given: story.sender_given.unwrap_or(false),
    };
    db::send_insert(conn, &send, now).await?;
    Ok(Some(id))
}

/// Replaces the tokens that this host signed with new ones.
fn renew_tokens(
    mail: &mut Mail,
    unsubscribe: &LinkSigner,
    contact: (&Contact, &Addresses),
    now: DateTime<Utc>,
) {
    const BEFORE: &str = "?token=";
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let renew = |text: &str| {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(BEFORE) {
            let (before, token) = rest.split_at(at + BEFORE.len());
            out.push_str(before);
            // A token is two parts with a dot between; a dot after them ends a sentence.
            let body = token.find(|c| !part(c)).unwrap_or(token.len());
            let end = match token[body..].strip_prefix('.') {
                Some(mark) => body + 1 + mark.find(|c| !part(c)).unwrap_or(mark.len()),
                None => body,
            };
            match unsubscribe.renewed(&token[..end], contact, now) {
                Some(new) => {
                    out.push_str(&new);
                    rest = &token[end..];
                }
                None => rest = token,
            }
        }
        out.push_str(rest);
        out
    };
    mail.html = renew(&mail.html);
    mail.text = renew(&mail.text);
    for (_, value) in &mut mail.headers {
        *value = renew(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ContactId;
    use crate::signed_link::{Ids, TokenError};

    #[test]
    fn our_own_tokens_are_renewed_everywhere_and_others_stay() {
        let long_ago = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ours = LinkSigner::new(&"one secret".into(), &[], "https://api.acme.test");
        let addresses = Addresses::new(&"one secret".into(), &[]);
        let theirs = LinkSigner::new(&"another".into(), &[], "https://b.test");
        let contact = Contact {
            id: ContactId::new(long_ago),
            external_id: Some("ann".into()),
            email: Some("ann@example.com".into()),
            anonymous_id: None,
            properties: Default::default(),
            first_seen_at: long_ago,
            last_seen_at: long_ago,
            listening: false,
            email_unconfirmed: false,
        };
        let reader = Ids::of(&addresses, &contact, "ann@example.com");
        let leave = || ours.url(reader, "tips");
        let choose = |at| ours.preferences_url(reader, at);
        let foreign = theirs.url(reader, "tips");
        let content = |at| {
            let (leave, choose) = (leave(), choose(at));
            [
                format!(
                    "<a href=\"{leave}\">é</a> {foreign} ?token= ?token=. ?token=a. ?token=ü.é \
                     <a href='{choose}'>"
                ),
                format!("Leave: {leave}. Or choose: {choose}"),
                format!("<{leave}>"),
            ]
        };
        let [html, text, header] = content(long_ago);
        let id = ContactId::new(now).into();
        let mut mail = Mail::new(id, "us@acme.test", "ann@example.com", now);
        mail.html = html;
        mail.text = text;
        mail.headers = vec![
            ("List-Unsubscribe".into(), header),
            ("List-Id".into(), "<tips.acme.test>".into()),
        ];
        renew_tokens(&mut mail, &ours, (&contact, &addresses), now);
        let [html, text, header] = content(now);
        assert_eq!((&mail.html, &mail.text), (&html, &text));
        assert_eq!(mail.headers[0].1, header);
        assert_eq!(mail.headers[1].1, "<tips.acme.test>");
        let token = |url: &str| url.split_once('=').unwrap().1.to_owned();
        let old = token(&choose(long_ago));
        assert_eq!(ours.verify(&old, now), Err(TokenError::Expired));
        assert!(mail.text.contains(&token(&choose(now))) && !mail.text.contains(&old));
    }
}
