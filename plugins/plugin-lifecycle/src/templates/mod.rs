//! The templates: MJML with MiniJinja expressions.

use hogsend_plugin_api::Template;

pub fn all() -> Vec<Template> {
    vec![
        Template {
            key: "welcome".into(),
            subject: "Welcome{% if contact.properties.first_name %}, {{ contact.properties.first_name }}{% endif %}".into(),
            preview: "Here is the quickest way to get going.".into(),
            mjml: page(include_str!("welcome.mjml")),
            ..Template::default()
        },
        Template {
            key: "activation-nudge".into(),
            subject: "Need a hand getting started?".into(),
            preview: "Most people are up and running within ten minutes.".into(),
            mjml: page(include_str!("activation-nudge.mjml")),
            ..Template::default()
        },
    ]
}

/// Puts the sections of one mail between the head and the footer all mails share.
fn page(sections: &str) -> String {
    include_str!("layout.mjml").replace("<!-- sections -->", sections)
}
