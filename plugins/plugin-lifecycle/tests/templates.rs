//! The templates, rendered as the host renders them: MiniJinja, MJML, inlined CSS, a text part.

use css_inline::CSSInliner;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::kit;
use hogsend_plugin_api::{Settings, Template};
use hogsend_plugin_lifecycle::Lifecycle;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use serde_json::{Value, json};

const UNSUBSCRIBE: &str = "https://mail.acme.test/v1/email/unsubscribe?token=aB3_.x&y=1";

struct Rendered {
    key: String,
    html: String,
    text: String,
}

fn templates() -> Vec<Template> {
    let plugin = kit::start::<Lifecycle>(&Settings::default()).unwrap();
    let catalogue: Catalogue = kit::ask(plugin.as_ref(), method::JOURNEYS_CATALOGUE, &()).unwrap();
    catalogue.templates
}

fn values(contact: &Value) -> Value {
    json!({
        "contact": { "id": "1", "email": "ada@example.com", "properties": contact },
        "props": {}, "event": {}, "unsubscribe_url": UNSUBSCRIBE, "postal_address": "1 Main St & Co, Vienna",
    })
}

fn render(template: &Template, mut values: Value) -> Rendered {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|part| match part {
        "html" => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    let jinja = |part: &str, source: &str, values: &Value| {
        env.render_named_str(part, source, Serde(values)).unwrap()
    };
    values["preview"] = jinja("preview", &template.preview, &values).into();
    let mjml = jinja("html", &template.mjml, &values);
    let mail =
        mrml::parse(&mjml).unwrap_or_else(|error| panic!("{}: {error}\n{mjml}", template.key));
    let html = mail.element.render(&Default::default()).unwrap();
    let html = CSSInliner::options()
        .keep_style_tags(true)
        .keep_at_rules(true)
        .load_remote_stylesheets(false)
        .build()
        .inline(&html)
        .unwrap();
    let text = html2text::config::plain_no_decorate()
        .no_table_borders()
        .no_link_wrapping()
        .allow_width_overflow()
        .link_footnotes(true)
        .string_from_read(html.as_bytes(), 76)
        .unwrap();
    Rendered {
        key: template.key.clone(),
        html,
        text,
    }
}

fn all(contact: &Value) -> Vec<Rendered> {
    let values = values(contact);
    templates()
        .iter()
        .map(|template| render(template, values.clone()))
        .collect()
}

#[test]
fn every_mail_names_the_person_and_ends_with_the_way_out() {
    for mail in all(&json!({ "first_name": "Ada" })) {
        for part in [&mail.html, &mail.text] {
            assert!(part.contains("Ada"), "{}: {part}", mail.key);
            for left in ["{{", "{%", "<!-- title", "<!-- sections", "mj-"] {
                let plain = part
                    .replace("mj-column-per-100", "")
                    .replace("mj-outlook-group-fix", "");
                assert!(!plain.contains(left), "{}: {left} in {plain}", mail.key);
            }
        }
        let link = UNSUBSCRIBE.replace('&', "&amp;");
        assert!(
            mail.html.contains(&format!("<a href=\"{link}\"")),
            "{}",
            mail.html
        );
        assert!(mail.html.contains(">Unsubscribe</a>"));
        assert!(mail.html.contains("1 Main St &amp; Co, Vienna"));
        assert!(mail.text.contains(UNSUBSCRIBE), "{}", mail.text);
        assert!(mail.text.contains("1 Main St & Co, Vienna"));
    }
}

#[test]
fn the_text_part_reads_like_a_letter() {
    for mail in all(&json!({ "first_name": "Ada" })) {
        let lines: Vec<_> = mail.text.lines().map(str::trim_end).collect();
        let words = mail.text.split_whitespace().count();
        assert!((40..200).contains(&words), "{}: {words} words", mail.key);
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= 76 || line.contains("://")),
            "{}",
            mail.text
        );
        assert!(
            lines.iter().filter(|line| line.is_empty()).count() >= 2,
            "no paragraphs: {}",
            mail.text
        );
        for noise in ['<', '>', '|', '│', '─', '\u{200c}'] {
            assert!(!mail.text.contains(noise), "{noise} in {}", mail.text);
        }
    }
}

