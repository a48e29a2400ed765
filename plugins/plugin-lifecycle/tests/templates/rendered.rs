//! The templates as the host renders them.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::{Properties, Settings, Template};
use hogsend_plugin_kit as kit;
use hogsend_plugin_kit::render::{Brand, Footer, Values};
use hogsend_plugin_lifecycle::Lifecycle;
use serde_json::{Value, json};

pub const UNSUBSCRIBE: &str = "https://mail.acme.test/v1/email/unsubscribe?token=aB3_.x&y=1";
pub const PREFERENCES: &str = "https://mail.acme.test/v1/email/preferences?token=aB3_.x";
pub const POSTAL: &str = "1 Main St & Co, Vienna";

pub struct Rendered {
    pub key: String,
    pub subject: String,
    pub preview: String,
    pub html: String,
    pub text: String,
    pub transactional: bool,
}

pub fn templates() -> Vec<Template> {
    let plugin = kit::start::<Lifecycle>(&Settings::default()).unwrap();
    let catalogue: Catalogue = kit::ask(plugin.as_ref(), method::JOURNEYS_CATALOGUE, &()).unwrap();
    catalogue.templates
}

pub fn template(key: &str) -> Template {
    let found = templates().into_iter().find(|found| found.key == key);
    found.unwrap_or_else(|| panic!("no template {key}"))
}

/// The recipient, the values and the brand.
#[derive(Clone)]
pub struct Given {
    pub contact: Value,
    pub props: Value,
    pub unsubscribe_url: String,
    pub postal_address: String,
    pub brand: Brand,
}

impl Given {
    pub fn new(contact: &Value, props: &Value) -> Self {
        Self {
            contact: contact.clone(),
            props: props.clone(),
            unsubscribe_url: UNSUBSCRIBE.into(),
            postal_address: POSTAL.into(),
            brand: Brand::default(),
        }
    }
}

pub fn acme() -> Brand {
    let color = hogsend_plugin_kit::render::Color::parse("#0f766e");
    Brand::new("Acme & Sons", "https://acme.test/", "", color)
}

/// One mail to Ada.
pub fn mail(key: &str, props: &Value) -> Rendered {
    let given = Given::new(&json!({ "first_name": "Ada" }), props);
    render(&template(key), &given)
}

/// Every mail without any values but the person.
pub fn all(contact: &Value) -> Vec<Rendered> {
    let given = Given::new(contact, &json!({}));
    let rendered = templates();
    let rendered = rendered.iter().map(|template| render(template, &given));
    rendered.collect()
}

pub fn render(template: &Template, given: &Given) -> Rendered {
    let props: Properties = serde_json::from_value(given.props.clone()).unwrap();
    let category = template.category.as_deref().unwrap_or("journey");
    let values = Values {
        contact: json!({ "id": "1", "email": "ada@example.com", "properties": given.contact }),
        props: &props,
        event: &Properties::new(),
        category,
        unsubscribe_url: &given.unsubscribe_url,
        preferences_url: PREFERENCES,
        postal_address: &given.postal_address,
        brand: &given.brand,
        footer: &Footer {
            lang: "en".into(),
            reason: "You get this mail because you signed up.".into(),
            unsubscribe: "Unsubscribe".into(),
            choose: "Choose what you get".into(),
        },
    };
    let mail = hogsend_plugin_kit::render::render(template, None, None, &values)
        .unwrap_or_else(|error| panic!("{error}"));
    Rendered {
        key: template.key.clone(),
        subject: mail.subject,
        preview: mail.preview,
        html: mail.html,
        text: mail.text,
        transactional: values.transactional(),
    }
}
