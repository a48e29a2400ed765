//! An invitation to recommend the product, and a thank-you to people who did.

use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, User, days};

use super::daytime::daytime;
use super::values::{carry, text};

pub fn journey() -> Journey {
    Journey::new("referral-invite", invite)
        .name("Referral")
        .description(
            "On referral.eligible, invites people to recommend the product, at most twice a year \
             and never while a payment is open. The first referral.joined within 30 days is \
             answered with a thank-you, once per person. Reads url and reward",
        )
        .trigger("referral.eligible")
        .entry(Entry::once_per(days(182)))
        .exit_on("user.deleted")
        .suppress(days(1))
        .category("referral")
}

async fn invite(_: User, ctx: Ctx) -> journey::Result {
    if ctx.history().journey("churn-prevention").await?.active {
        return ctx.exit("a payment is open");
    }
    if !ctx.guard().is_subscribed().await? {
        return ctx.exit("is not subscribed to these mails");
    }
    // Asking right after the survey that made the person eligible looks greedy.
    ctx.sleep(days(1)).label("next-day").await;
    daytime(&ctx).await?;
    let about = &ctx.event().properties;
    let reward = match text(about, "reward") {
        Some(reward) => format!("For everyone who joins through you: {reward}."),
        None => "There is nothing in it for you but our thanks, and we mean those.".into(),
    };
    let invitation = ctx
        .send("journey-notification")
        .subject("Do you know somebody who would like this?")
        .prop("title", "Know somebody who would like this?")
        .prop(
            "message",
            "You seem to get along well here, which makes us glad. If somebody comes to mind who \
             could use this too, we would be grateful for a word from you.",
        )
        .prop("closing", reward)
        .prop("action", "Invite somebody");
    carry(invitation, about, &["url"]).await?;

    let joined = ctx
        .wait_for("referral.joined")
        .timeout(days(30))
        .label("somebody-joins")
        .await;
    if joined.event().is_none() {
        ctx.checkpoint("nobody-joined");
        return Ok(());
    }
    ctx.checkpoint("joined");
    // Only the first time: a mail for each referral would be noise.
    ctx.once("thanked", async {
        // Keeps a distance to the invitation if the referral follows within minutes.
        ctx.sleep(days(2)).label("settle-in").await;
        let thanks = ctx
            .send("journey-notification")
            .subject("Somebody joined through you. Thank you!")
            .prop("title", "Somebody joined through you")
            .prop(
                "message",
                "Somebody you told about us has just begun. A recommendation is the kindest thing \
                 one can do for a small product. Thank you.",
            );
        Ok::<_, journey::Error>(thanks.await?.is_sent())
    })
    .await?;
    Ok(())
}
