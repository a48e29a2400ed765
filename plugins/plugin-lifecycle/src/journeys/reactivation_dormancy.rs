//! Dormant people: a check-in, a last nudge, then silence.

use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, User, Weekday, days};

use super::values::carry;

/// Days of lookback: events of the last days may arrive after the one that reports dormancy.
const LATE: u64 = 3;

pub fn journey() -> Journey {
    Journey::new("reactivation-dormancy", ask)
        .name("Dormancy")
        .description(
            "On user.dormant: a check-in on a Tuesday morning, and a week later a last nudge to \
             people who followed no link. Ends with user.returned or feature.used. Reads url",
        )
        .trigger("user.dormant")
        .entry(Entry::once_per(days(60)))
        .exit_on("user.returned")
        .exit_on("feature.used")
        .exit_on("user.deleted")
        .suppress(days(5))
}

async fn ask(_: User, ctx: Ctx) -> journey::Result {
    let lately = ctx
        .history()
        .has_event("feature.used")
        .within(days(LATE))
        .await?;
    if lately.found {
        return ctx.exit("was active in the last days");
    }
    let about = &ctx.event().properties;
    let tuesday = ctx.when().next(Weekday::Tue).at(10, 0).await?;
    ctx.sleep_until(tuesday).label("tuesday").await;
    carry(ctx.send("reactivation-checkin"), about, &["url"]).await?;

    ctx.sleep(days(7)).label("time-to-answer").await;
    let checkin = ctx.history().email("reactivation-checkin").await?;
    if checkin.clicked {
        ctx.checkpoint("interested");
        return Ok(());
    }
    carry(ctx.send("reactivation-final-nudge"), about, &["url"]).await?;
    ctx.sleep(days(14)).label("time-to-return").await;
    ctx.checkpoint("asleep");
    Ok(())
}
