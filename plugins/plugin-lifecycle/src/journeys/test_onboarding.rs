//! Proves a deployment: one event in, a chain of three through the whole system, no mail.

use hogsend_plugin_api::journey::{self, Ctx, Journey, User};

pub fn journey() -> Journey {
    Journey::new("test-onboarding", onboarding)
        .name("Deployment test")
        .description(
            "Leads from test.signup over journey.welcome_fired to journey.completed; sends nothing",
        )
        .trigger("test.signup")
}

async fn onboarding(_: User, ctx: Ctx) -> journey::Result {
    let plan = ctx.event().text("plan").unwrap_or("free").to_owned();
    ctx.trigger("journey.welcome_fired")
        .prop("plan", plan.as_str())
        .await?;
    ctx.checkpoint(if plan == "pro" {
        "pro-path"
    } else {
        "free-path"
    });
    // The host ingests `journey.completed` when a run ends well.
    Ok(())
}
