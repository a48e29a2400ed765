//! Proves a deployment: one event in, a chain of three through the whole system, no mail.

use hogsend_plugin_api::journey::{self, Ctx, Journey, User};

use super::values::text;

pub fn journey() -> Journey {
    Journey::new("test-onboarding", onboarding)
        .name("Deployment test")
        .description(
            "Leads from test.signup over journey.welcome_fired to journey.completed, on the pro or \
             the free path by the event's plan, else the person's; sends nothing",
        )
        .trigger("test.signup")
}

async fn onboarding(user: User, ctx: Ctx) -> journey::Result {
    let told = text(&ctx.event().properties, "plan");
    let plan = told.or(text(&user.properties, "plan")).unwrap_or("free");
    ctx.trigger("journey.welcome_fired")
        .prop("plan", plan)
        .await?;
    ctx.checkpoint(if plan == "pro" {
        "pro-path"
    } else {
        "free-path"
    });
    // The host ingests `journey.completed` when a run ends well.
    Ok(())
}
