//! Template files: settings in TOML between two lines of `+++`, then the body.
//!
//! ```toml
//! +++
//! subject = 'Welcome to {{ brand.name or "us" }}'
//! preheader = "Your account is ready."
//! category = "journey"
//!
//! [props.url]
//! kind = "url"
//! about = "Where the button leads"
//! sample = "https://app.example.com/start"
//! +++
//! <h1>Welcome{% if name %}, {{ name }}{% endif %}</h1>
//! ```
//!
//! A file overrides the plugin's template with the same key. Category, props and `useful_hours` that
//! the file leaves out stay those of the plugin's template.

use std::collections::BTreeMap;

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::{Prop, PropKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const FENCE: &str = "+++";

/// A parsed file.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateFile {
    settings: Front,
    body: String,
    /// The line of the file on which the body begins, from 1.
    pub body_line: usize,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct FileError {
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    subject: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    preheader: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// The name of the layout; `None`: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<String>,
    /// How long a mail is useful, in hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    useful_hours: Option<f64>,
    /// The text part; `None`: made from the HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    props: Option<BTreeMap<String, FrontProp>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontProp {
    kind: Kind,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    /// Required unless the prop of this name is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unless: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    about: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample: Option<toml::Value>,
}

/// The types by name. Unlike [`PropKind`] it refuses an unknown one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Text,
    Url,
    Number,
    Bool,
    List,
    #[default]
    Any,
}

const KINDS: [(Kind, PropKind); 6] = [
    (Kind::Text, PropKind::Text),
    (Kind::Url, PropKind::Url),
    (Kind::Number, PropKind::Number),
    (Kind::Bool, PropKind::Bool),
    (Kind::List, PropKind::List),
    (Kind::Any, PropKind::Any),
];

/// Parses a file.
///
/// # Errors
///
/// What is wrong, and on which line.
pub fn parse(text: &str) -> Result<TemplateFile, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let error = |line: usize, why: String| Err(FileError { line, why });
    let mut lines = text.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some(FENCE) {
        return error(
            1,
            "the file must begin with a line +++, its settings, and another line +++".to_owned(),
        );
    }
    let mut front = String::new();
    let mut count = 1;
    let mut closed = false;
    for line in lines {
        count += 1;
        if line.trim_end() == FENCE {
            closed = true;
            break;
        }
        front.push_str(line);
    }
    if !closed {
        return error(count, "the settings do not end with a line +++".to_owned());
    }
    let settings: Front = match toml::from_str(&front) {
        Ok(settings) => settings,
        Err(wrong) => {
            let at = wrong.span().map_or(0, |span| span.start.min(front.len()));
            let line = 2 + front[..at].matches('\n').count();
            return error(line, wrong.message().to_owned());
        }
    };
    if settings.subject.trim().is_empty() {
        return error(
            line_of(&front, "subject"),
            "the subject is empty".to_owned(),
        );
    }
    if settings
        .useful_hours
        .is_some_and(|hours| !(hours > 0.0 && hours <= 8_784.0))
    {
        let why = "useful_hours must be a number above 0 and at most 8784".to_owned();
        return error(line_of(&front, "useful_hours"), why);
    }
    for (name, prop) in settings.props.iter().flatten() {
        let mut known = settings.props.iter().flatten().map(|(name, _)| name);
        if let Some(other) = &prop.unless
            && !known.any(|name| name == other)
        {
            let why =
                format!("'{name}' is required unless '{other}' is given, which is not a prop");
            return error(line_of(&front, &format!("[props.{name}]")), why);
        }
    }
    let start = text.match_indices('\n').nth(count - 1);
    let body = start.map_or("", |(at, _)| &text[at + 1..]);
    Ok(TemplateFile {
        settings,
        body: body.to_owned(),
        body_line: count + 1,
    })
}

fn line_of(front: &str, start: &str) -> usize {
    let found = front
        .lines()
        .position(|line| line.trim_start().starts_with(start));
    found.map_or(1, |at| at + 2)
}

impl TemplateFile {
    /// The template of this key. `base` is the plugin's template that the file overrides.
    pub fn template(&self, key: &str, base: Option<&Template>) -> Template {
        let own = &self.settings;
        let useful = own.useful_hours.map(|hours| (hours * 3_600_000.0) as u64);
        let props = own.props.as_ref().map(|props| {
            let props = props.iter().map(|(name, prop)| prop.named(name));
            props.collect()
        });
        let base = base.cloned().unwrap_or_default();
        let mut template = Template::new(key, &own.subject, &self.body).preview(&own.preheader);
        template.text.clone_from(&own.text);
        template.category = own.category.clone().or(base.category);
        template.not_after_ms = useful.or(base.not_after_ms);
        template.props = props.unwrap_or(base.props);
        template
    }

    /// The layout the file chooses.
    pub fn layout(&self) -> Option<&str> {
        self.settings.layout.as_deref()
    }

