//! The envelope of a mail: sender, headers and tags, and the address of test mode.

use chrono::{DateTime, Utc};
use hogsend_mime as mime;
use hogsend_plugin_api::Mail;
use hogsend_render::Rendered;
use hogsend_semantics::TRANSACTIONAL;

use crate::context::Context;
use crate::ids::SendId;
use crate::purpose::Purpose;

/// All of a mail but its content.
pub struct Envelope<'a> {
    pub id: SendId,
    pub from: &'a str,
    pub to: String,
    pub template: &'a str,
    pub category: &'a str,
    pub unsubscribe_url: &'a str,
    /// Further tags for the provider's reports.
    pub labels: &'a [(&'a str, &'a str)],
    /// `EMAIL_TEST_TO`
    pub test_to: Option<&'a str>,
    pub date: DateTime<Utc>,
}

impl Envelope<'_> {
    /// Puts the content into the envelope.
    pub fn seal(self, content: Rendered) -> Mail {
        let domain = domain_of(self.from);
        let headers = self.headers(domain);
        let tags = self.tags();
        let (mut to, mut subject) = (self.to, content.subject);
        redirect(self.test_to, &mut to, &mut subject);
        let mut mail = Mail::new(self.id.into(), self.from, &to, self.date);
        mail.subject = subject;
        mail.html = content.html;
        mail.text = content.text;
        mail.headers = headers;
        mail.tags = tags;
        mail.message_id = format!("{}@{domain}", self.id);
        mail
    }

    fn headers(&self, domain: &str) -> Vec<(String, String)> {
        if self.category == TRANSACTIONAL {
            return Vec::new();
        }
        vec![
            // RFC 8058 §3.1: both headers, the link alone being enough to unsubscribe.
            (
                "List-Unsubscribe".into(),
                format!("<{}>", self.unsubscribe_url),
            ),
            (
                "List-Unsubscribe-Post".into(),
                "List-Unsubscribe=One-Click".into(),
            ),
            // RFC 2919 §3: an identifier within a domain of the sender.
            (
                "List-Id".into(),
                format!("<{}.{domain}>", label(self.category)),
            ),
        ]
    }

    fn tags(&self) -> Vec<(String, String)> {
        let own = [("template", self.template), ("category", self.category)];
        own.iter()
            .chain(self.labels)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }
}

/// In test mode the mail goes to the test address, and its subject names the recipient.
pub fn redirect(test_to: Option<&str>, to: &mut String, subject: &mut String) {
    if let Some(test_to) = test_to {
        *subject = format!("[to {to}] {subject}");
        test_to.clone_into(to);
    }
}

/// The installation's sender of such mail. The configuration checked its form.
pub fn sender(cx: &Context, purpose: Purpose) -> String {
    let from = cx.config.senders.of(purpose);
    mime::name_addr("sender", from).map_or_else(|_| from.clone(), |from| from.to_string())
}

/// The domain of `Name <local@domain>` or `local@domain`.
pub fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("localhost", |(_, domain)| {
        domain.trim_end_matches('>').trim()
    })
}

/// A category as part of a host name.
fn label(category: &str) -> String {
    let plain = category.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(category: &str, test_to: Option<&str>) -> Mail {
        let date = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let envelope = Envelope {
            id: SendId::new(date),
            from: "Acme <hello@acme.test>",
            to: "ann@example.com".into(),
            template: "welcome",
            category,
            unsubscribe_url: "https://api.acme.test/leave",
            labels: &[("journey", "onboarding")],
            test_to,
            date,
        };
        envelope.seal(Rendered {
            subject: "Hello".into(),
            preview: String::new(),
            html: "<p>Hello</p>".into(),
            text: "Hello\n".into(),
        })
    }

    fn pairs(all: &[(String, String)]) -> Vec<(&str, &str)> {
        let pairs = all.iter().map(|(name, value)| (&**name, &**value));
        pairs.collect()
    }

    #[test]
    fn a_mail_that_can_be_left_says_how() {
        let mail = sealed("Product news", None);
        assert_eq!(
            pairs(&mail.headers),
            [
                ("List-Unsubscribe", "<https://api.acme.test/leave>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
                ("List-Id", "<product-news.acme.test>"),
            ]
        );
        assert!(sealed(TRANSACTIONAL, None).headers.is_empty());
    }

    #[test]
    fn tags_name_the_template_the_category_and_what_else_the_caller_labels() {
        assert_eq!(
            pairs(&sealed("news", None).tags),
            [
                ("template", "welcome"),
                ("category", "news"),
                ("journey", "onboarding"),
            ]
        );
    }

    #[test]
    fn test_mode_keeps_the_recipient_in_the_subject() {
        let mail = sealed("news", Some("qa@acme.test"));
        assert_eq!(mail.to, "qa@acme.test");
        assert_eq!(mail.subject, "[to ann@example.com] Hello");
        let mail = sealed("news", None);
        assert_eq!((&*mail.to, &*mail.subject), ("ann@example.com", "Hello"));
        assert!(
            mail.message_id.ends_with("@acme.test"),
            "{}",
            mail.message_id
        );
    }
}
