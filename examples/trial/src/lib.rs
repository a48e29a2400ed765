//! A journey for trials: a first step, a reminder before the end, and an offer afterwards.

#![forbid(unsafe_code)]

use hogsend_plugin_api::journey::{self, Category, Ctx, Entry, Journey, Prop, User, days};
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Setting, Settings, Template, export_plugin};

const DAYS: &str = "TRIAL_DAYS";
const UPGRADE_URL: &str = "TRIAL_UPGRADE_URL";

/// What the operator sets. A journey has a copy: it may not read the environment.
#[derive(Clone)]
pub struct Trial {
    days: u64,
    upgrade_url: String,
}

impl Plugin for Trial {
    fn manifest() -> Manifest {
        Manifest::new("trial", env!("CARGO_PKG_VERSION"))
            .setting(Setting::new(DAYS, "how many days a trial lasts, from 4").default("14"))
            .setting(
                Setting::new(UPGRADE_URL, "the page on which people upgrade")
                    .url()
                    .required(),
            )
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let days = settings.get(DAYS).unwrap_or("14");
        let days = match days.parse() {
            Ok(days) if (4..=365).contains(&days) => days,
            _ => return Err(format!("{DAYS} is '{days}': set a number from 4 to 365")),
        };
        let url = settings.get(UPGRADE_URL);
        let url = url.ok_or_else(|| format!("{UPGRADE_URL} is not set"))?;
        Ok(Self {
            days,
            upgrade_url: url.to_owned(),
        })
    }
}

impl Journeys for Trial {
    fn journeys(&self) -> Vec<Journey> {
        let trial = self.clone();
        vec![
            Journey::new("trial", move |user, ctx| run(user, ctx, trial.clone()))
                .name("Trial")
                .description("From trial.started: a first step, a reminder and an offer, until subscription.created.")
                .trigger("trial.started")
                .entry(Entry::once_per(days(180)))
                .exit_on("subscription.created")
                .exit_on("user.deleted")
                .goal("subscription.created", days(30))
                .category("trial"),
        ]
    }

    fn templates(&self) -> Vec<Template> {
        let url = || {
            Prop::url("url")
                .required()
                .sample("https://app.example.com/upgrade")
        };
        vec![
            Template::new(
                "trial-first-step",
                "One thing to try today",
                include_str!("first-step.mjml"),
            )
            .preview("It takes two minutes"),
            Template::new(
                "trial-ends",
                "Your trial ends in {{ props.days }} days",
                include_str!("ends.mjml"),
            )
            .not_after(days(1))
            .props(vec![url(), Prop::number("days").required().sample(3)]),
            // A whole document, which has its own way to unsubscribe.
            Template::new(
                "trial-offer",
                "Come back for {{ props.percent }} % less",
                include_str!("offer.mjml"),
            )
            .props(vec![url(), Prop::number("percent").required().sample(20)]),
        ]
    }

    fn categories(&self) -> Vec<Category> {
        vec![Category::new(
            "trial",
            "Trial",
            "Help during your trial, and when it ends.",
        )]
    }
}

async fn run(_: User, ctx: Ctx, trial: Trial) -> journey::Result {
    let began = ctx.now();
    // Nobody needs a hint who finds the feature alone.
    let used = ctx.wait_for("feature.used").timeout(days(1)).await;
    if used.event().is_none() {
        ctx.send("trial-first-step").await?;
    }
    let reminder = 3;
    let until = began + days(trial.days - reminder);
    ctx.sleep_until(until).label("until-reminder").await;
    ctx.send("trial-ends")
        .prop("url", trial.upgrade_url.as_str())
        .prop("days", reminder)
        .await?;
    ctx.sleep(days(reminder + 7)).label("after-the-end").await;
    ctx.send("trial-offer")
        .prop("url", trial.upgrade_url.as_str())
        .prop("percent", 20)
        .await?;
    Ok(())
}

export_plugin!(Trial: journeys);