#[test]
fn every_mail_is_accessible_dark_aware_and_loads_nothing() {
    for mail in all(&json!({})) {
        let html = &mail.html;
        assert!(html.contains("<html lang=\"en\""), "{}", mail.key);
        assert!(html.contains("<meta name=\"color-scheme\" content=\"light dark\">"));
        assert!(html.contains("@media (prefers-color-scheme: dark)"));
        assert!(html.contains("class=\"card\"") && html.contains("class=\"foot\""));
        assert_eq!(
            html.matches("<h1").count(),
            1,
            "one heading for screen readers"
        );
        assert!(!html.contains("<title></title>"));
        // Neither fonts nor pictures: opening a mail tells nobody.
        for remote in [
            "<img",
            "<link",
            "@import",
            "url(",
            "fonts.googleapis",
            "<script",
        ] {
            assert!(!html.contains(remote), "{}: {remote}", mail.key);
        }
        // Larger mails are cut off by Gmail, footer first.
        assert!(html.len() < 100 * 1024);
    }
}

#[test]
fn a_person_is_called_by_what_is_known() {
    let long = "x".repeat(61);
    for (contact, name) in [
        (
            json!({ "first_name": "Ada", "name": "Ada Lovelace" }),
            "Ada",
        ),
        (json!({ "first_name": " Ada " }), "Ada"),
        (json!({ "name": "Ada Lovelace" }), "Ada Lovelace"),
        (json!({ "first_name": "", "name": "Ada L." }), "Ada L."),
        (json!({ "first_name": null, "name": "Ada" }), "Ada"),
        (json!({ "first_name": 7 }), "there"),
        (json!({ "first_name": ["Ada"], "name": {} }), "there"),
        (json!({ "first_name": "  " }), "there"),
        (json!({}), "there"),
        (Value::Null, "there"),
        (json!({ "first_name": "Łukasz O'Neil" }), "Łukasz O'Neil"),
        // A sign-up form is no way to send links in our name.
        (
            json!({ "first_name": "see https://evil.test now" }),
            "there",
        ),
        (json!({ "first_name": "WWW.evil.test" }), "there"),
        (json!({ "first_name": long }), "there"),
    ] {
        for mail in all(&contact) {
            let heading = mail
                .text
                .lines()
                .find(|line| line.starts_with("# "))
                .unwrap();
            assert!(
                heading.contains(&format!(", {name}")),
                "{contact}: {heading}"
            );
        }
    }
}

#[test]
fn no_value_becomes_markup() {
    let evil = "<script>alert(\"1\")</script>";
    for template in templates() {
        let mut values = values(&json!({ "first_name": evil }));
        values["postal_address"] = json!("</mj-text><mj-raw><script>");
        values["unsubscribe_url"] = json!("https://acme.test/\"><script>");
        values["props"] = json!({ "url": "https://acme.test/?a=1&b=2\"><script>" });
        let mail = render(&template, values);
        // In a link the quote cannot end the attribute, so what follows it stays inside.
        assert_eq!(mail.html.matches("&quot;><script>\"").count(), 2);
        let outside = mail.html.replace("&quot;><script>\"", "");
        assert!(!outside.contains("<script"), "{outside}");
        assert!(mail.html.contains("&lt;script&gt;"), "{}", mail.html);
        assert!(mail.text.contains(evil), "{}", mail.text);
    }
}

#[test]
fn a_button_is_there_where_the_journey_gives_it_a_url() {
    for template in templates() {
        let mut with = values(&json!({}));
        with["props"] = json!({ "url": "https://app.acme.test/start?a=1&b=2" });
        let mail = render(&template, with);
        assert!(
            mail.html
                .contains("href=\"https://app.acme.test/start?a=1&amp;b=2\"")
        );
        assert!(mail.text.contains("https://app.acme.test/start?a=1&b=2"));
        let mail = render(&template, values(&json!({})));
        assert_eq!(mail.html.matches("<a ").count(), 1, "only the way out");
    }
}

#[test]
fn without_a_postal_address_no_empty_line_is_left() {
    for template in templates() {
        let mut values = values(&json!({}));
        values["postal_address"] = json!("");
        let mail = render(&template, values);
        assert!(mail.text.contains("Unsubscribe"), "{}", mail.text);
        assert_eq!(mail.html.matches("font-size:13px").count(), 1);
    }
}

#[test]
fn subjects_and_previews_fit_the_list_of_mails() {
    let templates = templates();
    for template in &templates {
        for (line, longest) in [(&template.subject, 60), (&template.preview, 90)] {
            assert!(
                !line.is_empty() && line.chars().count() <= longest,
                "{}: {line}",
                template.key
            );
            // It stands in the MJML as it is.
            assert!(!line.contains(['<', '&', '\n']), "{line}");
        }
        assert_eq!(template.category, None, "the journey's category counts");
    }
    for mail in all(&json!({})) {
        let template = templates
            .iter()
            .find(|template| template.key == mail.key)
            .unwrap();
        assert_eq!(mail.html.matches(template.preview.as_str()).count(), 1);
    }
}
