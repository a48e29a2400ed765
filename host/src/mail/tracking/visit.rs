//! Records opens and clicks as they arrive. Whether a person or a machine made them is judged later.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::machine::HEAD;
use crate::context::Context;
use crate::db::{self, NewVisit};
use crate::ids::{self, SendId};
use crate::mail::feedback::SETTLE;

/// A request for a link or an image.
pub struct Fetch {
    /// It asked for the head only, as no mail client of a person does.
    pub head: bool,
    /// What it said about itself.
    pub detail: Value,
}

/// Records a click and returns where the link leads; None if there is no such link.
pub async fn click(cx: &Context, link: Uuid, fetch: Fetch) -> db::Result<Option<String>> {
    let now = cx.clock.now();
    let visit = visit(fetch, now);
    db::click_insert(&mut *cx.db.conn().await?, link, &visit, now).await
}

/// Records that the image of a mail was fetched. False if there is no such mail.
pub async fn open(cx: &Context, mail: SendId, fetch: Fetch) -> db::Result<bool> {
    let now = cx.clock.now();
    let visit = visit(fetch, now);
    db::open_insert(&mut *cx.db.conn().await?, mail, &visit, now).await
}

fn visit(fetch: Fetch, now: DateTime<Utc>) -> NewVisit {
    let machine = fetch.head.then_some(HEAD);
    NewVisit {
        id: ids::at(now),
        machine,
        detail: fetch.detail,
        settle_at: machine.is_none().then(|| now + SETTLE),
    }
}
