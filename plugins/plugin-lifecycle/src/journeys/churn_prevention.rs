//! A failed payment: three reminders over three days.

use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, User, days, hours};

use super::daytime::daytime;
use super::values::carry;

pub fn journey() -> Journey {
    Journey::new("churn-prevention", remind)
        .name("Failed payment")
        .description(
            "Sends reminders on payment.failed: at once, after one day and after three, until \
             payment.succeeded or subscription.cancelled. A day after the last reminder it \
             triggers payment.unresolved, for your team to handle. Reads amount, plan and url",
        )
        .trigger("payment.failed")
        .entry(Entry::once_per(days(7)))
        .exit_on("payment.succeeded")
        .exit_on("subscription.cancelled")
        .exit_on("user.deleted")
        .suppress(hours(6))
        .category("billing")
}

async fn remind(_: User, ctx: Ctx) -> journey::Result {
    reminder(&ctx, 1).await?;
    ctx.sleep(days(1)).label("first-day").await;
    daytime(&ctx).await?;
    reminder(&ctx, 2).await?;
    ctx.sleep(days(2)).label("third-day").await;
    daytime(&ctx).await?;
    reminder(&ctx, 3).await?;
    ctx.sleep(days(1)).label("last-chance").await;
    ctx.checkpoint("unpaid");
    ctx.trigger("payment.unresolved").await?;
    Ok(())
}

async fn reminder(ctx: &Ctx, number: u32) -> journey::Result {
    let mail = ctx.send("churn-payment-failed").prop("reminder", number);
    let about = &ctx.event().properties;
    carry(mail, about, &["url", "amount", "plan"]).await?;
    Ok(())
}
