//! A trial, from its first day to two days after its last.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, TriggerEvent, User, hours};

use super::daytime::daytime;
use super::values::{carry, text};

const USUAL_DAYS: i64 = 14;
/// A longer trial is a mistake in the event.
const LONGEST_DAYS: i64 = 366;

pub fn journey() -> Journey {
    Journey::new("conversion-trial-upgrade", upgrade)
        .name("Trial to paid")
        .description(
            "From trial.started to subscription.created: halfway a mail to people with a \
             usage.milestone, three days before the end a notice, two days after it a win-back \
             mail. Reads ends_at or trial_days (default 14), plan, url and offer; half of the \
             people get the offer, so that its effect can be measured. Ends early with \
             trial.cancelled",
        )
        .trigger("trial.started")
        .entry(Entry::once_per(hours(24)))
        .exit_on("subscription.created")
        .exit_on("trial.cancelled")
        .exit_on("user.deleted")
        .suppress(hours(12))
}

async fn upgrade(_: User, ctx: Ctx) -> journey::Result {
    let began = ctx.now();
    let ends = end(ctx.event(), began);
    if ends <= began {
        return ctx.exit("the trial was over when its event arrived");
    }
    let about = &ctx.event().properties;

    // In a shorter trial this could be sent on the day of the notice.
    if ends - began >= TimeDelta::days(10) {
        ctx.sleep_until(began + (ends - began) / 2)
            .label("halfway")
            .await;
        let since_entry = (ctx.now() - began).to_std().unwrap_or_default();
        let milestones = ctx
            .history()
            .has_event("usage.milestone")
            .within(since_entry)
            .await?;
        if milestones.found {
            daytime(&ctx).await?;
            let mail = ctx
                .send("conversion-usage-milestone")
                .prop("count", milestones.count);
            carry(mail, about, &["url", "plan"]).await?;
        } else {
            ctx.checkpoint("quiet-trial");
        }
    }

    ctx.sleep_until(ends - TimeDelta::days(3))
        .label("last-days")
        .await;
    daytime(&ctx).await?;
    let left = days_left(ends - ctx.now());
    if left > 0 {
        let mail = ctx
            .send("conversion-trial-expiring")
            .prop("days_left", left);
        carry(mail, about, &["url", "plan"]).await?;
    } else {
        ctx.checkpoint("ended-overnight");
    }

    ctx.sleep_until(ends + TimeDelta::days(2))
        .label("after-the-end")
        .await;
    let offered = match text(about, "offer") {
        Some(_) => ctx.variant("winback", &["offer", "plain"]).await? == "offer",
        None => false,
    };
    daytime(&ctx).await?;
    let names: &[_] = if offered {
        &["url", "plan", "offer"]
    } else {
        &["url", "plan"]
    };
    carry(ctx.send("conversion-winback-offer"), about, names).await?;
    Ok(())
}

/// When the trial ends: at the event's `ends_at`, else `trial_days` after its start.
fn end(event: &TriggerEvent, began: DateTime<Utc>) -> DateTime<Utc> {
    let longest = began + TimeDelta::days(LONGEST_DAYS);
    let ends_at = event.text("ends_at");
    if let Some(at) = ends_at.and_then(|at| DateTime::parse_from_rfc3339(at).ok()) {
        return at.to_utc().min(longest);
    }
    let days = event.properties.get("trial_days");
    let days = days.and_then(serde_json::Value::as_i64);
    let days = days
        .filter(|days| (1..=LONGEST_DAYS).contains(days))
        .unwrap_or(USUAL_DAYS);
    began + TimeDelta::days(days)
}

/// The days left, rounded up: six hours before the end it is one.
fn days_left(left: TimeDelta) -> i64 {
    let day = TimeDelta::days(1).num_seconds();
    (left.num_seconds().max(0) + day - 1) / day
}
