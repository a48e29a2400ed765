//! The templates: MJML with MiniJinja expressions.
//!
//! All share one layout. It sets `name`, what to call the person: their `first_name`, else their
//! `name`, else "there". Sign-up forms let strangers choose it, and stock mails carry nobody's
//! links but ours, so what looks like a link or is long is not used.

use hogsend_plugin_api::Template;

const LAYOUT: &str = include_str!("layout.mjml");

pub fn all() -> Vec<Template> {
    vec![
        template(
            "welcome",
            "Welcome! Here is a good first step",
            "Your account is ready. Start with one small thing.",
            include_str!("welcome.mjml"),
        ),
        template(
            "activation-nudge",
            "Need a hand getting started?",
            "One small task is enough to see whether this is for you.",
            include_str!("activation-nudge.mjml"),
        ),
    ]
}

/// Puts the sections of one mail between the head and the footer all mails share.
fn template(key: &str, subject: &str, preview: &str, sections: &str) -> Template {
    Template {
        key: key.into(),
        subject: subject.into(),
        preview: preview.into(),
        mjml: LAYOUT
            .replace("<!-- title -->", subject)
            .replace("<!-- sections -->", sections),
        ..Template::default()
    }
}
