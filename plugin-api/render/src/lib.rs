//! Renders a template and its values to a mail: subject, HTML and text.
//!
//! The host, the tests of plugins and `hogsend templates render` all use this crate, so an author
//! sees exactly what is sent. Rendering is pure: the same input gives the same mail.
//!
//! There are three kinds of templates, recognized by their content: a whole MJML document (`<mjml`),
//! a whole HTML document (`<html`), or the sections of a mail, which are put into the
//! [layout](LAYOUT) with its head, brand and footer. Sections may also be written without
//! `mj-section`, or as plain HTML.

mod brand;
pub mod file;
mod links;
mod mjml;
mod text;

pub use brand::{Brand, Color};
pub use links::is_safe;
pub use mjml::{MjmlError, html as mjml_to_html};
pub use text::text;

use std::borrow::Cow;

use css_inline::CSSInliner;
use hogsend_plugin_api::{Properties, Template};
use hogsend_semantics::{TRANSACTIONAL, name};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value as Jinja};
use serde::Serialize;
use serde_json::Value;

/// The layout of the stock templates: head, styles, brand and footer.
pub const LAYOUT: &str = include_str!("layout.mjml");

/// MiniJinja's instruction limit, so that an endless loop fails instead of hanging.
const FUEL: u64 = 500_000;

/// The values every template sees.
#[derive(Clone, Debug, Serialize)]
pub struct Values<'a> {
    /// `id`, `external_id`, `email`, `properties`.
    pub contact: Value,
    /// The values the journey passed.
    pub props: &'a Properties,
    /// Properties of the trigger event.
    pub event: &'a Properties,
    /// The category the recipient unsubscribes from.
    pub category: &'a str,
    /// The link that unsubscribes from the category.
    pub unsubscribe_url: &'a str,
    /// The link to the preference page.
    pub preferences_url: &'a str,
    /// The sender's postal address, for the footer.
    pub postal_address: &'a str,
    /// The product's brand.
    pub brand: &'a Brand,
    /// The texts of the footer.
    pub footer: &'a Footer,
}

impl Values<'_> {
    /// Whether the mail is transactional, and so has no unsubscribe link.
    pub fn transactional(&self) -> bool {
        self.category == TRANSACTIONAL
    }

    /// How to address the person: a first name, else a name, where it looks like one.
    fn name(&self) -> String {
        let properties = &self.contact["properties"];
        let names = ["first_name", "firstName", "given_name", "name"].iter();
        let mut names = names.filter_map(|key| properties.get(key)?.as_str());
        names.find_map(name::person_name).unwrap_or_default()
    }
}

/// The footer of every mail, in the language of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Footer {
    /// The language tag (RFC 5646).
    pub lang: String,
    /// Why the recipient gets the mail.
    pub reason: String,
    /// The label of the link that unsubscribes from the mail's category.
    pub unsubscribe: String,
    /// The label of the link to the preference page.
    pub choose: String,
}

/// A rendered template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The subject, on one line.
    pub subject: String,
    /// The line mail clients show beside the subject.
    pub preview: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub text: String,
}

/// Why a template cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[error("the {part} of template '{key}' does not render: {why}")]
pub struct RenderError {
    /// The key of the template.
    pub key: String,
    /// The part: `subject`, `preheader`, `html`, `text`, …
    pub part: &'static str,
    /// What is wrong.
    pub why: String,
    /// The line of that part, from 1, where it is known.
    pub line: Option<usize>,
}

/// Renders a template, which takes a few milliseconds. `subject` replaces the template's own, and
/// `layout` replaces [`LAYOUT`].
///
/// # Errors
///
/// The part that cannot be rendered, and why.
pub fn render(
    template: &Template,
    layout: Option<&str>,
    subject: Option<&str>,
    values: &Values<'_>,
) -> Result<Rendered, RenderError> {
    let failed = |part: &'static str, why: String, line: Option<usize>| RenderError {
        key: template.key.clone(),
        part,
        why,
        line,
    };
    let mut env = environment();
    env.add_global("name", values.name());
    env.add_global("transactional", values.transactional());
    let seen = Jinja::from(minijinja::value::Serde(values));
    let jinja = |env: &Environment<'_>, part: &'static str, source: &str| {
        env.render_named_str(part, source, seen.clone())
            .map_err(|error| failed(part, reason(&error), error.line()))
    };

    let preview = one_line(&jinja(&env, "preheader", &template.preview)?);
    env.add_global("preview", preview.clone());
    let subject = match subject {
        Some(subject) => subject.to_owned(),
        None => jinja(&env, "subject", &template.subject)?,
    };
    let subject = one_line(&subject);
    env.add_global("subject", subject.clone());
    let body = jinja(&env, "html", &template.mjml)?;
    let kind = Kind::of(&template.mjml);
    let source = match kind {
        Kind::Sections => {
            env.add_global(
                "body",
                Jinja::from_safe_string(sections(&body).into_owned()),
            );
            jinja(&env, "layout.html", layout.unwrap_or(LAYOUT))?
        }
        Kind::Mjml | Kind::Html => body,
    };
    let html = match kind {
        Kind::Html => source,
        Kind::Mjml | Kind::Sections => mjml::html(&source).map_err(|error| {
            let place = error.position().and_then(|at| source.get(at..));
            let line = place.and_then(|place| line_of(&template.mjml, place));
            failed("MJML", error.describe(&source), line)
        })?,
    };
    let html = CSSInliner::options()
        .keep_style_tags(true)
        .keep_at_rules(true)
        .load_remote_stylesheets(false)
        .build()
        .inline(&html)
        .map_err(|error| failed("CSS", error.to_string(), None))?;
    let html = links::without_unsafe(&html).map_err(|why| failed("HTML", why, None))?;
    let text = match &template.text {
        Some(own) => {
            let mut own = jinja(&env, "text", own)?.trim().to_owned();
            if kind == Kind::Sections {
                own = format!("{own}\n\n{}", footer(values));
            }
            own.trim().to_owned() + "\n"
        }
        None => text::text(&html).map_err(|why| failed("text part", why, None))?,
    };
    Ok(Rendered {
        subject,
        preview,
        html,
        text,
    })
}

