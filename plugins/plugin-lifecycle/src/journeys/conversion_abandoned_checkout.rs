//! An abandoned checkout: a reminder and an offer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::{
    self, Condition, Ctx, Entry, Journey, Occurrence, User, days, hours, minutes,
};

use super::daytime::daytime;
use super::values::{carry, text};

pub fn journey() -> Journey {
    Journey::new("conversion-abandoned-checkout", remind)
        .name("Abandoned checkout")
        .description(
            "From checkout.started to order.completed with the same checkout_id, or to any \
             order.completed if checkout.started has no checkout_id: a reminder after an hour, in \
             the daytime, and two days later the offer, if the event has one, at most once in 30 \
             days. Ends early with checkout.cancelled. Reads checkout_id, url and offer",
        )
        .trigger("checkout.started")
        .entry(Entry::DAILY)
        .exit_on("checkout.cancelled")
        .exit_on("user.deleted")
        .suppress(hours(20))
}

async fn remind(_: User, ctx: Ctx) -> journey::Result {
    let began = ctx.now();
    let about = &ctx.event().properties;
    if order(&ctx, began, hours(1)).await.is_some() {
        ctx.checkpoint("ordered");
        return Ok(());
    }
    let day = ctx.when().window((9, 0), (20, 0)).await?;
    let until_day = (day - ctx.now()).to_std().unwrap_or_default();
    if order(&ctx, began, until_day).await.is_some() {
        ctx.checkpoint("ordered");
        return Ok(());
    }
    let reminder = ctx
        .send("journey-notification")
        .subject("Your order is not finished yet")
        .prop("title", "You were almost there")
        .prop(
            "message",
            "You began an order and did not finish it. If something got in the way, what you \
             chose is still there, and you can go on where you stopped.",
        )
        .prop(
            "closing",
            "If you changed your mind, there is nothing to do.",
        )
        .prop("action", "Finish the order");
    carry(reminder, about, &["url"]).await?;

    if order(&ctx, began, days(2)).await.is_some() {
        ctx.checkpoint("ordered-after-reminder");
        return Ok(());
    }
    if text(about, "offer").is_none() {
        ctx.checkpoint("let-go");
        return Ok(());
    }
    // Otherwise people could abandon checkouts to get a discount.
    if !ctx.throttle(1, days(30)).await? {
        return ctx.exit("had an offer in the last 30 days");
    }
    daytime(&ctx).await?;
    carry(
        ctx.send("conversion-winback-offer"),
        about,
        &["url", "offer"],
    )
    .await?;
    Ok(())
}

/// The order of this checkout, at any time since it began.
async fn order(ctx: &Ctx, began: DateTime<Utc>, limit: Duration) -> Option<Occurrence> {
    let since_entry = (ctx.now() - began).to_std().unwrap_or_default();
    let wait = ctx
        .wait_for("order.completed")
        .timeout(limit)
        .lookback(since_entry + minutes(5))
        .label("order");
    let checkout = ctx.event().properties.get("checkout_id");
    match checkout.filter(|id| id.is_string() || id.is_number()) {
        Some(id) => wait.where_(Condition::eq("checkout_id", id.clone())).await,
        None => wait.await,
    }
    .event()
}
