//! The week after the welcome: a first task for people who have not started, a next feature for
//! those who have, and finally the community.

use hogsend_plugin_api::journey::{self, Condition, Ctx, Entry, Journey, User, days, hours};

use super::daytime::daytime;

pub fn journey() -> Journey {
    Journey::new("activation-nudge-series", nudge)
        .name("Nudge series")
        .description(
            "Begins with the journey.completed of activation-welcome. Sends a quickstart to people \
             without a feature.used; after one, a feature to try next and the community. People \
             who never start get the community mail only if they opened the quickstart",
        )
        .trigger("journey.completed")
        .trigger_where(Condition::eq("journeyId", "activation-welcome"))
        .entry(Entry::Once)
        .exit_on("user.deleted")
        .suppress(hours(20))
}

async fn nudge(_: User, ctx: Ctx) -> journey::Result {
    // The lookback covers the two days of the welcome journey.
    let mut first_use = ctx
        .wait_for("feature.used")
        .lookback(days(3))
        .timeout(days(2))
        .label("first-use")
        .await
        .event();
    if first_use.is_none() {
        daytime(&ctx).await?;
        ctx.send("activation-quickstart").await?;
        first_use = ctx
            .wait_for("feature.used")
            .lookback(days(1))
            .timeout(days(3))
            .label("after-quickstart")
            .await
            .event();
    }
    if first_use.is_some() {
        ctx.checkpoint("started");
        let next_day = ctx.when().tomorrow().at(10, 0).await?;
        ctx.sleep_until(next_day).label("next-day").await;
        ctx.send("activation-feature-highlight").await?;
        let later = ctx.when().in_(days(4)).at(10, 0).await?;
        ctx.sleep_until(later).label("settle-in").await;
    } else {
        ctx.checkpoint("not-started");
        let quickstart = ctx.history().email("activation-quickstart").await?;
        if !quickstart.opened && !quickstart.clicked {
            return ctx.exit("did not read the quickstart");
        }
        daytime(&ctx).await?;
    }
    ctx.send("activation-community").await?;
    Ok(())
}
