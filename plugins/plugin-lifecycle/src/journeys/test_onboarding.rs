//! Tests a deployment: one event triggers a chain of three through the whole system, without mail.

use hogsend_plugin_api::journey::{self, Ctx, Journey, User};

use super::values::text;

pub fn journey() -> Journey {
    Journey::new("test-onboarding", onboarding)
        .name("Deployment test")
        .description(
            "Goes from test.signup through journey.welcome_fired to journey.completed, on the pro \
             or the free path by the event's plan, else the person's; sends no mail",
        )
        .trigger("test.signup")
}

async fn onboarding(user: User, ctx: Ctx) -> journey::Result {
    let plan = text(&ctx.event().properties, "plan")
        .or(text(&user.properties, "plan"))
        .unwrap_or("free");
    ctx.trigger("journey.welcome_fired")
        .prop("plan", plan)
        .await?;
    ctx.checkpoint(if plan == "pro" {
        "pro-path"
    } else {
        "free-path"
    });
    // The host ingests `journey.completed` when a run completes.
    Ok(())
}
