//! Mail templates, and the values (props) they need.

use serde::{Deserialize, Serialize};

use super::prop::{Prop, PropFault, is_empty, links_in};
use crate::Properties;

/// A mail template: MJML with MiniJinja expressions.
///
/// The markup is a whole document, MJML (`<mjml>`) or HTML (`<html>`), or the sections of a mail,
/// which the host puts into its layout with the product's name, logo, color and footer.
///
/// Expressions see `name` (how to address the person; may be empty), `contact` (`id`, `external_id`,
/// `email`, `properties`), `props` (what the journey passed), `event` (properties of the trigger
/// event), `brand` (`name`, `url`, `logo_url`, `color`, …), `category`, `transactional`, `preview`,
/// `unsubscribe_url`, `preferences_url`, `postal_address` and `footer`. The filter `person_name`
/// reduces a value to what looks like a person's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Template {
    /// Unique over all plugins: `activation-nudge`.
    pub key: String,
    /// May contain expressions.
    pub subject: String,
    /// The line mail clients show beside the subject (preheader). May contain expressions.
    #[serde(default)]
    pub preview: String,
    /// The markup, MJML or HTML.
    pub mjml: String,
    /// The text part. `None`: the host makes it from the HTML.
    #[serde(default)]
    pub text: Option<String>,
    /// The category a person unsubscribes from. `None`: the journey's. Mails of the category
    /// `transactional` have no unsubscribe header and are also sent to unsubscribed people.
    #[serde(default)]
    pub category: Option<String>,
    /// How long its mails are useful, in milliseconds from the `send` step. `None`: one hour for
    /// transactional mails, two days for others.
    #[serde(default)]
    pub not_after_ms: Option<u64>,
    /// The declared `props`. An empty list accepts any value.
    #[serde(default)]
    pub props: Vec<Prop>,
}

impl Template {
    /// A template with its key, subject and markup (MJML or HTML), and everything else left to defaults.
    pub fn new(key: &str, subject: &str, markup: &str) -> Self {
        Self {
            key: key.into(),
            subject: subject.into(),
            mjml: markup.into(),
            ..Self::default()
        }
    }

    /// Sets the line mail clients show beside the subject.
    pub fn preview(mut self, text: &str) -> Self {
        self.preview = text.into();
        self
    }

    /// Sets the text part.
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Sets the category.
    pub fn category(mut self, category: &str) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Sets how long its mails are useful, from the `send` step.
    pub fn not_after(mut self, useful: std::time::Duration) -> Self {
        self.not_after_ms = Some(useful.as_millis() as u64);
        self
    }

    /// Declares the `props`.
    pub fn props(mut self, props: Vec<Prop>) -> Self {
        self.props = props;
        self
    }

    /// Checks values against the declared props and returns the faults in declaration order, then the
    /// undeclared values. Where nothing is declared it checks links only, which it recognizes by
    /// their names.
    pub fn faults(&self, props: &Properties) -> Vec<PropFault> {
        if self.props.is_empty() {
            let wrong = props.iter().filter_map(|(name, value)| {
                let why = links_in(name, value)?;
                let name = name.clone();
                Some(PropFault::Wrong { name, why })
            });
            return wrong.collect();
        }
        let given = |name: &str| props.get(name).filter(|value| !is_empty(value));
        let mut faults = Vec::new();
        for prop in &self.props {
            let name = prop.name.clone();
            match given(&name) {
                Some(value) => {
                    let wrong = prop.wrong(value);
                    faults.extend(wrong.map(|why| PropFault::Wrong { name, why }));
                }
                None if prop.required
                    && prop.unless.as_deref().is_none_or(|it| given(it).is_none()) =>
                {
                    faults.push(PropFault::Missing { name });
                }
                None => {}
            }
        }
        let known = |name: &String| self.props.iter().any(|prop| prop.name == *name);
        let unknown = props.keys().filter(|name| !known(name)).cloned();
        faults.extend(unknown.map(|name| PropFault::Unknown { name }));
        faults
    }

    /// The values without the wrong ones; the mail is rendered as if those had not been given.
    pub fn fitting(&self, mut props: Properties) -> Properties {
        for fault in self.faults(&props) {
            if let PropFault::Wrong { name, .. } = fault {
                props.remove(&name);
            }
        }
        props
    }

