//! The stock journeys and their templates.

#![forbid(unsafe_code)]

mod journeys;
mod templates;

use hogsend_plugin_api::journey::{Category, Journey};
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Settings, Template, export_plugin};

pub struct Lifecycle;

impl Plugin for Lifecycle {
    fn manifest() -> Manifest {
        Manifest::new("lifecycle", env!("CARGO_PKG_VERSION"))
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for Lifecycle {
    fn journeys(&self) -> Vec<Journey> {
        journeys::all()
    }

    fn templates(&self) -> Vec<Template> {
        templates::all()
    }

    fn categories(&self) -> Vec<Category> {
        let one = Category::new;
        vec![
            one(
                "journey",
                "Tips and news",
                "How to get more out of the product, when it helps.",
            ),
            one(
                "milestones",
                "Milestones",
                "What you have reached, and a summary now and then.",
            ),
            one(
                "feedback",
                "Feedback",
                "A short question about how you like it.",
            ),
            one(
                "referral",
                "Invitations",
                "Ways to share the product with others.",
            ),
            one(
                "billing",
                "Billing reminders",
                "When a payment did not go through.",
            ),
        ]
    }
}

export_plugin!(Lifecycle: journeys);