    /// The category the file sets.
    pub fn category(&self) -> Option<&str> {
        self.settings.category.as_deref()
    }
}

impl FrontProp {
    fn named(&self, name: &str) -> Prop {
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind);
        let sample = self.sample.as_ref();
        let sample = sample.and_then(|sample| serde_json::to_value(sample).ok());
        let mut prop = Prop::any(name)
            .about(&self.about)
            .sample(sample.unwrap_or(Value::Null));
        prop.kind = kind.map_or(PropKind::Any, |(_, kind)| *kind);
        prop.required = self.required || self.unless.is_some();
        prop.unless.clone_from(&self.unless);
        prop
    }

    fn of(prop: &Prop) -> Self {
        let kind = KINDS.iter().find(|(_, kind)| *kind == prop.kind);
        Self {
            kind: kind.map_or(Kind::Any, |(kind, _)| *kind),
            required: prop.required && prop.unless.is_none(),
            unless: prop.unless.clone(),
            about: prop.about.clone(),
            sample: toml::Value::try_from(&prop.sample).ok(),
        }
    }
}

/// Writes a template as a file, to be edited. [`parse`] returns the same template from it.
///
/// # Errors
///
/// A value has no TOML form.
pub fn write(template: &Template) -> Result<String, String> {
    let props = template.props.iter();
    let props: BTreeMap<String, FrontProp> = props
        .map(|prop| (prop.name.clone(), FrontProp::of(prop)))
        .collect();
    let front = Front {
        subject: template.subject.clone(),
        preheader: template.preview.clone(),
        category: template.category.clone(),
        layout: None,
        useful_hours: template.not_after_ms.map(|ms| ms as f64 / 3_600_000.0),
        text: template.text.clone(),
        props: (!props.is_empty()).then_some(props),
    };
    let front = toml::to_string_pretty(&front).map_err(|error| error.to_string())?;
    Ok(format!("{FENCE}\n{front}{FENCE}\n{}", template.mjml))
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Template;
    use hogsend_plugin_api::journey::Prop;
    use serde_json::json;

    use super::{FileError, parse, write};

    #[test]
    fn what_is_written_is_read_again() {
        let subject = "{{ props.title or \"News\" }} isn't 'old'";
        let markup = "<h1>é</h1>\n+++x\n<p>{{ name }}</p>\n";
        let template = Template::new("news", subject, markup)
            .preview("A line\\with all")
            .text("Hi {{ name }}\n\n''' \"\"\" x\n")
            .category("journey")
            .not_after(std::time::Duration::from_secs(5_400))
            .props(vec![
                Prop::list("items").sample(json!([{ "title": "One", "n": 1.5 }, "Two"])),
                Prop::url("url").required_unless("code").about("Where to"),
                Prop::text("code").sample("418"),
                Prop::number("count").required(),
            ]);
        let file = parse(&write(&template).unwrap()).unwrap();
        let mut read = file.template("news", None);
        read.props.sort_by(|a, b| a.name.cmp(&b.name));
        let mut template = template;
        template.props.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(read, template);
    }

    #[test]
    fn what_a_file_leaves_out_stays_as_it_was() {
        let base = Template::new("welcome", "Old", "")
            .text("old")
            .category("journey")
            .not_after(std::time::Duration::from_millis(1))
            .props(vec![Prop::url("url")]);
        let file = parse("+++\r\nsubject = \"New\"\r\n+++\r\n<p>Hi</p>").unwrap();
        assert_eq!(file.body_line, 4);
        let template = file.template("welcome", Some(&base));
        assert_eq!(
            (&*template.subject, &*template.mjml, template.text),
            ("New", "<p>Hi</p>", None)
        );
        assert_eq!(template.category, base.category);
        assert_eq!(template.props, base.props);
    }

    #[test]
    fn errors_name_their_line() {
        for (text, line, words) in [
            ("<p>Hi</p>", 1, "begin with a line +++"),
            ("", 1, "begin with"),
            ("+++\nsubject = \"x\"\n<p>", 3, "do not end"),
            ("+++\nsubject = \"x\"\ncategry = \"y\"\n+++\n", 3, "categry"),
            ("+++\nsubject = x\n+++\n", 2, ""),
            ("+++\npreheader = \"x\"\n+++\n", 2, "subject"),
            ("+++\nsubject = \" \"\n+++\n", 2, "empty"),
            (
                "+++\nsubject = \"x\"\nuseful_hours = 0\n+++\n",
                3,
                "useful_hours",
            ),
            (
                "+++\nsubject = \"x\"\n[props.u]\nkind = \"link\"\n+++\n",
                4,
                "link",
            ),
            (
                "+++\nsubject = \"x\"\n[props.u]\nkind = \"url\"\nunless = \"z\"\n+++\n",
                3,
                "not a prop",
            ),
        ] {
            let FileError { line: found, why } = parse(text).unwrap_err();
            assert!(
                found == line && why.contains(words),
                "{text}: line {found}: {why}"
            );
        }
    }
}
