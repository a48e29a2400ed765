use hogsend_plugin_api::{Properties, Template};
use serde_json::json;

use super::{Brand, Footer, RenderError, Rendered, Values, render, syntax, try_out};

pub fn footer() -> Footer {
    Footer {
        lang: "en".into(),
        reason: "You get this mail because you signed up.".into(),
        unsubscribe: "Unsubscribe".into(),
        choose: "Choose what you get".into(),
    }
}

fn rendered(template: &Template, name: &str, category: &str) -> Result<Rendered, RenderError> {
    render(
        template,
        None,
        None,
        &Values {
            contact: json!({ "properties": { "name": name } }),
            props: &Properties::new(),
            event: &Properties::new(),
            category,
            unsubscribe_url: "https://example.com/u?token=a.b",
            preferences_url: "https://example.com/p?token=a.b",
            postal_address: "1 Main St",
            brand: &Brand::new("Acme", "https://acme.test", "", None),
            footer: &footer(),
        },
    )
}

fn template(subject: &str, body: &str) -> Template {
    Template::new("t", subject, body)
}

fn whole(body: &str) -> String {
    format!(
        "<mjml><mj-head><mj-preview>hidden</mj-preview></mj-head><mj-body><mj-section><mj-column>\
         <mj-text>{body}</mj-text></mj-column></mj-section></mj-body></mjml>"
    )
}

#[test]
fn names_are_escaped_in_html_and_plain_in_text() {
    let template = template(
        "Hi {{ contact.properties.name }}",
        &whole("Hello {{ contact.properties.name }} <a href=\"{{ unsubscribe_url }}\">leave</a>"),
    );
    let mail = rendered(&template, "<b>Ann & Bo</b>", "journey").unwrap();
    assert_eq!(mail.subject, "Hi <b>Ann & Bo</b>");
    assert!(
        mail.html.contains("&lt;b&gt;Ann &amp; Bo&lt;/b&gt;"),
        "{}",
        mail.html
    );
    assert_eq!(
        mail.text,
        "Hello <b>Ann & Bo</b> leave <https://example.com/u?token=a.b>\n"
    );
}

#[test]
fn a_subject_never_holds_a_line_break() {
    let template = template("Hi {{ contact.properties.name }}", &whole(""));
    let mail = rendered(&template, "a\r\nBcc: x@y.z", "journey").unwrap();
    assert_eq!(mail.subject, "Hi a Bcc: x@y.z");
}

#[test]
fn a_broken_or_endless_template_is_named() {
    let endless =
        "{% for a in range(100000) %}{% for b in range(100000) %}.{% endfor %}{% endfor %}";
    let error = rendered(&template("x", endless), "x", "journey").unwrap_err();
    assert!(error.to_string().contains("template 't'"), "{error}");
    assert!(syntax(&template("{{ oops", "")).is_err());
    let error = syntax(&template("x", "one\ntwo {{ oops }\nthree")).unwrap_err();
    assert_eq!((error.part, error.line), ("html", Some(2)), "{error}");
    let wrong = "<mj-section>\n<mj-column>\n<mj-txt>x</mj-txt>\n</mj-column></mj-section>";
    let tried = |body: &str| {
        let values = Values {
            contact: json!({}),
            props: &Properties::new(),
            event: &Properties::new(),
            category: "journey",
            unsubscribe_url: "",
            preferences_url: "",
            postal_address: "",
            brand: &Brand::default(),
            footer: &footer(),
        };
        try_out(&template("x", body), None, &values)
    };
    let error = tried(wrong).unwrap_err();
    assert_eq!((error.part, error.line), ("MJML", Some(3)), "{error}");
    assert!(error.why.contains("mj-txt"), "{error}");
    let error =
        tried("<mj-section>\n<mj-column>\n<mj-text>x</mj-column></mj-section>").unwrap_err();
    assert_eq!(error.part, "MJML", "{error}");
}

#[test]
fn sections_stand_in_the_layout_however_little_is_written() {
    let full = "<mj-section><mj-column><mj-text><p>Hi</p></mj-text></mj-column></mj-section>";
    for body in [full, "<mj-text><p>Hi</p></mj-text>", "<p>Hi</p>", "Hi"] {
        let mail = rendered(&template("News", body), "Ada", "journey").unwrap();
        assert_eq!(
            mail.text,
            "Hi\n\nYou get this mail because you signed up.\n\
             Unsubscribe: https://example.com/u?token=a.b\n\
             Choose what you get: https://example.com/p?token=a.b\n\n\
             Acme: https://acme.test\n1 Main St\n",
            "{body}"
        );
        assert!(mail.html.contains(">Acme</a>") && mail.html.contains("<title>News</title>"));
    }
    let html = "<!doctype html><html><body><p>Mine alone</p></body></html>";
    let mail = rendered(&template("News", html), "Ada", "journey").unwrap();
    assert_eq!(mail.text, "Mine alone\n");
}

#[test]
fn transactional_mails_offer_no_way_out() {
    let mail = rendered(&template("x", "<p>Hi</p>"), "Ada", "transactional").unwrap();
    for part in [&mail.html, &mail.text] {
        assert!(
            !part.contains("token=") && !part.contains("Unsubscribe"),
            "{part}"
        );
    }
}

#[test]
fn a_person_is_called_by_what_looks_like_a_name() {
    let hello = template("Hi{% if name %} {{ name }}{% endif %}", "<p>{{ name }}</p>");
    for (name, subject) in [
        ("Ada Lovelace", "Hi Ada Lovelace"),
        ("Free gift bit.ly/3xFree", "Hi"),
        ("t.me/x", "Hi"),
    ] {
        assert_eq!(rendered(&hello, name, "journey").unwrap().subject, subject);
    }
    let filter = template("{{ contact.properties.name|person_name }}.", "<p>x</p>");
    assert_eq!(
        rendered(&filter, "evil-site.com", "journey")
            .unwrap()
            .subject,
        "."
    );
}

#[test]
fn no_link_runs_code() {
    let body = "<mj-button href=\"{{ contact.properties.name }}\">Go</mj-button>";
    let mail = rendered(&template("x", body), "javascript:alert(1)", "journey").unwrap();
    assert!(!mail.html.contains("javascript"), "{}", mail.html);
    assert!(!mail.text.contains("javascript"), "{}", mail.text);
}
