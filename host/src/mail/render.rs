//! A template and its values become subject, HTML and text.

use css_inline::CSSInliner;
use hogsend_plugin_api::{StepError, Template};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::mjml;

/// Steps a template may take, so that a loop without end fails instead of hanging.
const FUEL: u64 = 500_000;
/// RFC 5322 §2.1.1 recommends lines of at most 78 characters.
const TEXT_WIDTH: usize = 76;

/// What the templates see.
#[derive(Serialize)]
pub struct Values<'a> {
    pub contact: serde_json::Value,
    pub props: &'a hogsend_plugin_api::Properties,
    pub event: &'a hogsend_plugin_api::Properties,
    pub unsubscribe_url: &'a str,
    pub preferences_url: &'a str,
    pub postal_address: &'a str,
    /// Filled in from the template's own preview line.
    pub preview: String,
}

/// A rendered template.
#[derive(Debug)]
pub struct Rendered {
    pub subject: String,
    pub html: String,
    pub text: String,
}

/// Renders a template. Pure and deterministic; takes a few milliseconds.
pub fn render(
    template: &Template,
    subject: Option<&str>,
    mut values: Values<'_>,
) -> Result<Rendered, StepError> {
    let failed = |part: &str, error: &dyn std::fmt::Display| {
        let message = format!(
            "the {part} of template '{}' does not render: {error}",
            template.key
        );
        StepError::new("template_failed", message)
    };
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|part| match part {
        "html" => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    let jinja = |name: &'static str, source: &str, values: &Values<'_>| {
        env.render_named_str(name, source, minijinja::value::Serde(values))
            .map_err(|error| failed(name, &format!("{error:#}")))
    };

    values.preview = one_line(&jinja("preview", &template.preview, &values)?);
    let subject = match subject {
        Some(subject) => subject.to_owned(),
        None => jinja("subject", &template.subject, &values)?,
    };
    let source = jinja("html", &template.mjml, &values)?;
    let html = mjml::html(&source).map_err(|error| failed("MJML", &error))?;
    let html = CSSInliner::options()
        .keep_style_tags(true)
        .keep_at_rules(true)
        .load_remote_stylesheets(false)
        .build()
        .inline(&html)
        .map_err(|error| failed("CSS", &error))?;
    let text = match &template.text {
        Some(text) => jinja("text", text, &values)?,
        None => {
            let visible = without_preview(&html);
            html_to_text(&visible).map_err(|error| failed("text part", &error))?
        }
    };
    Ok(Rendered {
        subject: one_line(&subject),
        html,
        text,
    })
}

/// The HTML without the line MJML hides for the list of mails: a text part would begin with it.
fn without_preview(html: &str) -> std::borrow::Cow<'_, str> {
    let hidden = html
        .find("<div style=\"display:none")
        .or_else(|| html.find("<div style=\"display: none"));
    let Some(start) = hidden else {
        return html.into();
    };
    match html[start..].find("</div>") {
        Some(length) => [&html[..start], &html[start + length + "</div>".len()..]]
            .concat()
            .into(),
        None => html.into(),
    }
}

fn html_to_text(html: &str) -> Result<String, html2text::Error> {
    let text = html2text::config::plain_no_decorate()
        .no_table_borders()
        .no_link_wrapping()
        .allow_width_overflow()
        .link_footnotes(true)
        .string_from_read(html.as_bytes(), TEXT_WIDTH)?;
    let mut lines = Vec::new();
    let mut blank = true;
    for line in text.lines().map(str::trim_end) {
        // Layout tables leave runs of empty lines behind.
        if !(line.trim().is_empty() && blank) {
            lines.push(line.trim_start());
        }
        blank = line.trim().is_empty();
    }
    Ok(lines.join("\n").trim().to_owned() + "\n")
}

/// A header value holds no line break: a break would begin another header.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_control() || c == ' ').collect();
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Properties, Template};
    use serde_json::json;

    use super::{Values, render};

    fn rendered(template: &Template, name: &str) -> Result<super::Rendered, super::StepError> {
        let values = Values {
            contact: json!({ "properties": { "name": name } }),
            props: &Properties::new(),
            event: &Properties::new(),
            unsubscribe_url: "https://example.com/u?token=a.b",
            preferences_url: "https://example.com/p?token=a.b",
            postal_address: "1 Main St",
            preview: String::new(),
        };
        render(template, None, values)
    }

    fn template(subject: &str, body: &str) -> Template {
        Template {
            key: "t".into(),
            subject: subject.into(),
            mjml: format!(
                "<mjml><mj-head><mj-preview>hidden</mj-preview></mj-head><mj-body><mj-section><mj-column><mj-text>{body}</mj-text></mj-column>\
                 </mj-section></mj-body></mjml>"
            ),
            ..Template::default()
        }
    }

    #[test]
    fn names_are_escaped_in_html_and_plain_in_text() {
        let template = template(
            "Hi {{ contact.properties.name }}",
            "Hello {{ contact.properties.name }} <a href=\"{{ unsubscribe_url }}\">leave</a>",
        );
        let mail = rendered(&template, "<b>Ann & Bo</b>").unwrap();
        assert_eq!(mail.subject, "Hi <b>Ann & Bo</b>");
        assert!(
            mail.html.contains("&lt;b&gt;Ann &amp; Bo&lt;/b&gt;"),
            "{}",
            mail.html
        );
        assert!(
            mail.text.starts_with("Hello <b>Ann & Bo</b>"),
            "{}",
            mail.text
        );
        assert!(
            mail.text.contains("https://example.com/u?token=a.b"),
            "{}",
            mail.text
        );
    }

    #[test]
    fn a_subject_never_holds_a_line_break() {
        let mail = rendered(
            &template("Hi {{ contact.properties.name }}", ""),
            "a\r\nBcc: x@y.z",
        )
        .unwrap();
        assert_eq!(mail.subject, "Hi a Bcc: x@y.z");
    }

    #[test]
    fn a_broken_or_endless_template_is_named() {
        let endless = template(
            "x",
            "{% for a in range(100000) %}{% for b in range(100000) %}.{% endfor %}{% endfor %}",
        );
        let error = rendered(&endless, "x").unwrap_err();
        assert_eq!(error.code, "template_failed");
        assert!(error.message.contains("template 't'"), "{error}");
        assert!(rendered(&template("{{ oops", ""), "x").is_err());
    }
}
