//! Acme for Hogsend: journeys and their templates.
//!
//! 1. Write a journey as an async function. After each step Hogsend runs it again from the top with the
//!    results so far, so it may use no clock, no randomness and no environment but those of `ctx`.
//! 2. Say in `journeys` which event starts it, and which ends it.
//! 3. Write its mails as files and list them in `templates`, with the values they need.
//!
//! `tests/promises.rs` renders each template and runs each journey; `tests/welcome.rs` is a test of this
//! journey with a clock that the test moves.

#![forbid(unsafe_code)]

use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, Prop, User, days};
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Settings, Template, export_plugin};

pub struct AcmePlugin;

impl Plugin for AcmePlugin {
    fn manifest() -> Manifest {
        Manifest::new("acme", env!("CARGO_PKG_VERSION"))
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for AcmePlugin {
    fn journeys(&self) -> Vec<Journey> {
        vec![
            // Ids and keys are unique over all plugins.
            Journey::new("acme-welcome", welcome)
                .name("Welcome")
                .description("A welcome, and a reminder where nobody came back.")
                .trigger("user.created")
                .entry(Entry::Once)
                .exit_on("user.deleted"),
        ]
    }

    fn templates(&self) -> Vec<Template> {
        vec![
            Template::new(
                "acme-welcome",
                "Welcome, {{ name or 'there' }}",
                include_str!("welcome.mjml"),
            )
            .preview("What to do first"),
            Template::new(
                "acme-reminder",
                "Shall we go on?",
                include_str!("reminder.mjml"),
            )
            .props(vec![
                Prop::url("url")
                    .required()
                    .sample("https://app.example.com"),
            ]),
        ]
    }
}

async fn welcome(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("acme-welcome").await?;
    ctx.sleep(days(3)).await;
    let came_back = ctx
        .history()
        .has_event("feature.used")
        .within(days(3))
        .await?;
    if !came_back.found {
        ctx.send("acme-reminder")
            .prop("url", "https://app.example.com")
            .await?;
    }
    Ok(())
}

export_plugin!(AcmePlugin: journeys);
