//! The templates: MJML with MiniJinja expressions.
//!
//! All share one layout and what they call the person: their `first_name`, else their `name`, else
//! "there". Sign-up forms let strangers choose it, and stock mails carry nobody's links but ours,
//! so what looks like a link or is long is not used.
//!
//! Every value may be missing. `props.url` is where the button leads; without it there is none.

use hogsend_plugin_api::Template;

const PERSON: &str = include_str!("person.jinja");
const LAYOUT: &str = include_str!("layout.mjml");

/// Why the mail came, in mails one can unsubscribe from.
const SIGNED_UP: &str = r#"You get this mail because you signed up. <a href="{{ unsubscribe_url }}" style="color:#52606d;text-decoration:underline">Unsubscribe</a>{% if preferences_url %} or <a href="{{ preferences_url }}" style="color:#52606d;text-decoration:underline">choose what you get</a>{% endif %}"#;
/// Why the mail came, in those one cannot.
const ASKED_FOR: &str = "You get this mail because somebody asked for it for your account.";

pub fn all() -> Vec<Template> {
    vec![
        template(
            "welcome",
            "Welcome! Here is a good first step",
            "Your account is ready. Start with one small thing.",
            include_str!("welcome.mjml"),
        ),
        template(
            "activation-quickstart",
            "Ten minutes to your first result",
            "A short plan: look around, try one real task, see whether it helps.",
            include_str!("activation-quickstart.mjml"),
        ),
        template(
            "activation-feature-highlight",
            "You have begun. What comes next?",
            "One more thing that is worth trying, when you have a moment.",
            include_str!("activation-feature-highlight.mjml"),
        ),
        template(
            "activation-community",
            "People you can ask",
            "Others share what worked for them, and answer questions.",
            include_str!("activation-community.mjml"),
        ),
        template(
            "activation-nudge",
            "Need a hand getting started?",
            "One small task is enough to see whether this is for you.",
            include_str!("activation-nudge.mjml"),
        ),
        template(
            "conversion-trial-expiring",
            "Your trial ends {% if props.days_left is number and props.days_left == 1 %}within a day{% elif props.days_left is number and props.days_left > 0 %}in {{ props.days_left }} days{% else %}soon{% endif %}",
            "If you want to stay, choose a plan. If not, there is nothing to do.",
            include_str!("conversion-trial-expiring.mjml"),
        ),
        template(
            "conversion-usage-milestone",
            "You are getting something out of this",
            "Halfway through your trial, and a milestone reached.",
            include_str!("conversion-usage-milestone.mjml"),
        ),
        template(
            "conversion-winback-offer",
            "{% if props.offer %}Something to make it easier{% else %}The door is open{% endif %}",
            "Perhaps it was only the wrong moment. Here is the way back.",
            include_str!("conversion-winback-offer.mjml"),
        ),
        template(
            "churn-payment-failed",
            "{% if props.reminder == 3 %}Last reminder: your payment is open{% elif props.reminder == 2 %}Your payment is still open{% else %}Your payment did not go through{% endif %}",
            "Please check your payment details. It takes a minute.",
            include_str!("churn-payment-failed.mjml"),
        ),
        template(
            "reactivation-checkin",
            "How are you getting on?",
            "We have not seen you for a while. Is everything all right?",
            include_str!("reactivation-checkin.mjml"),
        ),
        template(
            "reactivation-final-nudge",
            "One last word from us",
            "After this we leave you in peace. Your account stays as it is.",
            include_str!("reactivation-final-nudge.mjml"),
        ),
        template(
            "retention-achievement",
            "Well done{% if props.milestone %}: {{ props.milestone }}{% endif %}",
            "You have reached something worth a moment.",
            include_str!("retention-achievement.mjml"),
        ),
        template(
            "retention-weekly-digest",
            r#"{{ props.title or "What you have reached" }}"#,
            "All of it in one mail.",
            include_str!("retention-weekly-digest.mjml"),
        ),
        with_text(
            template(
                "feedback-nps-survey",
                "{% if props.reminder %}Once more: would you recommend us?{% else %}Would you recommend us?{% endif %}",
                "One number from 0 to 10. It takes a few seconds.",
                include_str!("feedback-nps-survey.mjml"),
            ),
            include_str!("feedback-nps-survey.txt"),
        ),
        transactional(template(
            "password-reset",
            "Choose a new password",
            "You or somebody else asked for a new password for your account.",
            include_str!("password-reset.mjml"),
        )),
        template(
            "journey-notification",
            r#"{{ props.title or "News about your account" }}"#,
            r#"{{ props.preview or "There is something new for you." }}"#,
            include_str!("journey-notification.mjml"),
        ),
    ]
}

/// Puts the sections of one mail between the head and the footer all mails share.
fn template(key: &str, subject: &str, preview: &str, sections: &str) -> Template {
    let layout = LAYOUT
        .replace("<!-- title -->", subject)
        .replace("<!-- sections -->", sections)
        .replace("<!-- reason -->", SIGNED_UP);
    Template {
        key: key.into(),
        subject: subject.into(),
        preview: preview.into(),
        mjml: [PERSON, &layout].concat(),
        ..Template::default()
    }
}

/// A mail somebody asked for: it goes also to people who unsubscribed, and offers no way to.
fn transactional(template: Template) -> Template {
    Template {
        mjml: template.mjml.replace(SIGNED_UP, ASKED_FOR),
        category: Some("transactional".into()),
        ..template
    }
}

/// A text part of its own, where that made from the HTML would be hard to read.
fn with_text(template: Template, text: &str) -> Template {
    Template {
        text: Some([PERSON, text].concat()),
        ..template
    }
}
