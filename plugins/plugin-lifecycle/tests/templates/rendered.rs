//! MiniJinja, MJML, inlined CSS, a text part: the same steps with the same options as the host.

use std::borrow::Cow;

use css_inline::CSSInliner;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::kit;
use hogsend_plugin_api::{Settings, Template};
use hogsend_plugin_lifecycle::Lifecycle;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use serde_json::{Value, json};

pub const UNSUBSCRIBE: &str = "https://mail.acme.test/v1/email/unsubscribe?token=aB3_.x&y=1";
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

pub fn values(contact: &Value, props: &Value) -> Value {
    json!({
        "contact": { "id": "1", "email": "ada@example.com", "properties": contact },
        "props": props, "event": {}, "unsubscribe_url": UNSUBSCRIBE, "postal_address": POSTAL,
    })
}

/// One mail to Ada.
pub fn mail(key: &str, props: &Value) -> Rendered {
    render(
        &template(key),
        values(&json!({ "first_name": "Ada" }), props),
    )
}

/// Every mail, given nothing but a person.
pub fn all(contact: &Value) -> Vec<Rendered> {
    let values = values(contact, &json!({}));
    let rendered = templates();
    let rendered = rendered
        .iter()
        .map(|template| render(template, values.clone()));
    rendered.collect()
}

pub fn render(template: &Template, mut values: Value) -> Rendered {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|part| match part {
        "html" => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    let jinja = |part: &str, source: &str, values: &Value| {
        env.render_named_str(part, source, Serde(values))
            .unwrap_or_else(|error| panic!("{}: {error:#}", template.key))
    };
    let preview = one_line(&jinja("preview", &template.preview, &values));
    values["preview"] = preview.clone().into();
    let subject = one_line(&jinja("subject", &template.subject, &values));
    let mjml = jinja("html", &template.mjml, &values);
    let parsed =
        mrml::parse(&mjml).unwrap_or_else(|error| panic!("{}: {error}\n{mjml}", template.key));
    let html = parsed.element.render(&Default::default()).unwrap();
    let html = CSSInliner::options()
        .keep_style_tags(true)
        .keep_at_rules(true)
        .load_remote_stylesheets(false)
        .build()
        .inline(&html)
        .unwrap();
    let text = match &template.text {
        Some(text) => jinja("text", text, &values),
        None => text_of(&without_preview(&html)),
    };
    Rendered {
        key: template.key.clone(),
        transactional: template.category.as_deref() == Some("transactional"),
        subject,
        preview,
        html,
        text,
    }
}

fn without_preview(html: &str) -> Cow<'_, str> {
    let start = html.find("<div style=\"display:none");
    let Some(start) = start.or_else(|| html.find("<div style=\"display: none")) else {
        return html.into();
    };
    let end = start + html[start..].find("</div>").unwrap() + "</div>".len();
    [&html[..start], &html[end..]].concat().into()
}

fn text_of(html: &str) -> String {
    let text = html2text::config::plain_no_decorate()
        .no_table_borders()
        .no_link_wrapping()
        .allow_width_overflow()
        .link_footnotes(true)
        .string_from_read(html.as_bytes(), 76)
        .unwrap();
    let mut lines = Vec::new();
    let mut blank = true;
    for line in text.lines().map(str::trim_end) {
        if !(line.is_empty() && blank) {
            lines.push(line.trim_start());
        }
        blank = line.is_empty();
    }
    lines.join("\n").trim().to_owned() + "\n"
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
