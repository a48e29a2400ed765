//! Asks how likely a person is to recommend the product (NPS), and acts on the score.

use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{
    self, Condition, Ctx, Entry, Journey, Occurrence, User, Weekday, days,
};

use super::values::carry;

pub fn journey() -> Journey {
    Journey::new("feedback-nps", survey)
        .name("Recommendation survey")
        .description(
            "Asks on feedback.due for a score from 0 to 10, on a Tuesday morning, and once more \
             after four days. feedback.submitted holds the score: from 9 on it triggers \
             referral.eligible, up to 6 it triggers feedback.detractor and sends a thank-you. Skips \
             people with a failed payment or a support ticket in the last week. Reads survey_url",
        )
        .trigger("feedback.due")
        .entry(Entry::once_per(days(90)))
        .exit_on("user.deleted")
        .category("feedback")
}

async fn survey(_: User, ctx: Ctx) -> journey::Result {
    let tuesday = ctx.when().next(Weekday::Tue).at(10, 0).await?;
    ctx.sleep_until(tuesday).label("tuesday").await;
    for trouble in ["payment.failed", "support.ticket_opened"] {
        let lately = ctx.history().has_event(trouble).within(days(7)).await?;
        if lately.found {
            return ctx.exit("a bad moment to ask");
        }
    }
    let about = &ctx.event().properties;
    carry(ctx.send("feedback-nps-survey"), about, &["survey_url"]).await?;
    let mut answer = answer(&ctx).await;
    if answer.is_none() {
        let reminder = ctx.send("feedback-nps-survey").prop("reminder", true);
        carry(reminder, about, &["survey_url"]).await?;
        answer = self::answer(&ctx).await;
    }
    let Some(answer) = answer else {
        ctx.checkpoint("no-answer");
        return Ok(());
    };
    match score(&answer.properties) {
        Some(9..) => {
            ctx.checkpoint("promoter");
            let eligible = ctx.trigger("referral.eligible").prop("source", "nps");
            eligible.await?;
        }
        Some(7..) => ctx.checkpoint("passive"),
        Some(score) => {
            ctx.checkpoint("detractor");
            ctx.trigger("feedback.detractor")
                .prop("score", score)
                .await?;
            ctx.send("journey-notification")
                .subject("Thank you for your honest answer")
                .prop("title", "Thank you for your honesty")
                .prop(
                    "message",
                    "Your answer tells us that something is not as it should be. If you have a \
                     minute, reply to this mail and tell us what gets in your way. We read every \
                     reply.",
                )
                .await?;
        }
        None => ctx.checkpoint("unreadable"),
    }
    Ok(())
}

async fn answer(ctx: &Ctx) -> Option<Occurrence> {
    ctx.wait_for("feedback.submitted")
        .where_(Condition::exists("score"))
        .timeout(days(4))
        .label("answer")
        .await
        .event()
}

/// The score, from 0 to 10. It is text where it comes from the query string of a link.
fn score(answer: &Properties) -> Option<u64> {
    let score = answer.get("score")?;
    let text = score.as_str();
    let score = score.as_u64().or_else(|| text?.trim().parse().ok())?;
    (score <= 10).then_some(score)
}
