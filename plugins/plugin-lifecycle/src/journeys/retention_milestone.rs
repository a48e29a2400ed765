//! Milestones: the first of a week is congratulated on its own, the others together.

use hogsend_plugin_api::journey::{
    self, Ctx, Digest, Entry, Journey, Occurrence, Send, User, hours, weeks,
};
use serde_json::{Value, json};

use super::daytime::daytime;
use super::values::{carry, text};

/// More would make a list nobody reads to its end.
const LISTED: usize = 10;

pub fn journey() -> Journey {
    Journey::new("retention-milestone", celebrate)
        .name("Milestones")
        .description(
            "Congratulates on milestone.reached: at once by day on the first in a week, and seven \
             days later on all that followed, in one digest. Reads milestone, detail and url of \
             each event",
        )
        .trigger("milestone.reached")
        .entry(Entry::Unlimited)
        .exit_on("user.deleted")
        .suppress(hours(6))
        .category("milestones")
}

async fn celebrate(_: User, ctx: Ctx) -> journey::Result {
    if ctx.throttle(1, weeks(1)).await? {
        // An import reaches several at a time, and what is reached at night waits for the day.
        let day = ctx.when().window((9, 0), (20, 0)).await?;
        let until_day = (day - ctx.now()).to_std().unwrap_or_default();
        let reached = ctx.digest(until_day.max(hours(1))).await?;
        match &reached.events[..] {
            [] | [_] => {
                ctx.checkpoint("one");
                let about = &ctx.event().properties;
                let mail = ctx.send("retention-achievement");
                carry(mail, about, &["milestone", "detail", "url"]).await?;
            }
            _ => {
                ctx.checkpoint("several");
                listed(ctx.send("retention-weekly-digest"), &reached).await?;
            }
        }
    } else {
        let reached = ctx.digest(weeks(1)).label("week").await?;
        // The digest is a week's mail too: what is reached after it joins the next.
        ctx.throttle(1, weeks(1)).await?;
        daytime(&ctx).await?;
        ctx.checkpoint("week");
        listed(ctx.send("retention-weekly-digest"), &reached).await?;
    }
    Ok(())
}

/// The newest milestones as a list, and how many there were.
fn listed(mail: Send, reached: &Digest) -> Send {
    let skipped = reached.events.len().saturating_sub(LISTED);
    let items: Vec<_> = reached.events[skipped..].iter().map(item).collect();
    mail.prop("count", reached.count).prop("items", items)
}

fn item(event: &Occurrence) -> Value {
    let title = text(&event.properties, "milestone").unwrap_or("A milestone");
    json!({ "title": title, "detail": text(&event.properties, "detail") })
}
