//! What a mail says: the values its template gets, its subject, HTML and text, and its tracked links.

use std::sync::Arc;

use hogsend_plugin_api::journey::PropFault;
use hogsend_plugin_api::{Properties, StepError, Template};
use hogsend_render::{Rendered, Values, render};
use hogsend_semantics::TRANSACTIONAL;
use serde_json::Value;

use super::Composing;
use crate::config::Config;
use crate::context::Context;
use crate::db::TrackedLink;
use crate::ids::SendId;
use crate::mail::tracking::{Tracked, track};
use crate::mail::untrusted::without_strangers;
use crate::nearest::nearest;

/// One template to render for one reader. It owns what it needs, because it runs on a thread for
/// blocking work.
pub struct RenderJob {
    pub send: SendId,
    pub template: Template,
    /// Replaces the template's own subject.
    pub subject: Option<String>,
    /// `id`, `external_id`, `email`, `properties`.
    pub contact: Value,
    pub props: Properties,
    /// Properties of the event behind the mail.
    pub event: Properties,
    pub category: String,
    pub unsubscribe_url: String,
    pub preferences_url: String,
    /// The layout of a file, in place of the host's own.
    pub layout: Option<String>,
    pub config: Arc<Config>,
}

impl RenderJob {
    pub async fn run(self) -> Result<(Rendered, Vec<TrackedLink>), StepError> {
        tokio::task::spawn_blocking(move || self.render())
            .await
            .map_err(|error| failed(error.to_string()))?
    }

    /// Renders the template and puts tracked links into its HTML. Takes a few milliseconds.
    fn render(&self) -> Result<(Rendered, Vec<TrackedLink>), StepError> {
        let transactional = self.category == TRANSACTIONAL;
        let config = &self.config;
        let values = Values {
            contact: self.contact.clone(),
            props: &self.props,
            event: &self.event,
            category: &self.category,
            unsubscribe_url: &self.unsubscribe_url,
            preferences_url: &self.preferences_url,
            postal_address: &config.postal_address,
            brand: &config.brand,
            footer: &config.texts.footer(&config.brand.name, transactional),
        };
        let (layout, subject) = (self.layout.as_deref(), self.subject.as_deref());
        let rendered = render(&self.template, layout, subject, &values);
        let mut rendered = rendered.map_err(|error| failed(error.to_string()))?;
        let mut tracking = config.tracking;
        // Links of transactional mails open accounts: they are neither stored nor reported.
        tracking.clicks &= !transactional;
        let about = Tracked {
            send: self.send,
            base: &config.api_public_url,
            tracking,
        };
        let (html, links) = track(&rendered.html, about).map_err(|error| {
            failed(format!(
                "the links of template '{}' cannot be read: {error}",
                self.template.key
            ))
        })?;
        rendered.html = html;
        Ok((rendered, links))
    }
}

fn failed(message: String) -> StepError {
    StepError::new("template_failed", message)
}

/// The props and the event's properties as the template gets them: without what strangers chose.
/// Required props have to be there; a value that does not fit is left out, because it may come from an
/// event, and an unused one is only logged.
pub fn values(
    cx: &Context,
    template: &Template,
    composing: &Composing<'_>,
) -> Result<(Properties, Properties), StepError> {
    let hosts = &cx.config.link_hosts;
    let trusted = |values| without_strangers(template, values, composing.strange, hosts);
    let props = trusted(composing.args.props.clone());
    for (name, said) in misfits(template, &props) {
        let key = &template.key;
        if cx
            .catalog()
            .templates()
            .first_time(&format!("{key} {name}"))
        {
            tracing::warn!("template '{key}': props.{name} {said}");
        }
    }
    let props = complete(template, props)?;
    Ok((props, trusted(composing.event.clone())))
}

/// The values that fit, among which all required ones have to be.
fn complete(template: &Template, props: Properties) -> Result<Properties, StepError> {
    let props = template.fitting(props);
    let missing: Vec<String> = template
        .faults(&props)
        .into_iter()
        .filter(|fault| matches!(fault, PropFault::Missing { .. }))
        .map(|fault| format!("props.{} {fault}", fault.name()))
        .collect();
    if missing.is_empty() {
        return Ok(props);
    }
    let message = format!("template '{}': {}", template.key, missing.join(", "));
    Err(StepError::new("props_missing", message))
}

/// Names of values that do not fit or are not used, each with a message about it.
pub fn misfits(template: &Template, props: &Properties) -> Vec<(String, String)> {
    let faults = template.faults(props).into_iter();
    let said = faults.filter_map(|fault| {
        let name = fault.name().to_owned();
        match fault {
            PropFault::Missing { .. } => None,
            PropFault::Wrong { why, .. } => Some((name, format!("{why}; it is left out"))),
            PropFault::Unknown { .. } => {
                let known: Vec<&str> = template.props.iter().map(|prop| &*prop.name).collect();
                let near = nearest(&name, known.iter().copied());
                let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
                let said = format!("is not used{near}; the template uses {}", known.join(", "));
                Some((name, said))
            }
        }
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hogsend_plugin_api::journey::Prop;
    use serde_json::json;

    use super::*;
    use crate::config::Mode;

    fn job(category: &str, html: &str) -> RenderJob {
        let lookup = |name: &str| (name == "API_PUBLIC_URL").then(|| "https://api.test".to_owned());
        RenderJob {
            send: SendId::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()),
            template: Template::new("hello", "Hello {{ props.who }}", html),
            subject: None,
            contact: json!({}),
            props: serde_json::from_value(json!({ "who": "Ann" })).unwrap(),
            event: Properties::new(),
            category: category.into(),
            unsubscribe_url: "https://api.test/leave".into(),
            preferences_url: "https://api.test/choose".into(),
            layout: None,
            config: Arc::new(Config::read(&lookup, Mode::Dev).0),
        }
    }

    const HTML: &str = "<!doctype html><html><body><a href=\"https://x.test\">Go</a></body></html>";

    #[test]
    fn clicks_of_transactional_mail_are_not_tracked() {
        let (mail, links) = job("journey", HTML).render().unwrap();
        assert_eq!(mail.subject, "Hello Ann");
        assert_eq!(links.len(), 1);
        assert!(!mail.html.contains("https://x.test"), "{}", mail.html);

        let (mail, links) = job(TRANSACTIONAL, HTML).render().unwrap();
        assert!(links.is_empty());
        assert!(mail.html.contains("https://x.test"), "{}", mail.html);
    }

    #[test]
    fn the_sends_subject_replaces_the_templates() {
        let mut job = job("journey", HTML);
        job.subject = Some("Another".into());
        assert_eq!(job.render().unwrap().0.subject, "Another");
    }

    #[test]
    fn a_template_that_does_not_render_fails_the_step() {
        let error = job("journey", "<!doctype html>{{ nothing( }}")
            .render()
            .unwrap_err();
        assert_eq!(error.code, "template_failed");
        assert!(error.message.contains("'hello'"), "{error}");
    }

    #[test]
    fn a_required_value_has_to_fit() {
        let props = vec![Prop::url("url").required()];
        let template = Template::new("hello", "", "").props(props);
        let props = |value: Value| -> Properties {
            serde_json::from_value(json!({ "url": value })).unwrap()
        };
        assert!(complete(&template, props(json!("https://x.test"))).is_ok());
        let error = complete(&template, props(json!(7))).unwrap_err();
        assert_eq!(error.code, "props_missing");
        assert!(error.message.contains("props.url"), "{error}");
    }
}
