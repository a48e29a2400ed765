//! Milestones: a mail for the first in a week, and a digest for the others.

use hogsend_plugin_api::journey::{
    self, Ctx, Digest, Entry, Journey, Occurrence, Send, User, hours, weeks,
};
use serde_json::{Value, json};

use super::daytime::daytime;
use super::values::{carry, text};

/// The most milestones in a list; nobody reads a longer one.
const LISTED: usize = 10;

pub fn journey() -> Journey {
    Journey::new("retention-milestone", celebrate)
        .name("Milestones")
        .description(
            "Congratulates on milestone.reached: on the first in a week within the day, and seven \
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
        // An import reaches several at once, and mails at night wait for the day.
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
        // The digest counts as the week's mail: later milestones join the next digest.
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
