//! Preview of a template, for a sample person.

use hogsend_plugin_api::{Properties, Template};
use hogsend_render::{Brand, Footer, RenderError, Rendered, Values, render};
use hogsend_semantics::TRANSACTIONAL;
use serde_json::json;

use super::{Templates, category};
use crate::config::Config;

/// Renders a template with these values and properties of the person. Links are not tracked, and
/// unsubscribe links lead nowhere.
pub fn preview(
    config: &Config,
    templates: &Templates,
    template: &Template,
    props: &Properties,
    contact: Properties,
) -> Result<Rendered, RenderError> {
    let category = category(template);
    let transactional = category == TRANSACTIONAL;
    let footer = config.texts.footer(&config.brand.name, transactional);
    let values = Values {
        postal_address: &config.postal_address,
        ..sample_values(contact, props, category, &config.brand, &footer)
    };
    render(template, templates.layout_of(&template.key), None, &values)
}

/// The values a template sees for a sample person.
pub(super) fn sample_values<'a>(
    contact: Properties,
    props: &'a Properties,
    category: &'a str,
    brand: &'a Brand,
    footer: &'a Footer,
) -> Values<'a> {
    Values {
        contact: json!({ "id": "0", "external_id": "u1", "email": "ann@example.com",
                         "properties": contact }),
        props,
        event: props,
        category,
        unsubscribe_url: "https://example.com/unsubscribe",
        preferences_url: "https://example.com/preferences",
        postal_address: "1 Main Street",
        brand,
        footer,
    }
}

/// The default properties of the sample person.
pub fn sample_person() -> Properties {
    Properties::from_iter([("first_name".to_owned(), json!("Ann"))])
}