/// Renders a template and also finds misspelt MJML elements, which MJML itself copies to the HTML
/// without an error.
pub fn try_out(
    template: &Template,
    layout: Option<&str>,
    values: &Values<'_>,
) -> Result<Rendered, RenderError> {
    let mail = render(template, layout, None, values)?;
    let left = mail.html.find("<mj-").map(|at| &mail.html[at..]);
    let Some(left) = left.filter(|_| Kind::of(&template.mjml) != Kind::Html) else {
        return Ok(mail);
    };
    let end = left[1..].find(|c: char| c == '>' || c == '/' || c.is_whitespace());
    let tag = &left[..end.map_or(left.len(), |end| end + 1)];
    Err(RenderError {
        key: template.key.clone(),
        part: "MJML",
        why: format!("MJML has no element {tag}> here"),
        line: line_of(&template.mjml, tag),
    })
}

/// Checks the syntax of a template's expressions, without values.
///
/// # Errors
///
/// The part, its line and the reason.
pub fn syntax(template: &Template) -> Result<(), RenderError> {
    let env = environment();
    let parts = [
        ("subject", Some(&template.subject)),
        ("preheader", Some(&template.preview)),
        ("html", Some(&template.mjml)),
        ("text", template.text.as_ref()),
    ];
    for (part, source) in parts {
        let Some(source) = source else { continue };
        if let Err(error) = env.template_from_named_str(part, source) {
            return Err(RenderError {
                key: template.key.clone(),
                part,
                why: reason(&error),
                line: error.line(),
            });
        }
    }
    Ok(())
}

fn environment<'a>() -> Environment<'a> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|part| {
        if part.ends_with("html") {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    // An empty text where the value does not look like a person's name.
    env.add_filter("person_name", |value: Jinja| {
        value
            .as_str()
            .and_then(name::person_name)
            .unwrap_or_default()
    });
    env
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mjml,
    Html,
    Sections,
}

impl Kind {
    fn of(source: &str) -> Self {
        let has = |tag: &str| {
            let mut rest = source;
            while let Some(at) = rest.find('<') {
                rest = &rest[at + 1..];
                if let Some(start) = rest.get(..tag.len())
                    && start.eq_ignore_ascii_case(tag)
                    && rest[tag.len()..].starts_with(|c: char| c == '>' || c.is_whitespace())
                {
                    return true;
                }
            }
            false
        };
        match (has("mjml"), has("html")) {
            (true, _) => Self::Mjml,
            (false, true) => Self::Html,
            (false, false) => Self::Sections,
        }
    }
}

/// The body as MJML sections, where it is written as columns or as plain HTML.
fn sections(body: &str) -> Cow<'_, str> {
    let whole = ["<mj-section", "<mj-wrapper", "<mj-hero"];
    if whole.iter().any(|tag| body.contains(tag)) {
        return body.into();
    }
    let parts = if body.contains("<mj-") {
        body.into()
    } else {
        Cow::from(format!("<mj-text>{body}</mj-text>"))
    };
    let parts = if parts.contains("<mj-column") {
        parts
    } else {
        Cow::from(format!("<mj-column>{parts}</mj-column>"))
    };
    format!("<mj-section padding=\"36px 0 20px\">{parts}</mj-section>").into()
}

/// The footer as text, for a template with its own text part.
fn footer(values: &Values<'_>) -> String {
    let mut out = values.footer.reason.clone() + "\n";
    if !values.transactional() {
        let links = [
            (&values.footer.unsubscribe, values.unsubscribe_url),
            (&values.footer.choose, values.preferences_url),
        ];
        for (label, url) in links {
            if !url.is_empty() {
                out += &format!("{label}:\n{url}\n");
            }
        }
    }
    let brand = values.brand;
    let name = match (&*brand.name, &*brand.url) {
        ("", _) => String::new(),
        (name, "") => format!("{name}\n"),
        (name, url) => format!("{name}: {url}\n"),
    };
    let address = values.postal_address;
    if !name.is_empty() || !address.is_empty() {
        out += &format!("\n{name}{address}");
    }
    out
}

/// MiniJinja's message, without its own name for the template.
fn reason(error: &minijinja::Error) -> String {
    let kind = error.kind().to_string();
    match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind,
    }
}

/// The line of a template that produced a piece of its output, as a best guess.
fn line_of(source: &str, place: &str) -> Option<usize> {
    let start: String = place.trim_start().chars().take(200).collect();
    let line = start.lines().next()?.trim();
    let tag = line.split_inclusive(['>', ' ']).next()?.trim();
    let mut lines = source.lines();
    let exact = lines.position(|one| one.contains(line));
    exact
        .or_else(|| source.lines().position(|one| one.contains(tag)))
        .map(|at| at + 1)
}

/// The text on one line: a line break in a header value would begin another header.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c == ' ');
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
