//! The templates: sections of MJML with MiniJinja expressions. The host puts them into its layout,
//! which has the product's name, logo, color and footer.
//!
//! Every value may be missing, except for the link or code of a password reset. `props.url` is the
//! target of the button; without it a button with a general label leads to the product's home page,
//! and the others are left out.

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::Prop;
use serde_json::json;

pub fn all() -> Vec<Template> {
    vec![
        template(
            "welcome",
            "journey",
            "Welcome{% if brand.name %} to {{ brand.name }}{% endif %}! Here is a good first step",
            "Your account is ready. Start with one small thing.",
            include_str!("welcome.mjml"),
            vec![],
        ),
        template(
            "activation-quickstart",
            "journey",
            "Ten minutes to your first result",
            "A short plan: look around, try one real task, see whether it helps.",
            include_str!("activation-quickstart.mjml"),
            vec![],
        ),
        template(
            "activation-feature-highlight",
            "journey",
            "You have begun. What comes next?",
            "One more thing that is worth trying, when you have a moment.",
            include_str!("activation-feature-highlight.mjml"),
            vec![
                Prop::text("feature")
                    .about("What to try")
                    .sample("shared reports"),
                Prop::text("detail").about("A sentence on why").sample(
                    "With them your colleagues see the same numbers as you, without an account.",
                ),
            ],
        ),
        template(
            "activation-community",
            "journey",
            "People you can ask",
            "Others share what worked for them, and answer questions.",
            include_str!("activation-community.mjml"),
            vec![],
        ),
        template(
            "activation-nudge",
            "journey",
            "Need a hand getting started?",
            "One small task is enough to see whether this is for you.",
            include_str!("activation-nudge.mjml"),
            vec![],
        ),
        template(
            "conversion-trial-expiring",
            "journey",
            "Your trial ends {% if props.days_left is number and props.days_left == 1 %}within a day{% elif props.days_left is number and props.days_left > 0 %}in {{ props.days_left }} days{% else %}soon{% endif %}",
            "If you want to stay, choose a plan. If not, there is nothing to do.",
            include_str!("conversion-trial-expiring.mjml"),
            vec![
                Prop::number("days_left")
                    .about("Days until the end")
                    .sample(3),
                plan(),
            ],
        ),
        template(
            "conversion-usage-milestone",
            "journey",
            "You are getting something out of this",
            "Halfway through your trial, and a milestone reached.",
            include_str!("conversion-usage-milestone.mjml"),
            vec![
                Prop::number("count").about("Milestones so far").sample(4),
                Prop::text("milestone").about("The last one, in place of the count"),
                plan(),
            ],
        ),
        template(
            "conversion-winback-offer",
            "journey",
            "{% if props.offer %}Something to make it easier{% else %}The door is open{% endif %}",
            "Perhaps it was only the wrong moment. Here is the way back.",
            include_str!("conversion-winback-offer.mjml"),
            vec![
                Prop::text("offer")
                    .about("What you offer")
                    .sample("20% off the first three months"),
                Prop::text("code").about("The code for it").sample("BACK20"),
                plan(),
            ],
        ),
        template(
            "churn-payment-failed",
            "billing",
            "{% if props.reminder == 3 %}Last reminder: your payment is open{% elif props.reminder == 2 %}Your payment is still open{% else %}Your payment did not go through{% endif %}",
            "Please check your payment details. It takes a minute.",
            include_str!("churn-payment-failed.mjml"),
            vec![
                Prop::text("amount")
                    .about("With its currency")
                    .sample("€12.00"),
                plan(),
                Prop::number("reminder")
                    .about("The first, second or third")
                    .sample(2),
            ],
        ),
        template(
            "reactivation-checkin",
            "journey",
            "How are you getting on?",
            "We have not seen you for a while. Is everything all right?",
            include_str!("reactivation-checkin.mjml"),
            vec![],
        ),
        template(
            "reactivation-final-nudge",
            "journey",
            "One last word from us",
            "After this we leave you in peace. Your account stays as it is.",
            include_str!("reactivation-final-nudge.mjml"),
            vec![],
        ),
        template(
            "retention-achievement",
            "milestones",
            "Well done{% if props.milestone %}: {{ props.milestone }}{% endif %}",
            "You have reached something worth a moment.",
            include_str!("retention-achievement.mjml"),
            vec![
                Prop::text("milestone")
                    .about("What was reached")
                    .sample("100 reports"),
                Prop::text("detail")
                    .about("A sentence on it")
                    .sample("The first was in May."),
            ],
        ),
        template(
            "retention-weekly-digest",
            "milestones",
            r#"{{ props.title or "What you have reached" }}"#,
            "All of it in one mail.",
            include_str!("retention-weekly-digest.mjml"),
            vec![
                Prop::text("title").about("Heading and subject"),
                Prop::text("period")
                    .about("The time it is about")
                    .sample("this week"),
                Prop::list("items")
                    .about("Texts, or objects with title, detail and url")
                    .sample(json!([
                        { "title": "100 reports", "detail": "The first was in May." },
                        { "title": "A second workspace", "url": "https://app.acme.test/w/2" },
                        "Ten colleagues",
                    ])),
                Prop::list("events").about("The same, in place of items"),
                Prop::number("count")
                    .about("How many there were in all")
                    .sample(5),
            ],
        ),
        survey().text(include_str!("feedback-nps-survey.txt")),
        reset(),
        {
            let mut template = template(
                "journey-notification",
                "journey",
                r#"{{ props.title or "News about your account" }}"#,
                r#"{{ props.preview or "There is something new for you." }}"#,
                include_str!("journey-notification.mjml"),
                vec![
                    Prop::text("title")
                        .about("Heading and subject")
                        .sample("Your export is ready"),
                    Prop::text("preview")
                        .about("The line beside the subject")
                        .sample("It took four minutes."),
                    Prop::list("message")
                        .about("One paragraph or several")
                        .sample(json!([
                            "The export you asked for is done.",
                            "It is kept for seven days.",
                        ])),
                    Prop::text("action")
                        .about("What the button says")
                        .sample("Download it"),
                    Prop::text("closing")
                        .about("A last paragraph")
                        .sample("After that you can simply ask for it again."),
                ],
            );
            // The journey's category, because any journey may use this template.
            template.category = None;
            template
        },
    ]
}

