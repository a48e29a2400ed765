//! The rules for templates.

use hogsend_plugin_api::{Properties, Template};
use hogsend_render::{Brand, Footer, RenderError, Rendered, Values, syntax, try_out};
use hogsend_semantics::TRANSACTIONAL;
use serde_json::{Value, json};

const UNSUBSCRIBE: &str = "https://hogsend.example/unsubscribe/aB3";
const PREFERENCES: &str = "https://hogsend.example/preferences/aB3";

pub(super) fn compiles(template: &Template) {
    if let Err(error) = syntax(template) {
        panic!("{}", with_line(&error));
    }
}

pub(super) fn samples_fit(template: &Template) {
    let key = &template.key;
    for prop in &template.props {
        let name = &prop.name;
        let given = |name: &String| {
            template
                .props
                .iter()
                .any(|other| other.name == *name && !other.sample.is_null())
        };
        assert!(
            !prop.required || given(name) || prop.unless.as_ref().is_some_and(given),
            "the required prop '{name}' of the template '{key}' has a sample: add `.sample(…)`"
        );
    }
    if let Some(fault) = template.faults(&template.samples()).first() {
        panic!(
            "the sample of the prop '{}' of the template '{key}' fits: it {fault}",
            fault.name()
        );
    }
}

pub(super) fn renders_with_samples(template: &Template) {
    let ann = json!({ "first_name": "Ann", "email": "ann@example.com" });
    is_whole(template, &render(template, &template.samples(), &ann));
}

pub(super) fn renders_bare(template: &Template) {
    let mut props = template.samples();
    for prop in template.props.iter().filter(|prop| !prop.required) {
        props.remove(&prop.name);
    }
    is_whole(template, &render(template, &props, &json!({})));
}

pub(super) fn has_the_way_out(template: &Template) {
    if template.category.as_deref() == Some(TRANSACTIONAL) {
        return;
    }
    // That it does not render is another rule's failure.
    let Ok(mail) = try_to_render(template, &template.samples(), &json!({})) else {
        return;
    };
    for (part, text) in [("HTML", &mail.html), ("text", &mail.text)] {
        assert!(
            text.contains(UNSUBSCRIBE),
            "the {part} of the template '{}' has the link to unsubscribe: use the sections of a mail, or {{{{ unsubscribe_url }}}} in a whole document",
            template.key
        );
    }
}

fn is_whole(template: &Template, mail: &Rendered) {
    let key = &template.key;
    for (part, text) in [
        ("subject", &mail.subject),
        ("HTML", &mail.html),
        ("text", &mail.text),
    ] {
        assert!(
            !text.trim().is_empty(),
            "the {part} of the template '{key}' is not empty"
        );
        for left in ["{{", "{%"] {
            assert!(
                !text.contains(left),
                "nothing is left unrendered in the {part} of the template '{key}': '{left}'"
            );
        }
    }
}

fn render(template: &Template, props: &Properties, properties: &Value) -> Rendered {
    try_to_render(template, props, properties)
        .unwrap_or_else(|error| panic!("{}", with_line(&error)))
}

fn try_to_render(
    template: &Template,
    props: &Properties,
    properties: &Value,
) -> Result<Rendered, RenderError> {
    let values = Values {
        contact: json!({
            "id": "0198c1de-0000-7000-8000-000000000001",
            "external_id": "user-1",
            "email": "ann@example.com",
            "properties": properties,
        }),
        props,
        event: &Properties::new(),
        category: template.category.as_deref().unwrap_or("journey"),
        unsubscribe_url: UNSUBSCRIBE,
        preferences_url: PREFERENCES,
        postal_address: "1 Main Street, Springfield",
        brand: &Brand::new("Acme", "https://acme.example", "", None),
        footer: &Footer {
            lang: "en".into(),
            reason: "You get this mail because you signed up.".into(),
            unsubscribe: "Unsubscribe".into(),
            choose: "Choose what you get".into(),
        },
    };
    try_out(template, None, &values)
}

fn with_line(error: &RenderError) -> String {
    match error.line {
        Some(line) => format!("{error}, line {line}"),
        None => error.to_string(),
    }
}