    /// The sample values, for a preview.
    pub fn samples(&self) -> Properties {
        let samples = self.props.iter().filter(|prop| !prop.sample.is_null());
        samples
            .map(|prop| (prop.name.clone(), prop.sample.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Prop, Template};
    use crate::Properties;
    use crate::journey::PropKind;

    fn template() -> Template {
        Template {
            props: vec![
                Prop::url("url")
                    .required_unless("code")
                    .sample("https://a.test"),
                Prop::text("code"),
                Prop::number("count").sample(3),
                Prop::bool("again"),
                Prop::list("items"),
                Prop::any("extra"),
                Prop::text("word").required(),
            ],
            ..Template::default()
        }
    }

    fn messages(template: &Template, props: Value) -> Vec<String> {
        let props: Properties = serde_json::from_value(props).unwrap();
        let faults = template.faults(&props);
        let messages = faults
            .iter()
            .map(|fault| format!("{} {fault}", fault.name()));
        messages.collect()
    }

    #[test]
    fn values_are_checked_against_the_declaration() {
        let link = "url must be a link that begins with https://, http:// or mailto:";
        let needs = "is required by the template";
        for (props, expected) in [
            (json!({ "url": "https://a.test/x", "word": "x" }), vec![]),
            (json!({ "url": " MAILTO:a@b.test", "word": 7 }), vec![]),
            (json!({ "code": "418", "word": "x" }), vec![]),
            (json!({ "word": "x" }), vec![format!("url {needs}")]),
            (
                json!({}),
                vec![format!("url {needs}"), format!("word {needs}")],
            ),
            (
                json!({ "url": " ", "code": [], "word": null }),
                vec![format!("url {needs}"), format!("word {needs}")],
            ),
            (
                json!({ "code": 1, "word": "x", "resetUrl": "https://a.test" }),
                vec!["resetUrl is not used by the template".to_owned()],
            ),
            (
                json!({ "code": 1, "word": "x", "count": "3" }),
                vec!["count must be a number".to_owned()],
            ),
            (
                json!({ "code": 1, "word": "x", "again": 1 }),
                vec!["again must be true or false".to_owned()],
            ),
            (
                json!({ "code": true, "word": ["x"] }),
                vec![
                    "code must be text".to_owned(),
                    "word must be text".to_owned(),
                ],
            ),
            (json!({ "code": 1, "word": "x", "items": "one" }), vec![]),
            (
                json!({ "code": 1, "word": "x", "items": { "a": 1 } }),
                vec!["items must be a list".to_owned()],
            ),
            (
                json!({ "url": "javascript:alert(1)", "word": "x" }),
                vec![link.to_owned()],
            ),
            (
                json!({ "url": "java\nscript:alert(1)", "word": "x" }),
                vec![link.to_owned()],
            ),
            (
                json!({ "url": "//evil.test", "word": "x" }),
                vec![link.to_owned()],
            ),
            (
                json!({ "url": "https://", "word": "x" }),
                vec![link.to_owned()],
            ),
            (json!({ "url": 7, "word": "x" }), vec![link.to_owned()]),
        ] {
            assert_eq!(messages(&template(), props.clone()), expected, "{props}");
        }
    }

    #[test]
    fn links_within_values_are_found_by_their_names() {
        for name in ["url", "survey_url", "resetUrl", "href", "link"] {
            for bad in [
                "javascript:x",
                " JAVASCRIPT:x",
                "java\tscript:x",
                "data:text/html,x",
            ] {
                let nested = json!({ "code": 1, "word": "x", "items": [{ name: "https://a.test" }, { "deep": [{ name: bad }] }] });
                assert_eq!(messages(&template(), nested).len(), 1, "{name} {bad}");
                let free = json!({ name: bad });
                assert_eq!(
                    messages(&Template::default(), free).len(),
                    1,
                    "{name} {bad}"
                );
                assert_eq!(
                    messages(&Template::default(), json!({ "a": { name: [bad] } })).len(),
                    1
                );
            }
        }
        let fine = json!({ "url": "https://a.test", "text": "javascript: a language", "checkout_link": "c17", "n": 1 });
        assert!(messages(&Template::default(), fine).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_as_good_as_not_given() {
        let props = json!({ "url": "javascript:x", "word": "x", "other": 1 });
        let props: Properties = serde_json::from_value(props).unwrap();
        let fitting = template().fitting(props);
        assert_eq!(Value::from(fitting), json!({ "word": "x", "other": 1 }));
        assert_eq!(
            Value::from(template().samples()),
            json!({ "url": "https://a.test", "count": 3 })
        );
    }

    #[test]
    fn a_kind_of_a_later_version_takes_anything() {
        let prop: Prop = serde_json::from_value(json!({ "name": "x", "kind": "color" })).unwrap();
        assert_eq!(prop.kind, PropKind::Any);
        let old: Template =
            serde_json::from_value(json!({ "key": "x", "subject": "x", "mjml": "x" })).unwrap();
        assert!(old.props.is_empty());
    }
}