fn template(
    key: &str,
    category: &str,
    subject: &str,
    preview: &str,
    sections: &str,
    mut props: Vec<Prop>,
) -> Template {
    props.insert(
        0,
        Prop::url("url")
            .about("Where the button leads")
            .sample("https://app.acme.test/start"),
    );
    Template::new(key, subject, sections)
        .preview(preview)
        .category(category)
        .props(props)
}

fn plan() -> Prop {
    Prop::text("plan").about("The plan's name").sample("Pro")
}

/// Its buttons are the scores, so it has no `url`.
fn survey() -> Template {
    template(
            "feedback-nps-survey",
            "feedback",
            "{% if props.reminder %}Once more: would you recommend {{ brand.name or \"us\" }}?{% else %}Would you recommend {{ brand.name or \"us\" }}?{% endif %}",
            "One number from 0 to 10. It takes a few seconds.",
            include_str!("feedback-nps-survey.mjml"),
            vec![],
        )
        .props(vec![
            Prop::url("survey_url")
                .about("Where the scores lead, with score=0 to 10 added")
                .sample("https://app.acme.test/nps?u=1"),
            Prop::bool("reminder")
                .about("Whether it is the second time")
                .sample(false),
        ])
}

/// A requested mail: it is also sent to unsubscribed people, and has no unsubscribe link.
fn reset() -> Template {
    template(
        "password-reset",
        "transactional",
        "Choose a new password",
        "You or somebody else asked for a new password for your account.",
        include_str!("password-reset.mjml"),
        vec![],
    )
    .props(vec![
        Prop::url("url")
            .about("Where the password is chosen")
            .required_unless("code")
            .sample("https://app.acme.test/reset/Zx81"),
        Prop::text("code").about("To type in, beside or in place of the link"),
        Prop::text("valid_for")
            .about("How long it works")
            .sample("one hour"),
    ])
}
