//! Sending a mail once more, because an administrator wants it.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::semantics::TRANSACTIONAL;

use crate::db::{self, Conn, NewSend, SendStory};
use crate::ids::SendId;

/// Decides on the same mail anew, to the same person and with the same content: it has an id and a
/// key of its own, belongs to no run, and passes the same guards. None where its content is gone.
pub async fn send_again(
    conn: &mut Conn,
    story: &SendStory,
    now: DateTime<Utc>,
) -> db::Result<Option<SendId>> {
    let Some(mut mail) = db::send_mail(conn, story.id).await? else {
        return Ok(None);
    };
    let id = SendId::new(now);
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
        // Its links and image are those of the first mail, which its clicks count for.
        links: Vec::new(),
        mail: Ok(mail),
    };
    db::send_insert(conn, &send, now).await?;
    Ok(Some(id))
}
