//! A welcome, and two days later a nudge for whoever has not used the product yet.

use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, User, days};

pub fn journey() -> Journey {
    Journey::new("activation-welcome", welcome)
        .name("Welcome")
        .description("Welcomes new people and nudges those who have not started after two days")
        .trigger("user.created")
        .entry(Entry::Once)
        .exit_on("user.deleted")
}

async fn welcome(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("welcome").await?;
    ctx.sleep(days(2)).label("settle-in").await;
    // Since entry, with an hour to spare for products that report late or in another order.
    let used = ctx
        .history()
        .has_event("feature.used")
        .within(days(2) + journey::hours(1))
        .await?;
    if used.found {
        ctx.checkpoint("already-active");
    } else {
        ctx.send("activation-nudge").await?;
    }
    Ok(())
}
