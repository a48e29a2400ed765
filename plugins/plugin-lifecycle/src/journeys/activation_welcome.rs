//! A welcome, and two days later a nudge for people who have not used the product yet.

use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, User, days, hours};

pub fn journey() -> Journey {
    Journey::new("activation-welcome", welcome)
        .name("Welcome")
        .description(
            "Welcomes people on user.created, and two days later nudges those without a \
             feature.used",
        )
        .trigger("user.created")
        .entry(Entry::Once)
        .exit_on("user.deleted")
}

async fn welcome(_: User, ctx: Ctx) -> journey::Result {
    let entered = ctx.now();
    ctx.send("welcome").await?;
    ctx.sleep(days(2)).label("settle-in").await;
    // Counted from entry, because the welcome may have waited for its provider. One hour more
    // allows for products that report an event before they report its user.
    let since_entry = (ctx.now() - entered).to_std().unwrap_or_default();
    let used = ctx
        .history()
        .has_event("feature.used")
        .within(since_entry + hours(1))
        .await?;
    if used.found {
        ctx.checkpoint("already-active");
    } else {
        ctx.send("activation-nudge").await?;
    }
    Ok(())
}
