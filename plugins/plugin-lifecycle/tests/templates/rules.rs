//! The rules for every mail.

use hogsend_plugin_api::Template;
use serde_json::{Value, json};

use crate::rendered::{Given, PREFERENCES, Rendered, UNSUBSCRIBE, acme, all, render, templates};

/// Every value that one of the templates uses.
const NAMES: [&str; 18] = [
    "action",
    "amount",
    "closing",
    "code",
    "count",
    "days_left",
    "detail",
    "events",
    "feature",
    "items",
    "message",
    "milestone",
    "offer",
    "period",
    "plan",
    "preview",
    "title",
    "valid_for",
];

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
        assert!(mail.html.contains("1 Main St &amp; Co, Vienna"));
        assert!(mail.text.contains("1 Main St & Co, Vienna"));
        if mail.transactional {
            // It is sent despite an unsubscription, so an unsubscribe link would be wrong.
            assert!(!mail.html.contains("Unsubscribe") && !mail.html.contains("token="));
            assert!(!mail.text.contains("Unsubscribe") && !mail.text.contains("token="));
            continue;
        }
        let link = UNSUBSCRIBE.replace('&', "&amp;");
        assert!(
            mail.html.contains(&format!("<a href=\"{link}\"")),
            "{}",
            mail.html
        );
        assert!(mail.html.contains(">Unsubscribe</a>"));
        for link in [UNSUBSCRIBE, PREFERENCES] {
            assert!(mail.text.contains(link), "{}", mail.text);
        }
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
        for noise in ["<", ">", "|", "│", "─", "\u{200c}", "](", "]:", "**", "["] {
            assert!(!mail.text.contains(noise), "{noise} in {}", mail.text);
        }
        assert!(
            lines.iter().all(|line| !line.starts_with(['#', '*'])),
            "{}",
            mail.text
        );
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
        // Neither fonts nor images: opening a mail loads nothing.
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
        // Gmail clips larger mails, which hides the footer.
        assert!(html.len() < 100 * 1024);
    }
}

#[test]
fn a_person_is_called_by_what_is_a_name() {
    let long = "x".repeat(41);
    for (contact, name) in [
        (
            json!({ "first_name": "Ada", "name": "Ada Lovelace" }),
            "Ada",
        ),
        (json!({ "first_name": " Ada " }), "Ada"),
        (json!({ "firstName": "Ada" }), "Ada"),
        (json!({ "name": "Ada Lovelace" }), "Ada Lovelace"),
        (json!({ "first_name": "", "name": "Ada L." }), "Ada L."),
        (json!({ "first_name": null, "name": "Ada" }), "Ada"),
        (json!({ "first_name": "Łukasz O'Neil" }), "Łukasz O'Neil"),
        (json!({ "first_name": 7 }), ""),
        (json!({ "first_name": ["Ada"], "name": {} }), ""),
        (json!({ "first_name": "  " }), ""),
        (json!({}), ""),
        (Value::Null, ""),
        // Nobody may send links in our name through a sign-up form.
        (json!({ "first_name": "see https://evil.test now" }), ""),
        (json!({ "first_name": "WWW.evil.test" }), ""),
        (json!({ "first_name": "Free gift bit.ly/3xFree" }), ""),
        (
            json!({ "first_name": "evil-site.com", "name": "t.me/x" }),
            "",
        ),
        (json!({ "first_name": "Call +1 900 555 0199" }), ""),
        (json!({ "first_name": long }), ""),
    ] {
        for mail in all(&contact) {
            let heading = mail.text.lines().next().unwrap();
            let hello = if name.is_empty() { "there" } else { name };
            let greets = mail.text.contains(&format!("\nHi {hello},\n"));
            let heads = ["Welcome", "Still there", "Well done"].iter().any(|start| {
                let with = format!("{start}, {name}");
                heading.trim_end_matches('?') == if name.is_empty() { start } else { &*with }
            });
            assert!(greets || heads, "{contact}: {}", mail.text);
            for hidden in ["evil", "bit.ly", "t.me", "900"] {
                assert!(
                    !mail.html.contains(hidden) && !mail.subject.contains(hidden),
                    "{hidden}"
                );
            }
        }
    }
}

#[test]
fn no_value_becomes_markup() {
    let evil = "<script>alert(\"1\")</script>";
    for template in templates() {
        let mut given = Given::new(&json!({ "first_name": evil }), &json!({}));
        given.postal_address = "</mj-text><mj-raw><script>".into();
        given.unsubscribe_url = "https://acme.test/\"><script>".into();
        given.brand.name = evil.into();
        for name in NAMES {
            given.props[name] = json!(evil);
        }
        for name in ["url", "survey_url"] {
            given.props[name] = json!("https://acme.test/?a=1&b=2\"><script>");
        }
        let mail = render(&template, &given);
        // In a link the quote cannot end the attribute, so the rest stays inside it.
        // Nor can it in the label from the subject; outside an attribute it is unchanged.
        let outside = mail.html.replace("&quot;><script>", "");
        let outside = outside.replace(&evil.replace('"', "&quot;"), "");
        assert!(outside.len() < mail.html.len(), "{}", mail.key);
        assert!(!outside.contains("<script"), "{}: {outside}", mail.key);
        assert!(mail.html.contains("&lt;script&gt;"), "{}", mail.html);
        assert!(mail.text.contains(evil), "{}", mail.text);
    }
}

fn with_all(template: &Template, value: &Value) -> Rendered {
    let mut given = Given::new(&json!({}), &json!({}));
    for name in NAMES {
        given.props[name] = value.clone();
    }
    render(template, &given)
}

#[test]
fn a_value_that_is_empty_is_as_good_as_none() {
    for template in templates() {
        let bare = render(&template, &Given::new(&json!({}), &json!({})));
        for empty in [json!(null), json!(""), json!([]), json!({}), json!(false)] {
            let mail = with_all(&template, &empty);
            assert_eq!(mail.subject, bare.subject);
            assert_eq!(mail.preview, bare.preview);
            assert_eq!(mail.html, bare.html, "{}: {empty}", mail.key);
            assert_eq!(mail.text, bare.text, "{}: {empty}", mail.key);
        }
    }
}

#[test]
fn values_of_any_kind_render() {
    for value in [
        json!(7),
        json!(-0.5),
        json!(true),
        json!("text"),
        json!([null, 1, "two", [], { "title": null, "url": 3 }]),
        json!({ "title": 1 }),
    ] {
        for template in templates() {
            let mail = with_all(&template, &value);
            assert!(!mail.subject.is_empty(), "{} of {value}", mail.key);
        }
    }
}

#[test]
fn a_button_is_there_where_the_journey_gives_it_a_url() {
    for template in templates() {
        let mail = render(&template, &Given::new(&json!({}), &json!({})));
        assert_eq!(
            mail.html.matches("<a ").count(),
            2 * usize::from(!mail.transactional),
            "{}: only the way out",
            mail.key
        );
        if template.key == "feedback-nps-survey" {
            // Its buttons are the scores.
            continue;
        }
        let url = json!({ "url": "https://app.acme.test/start?a=1&b=2" });
        let mail = render(&template, &Given::new(&json!({}), &url));
        assert!(
            mail.html
                .contains("href=\"https://app.acme.test/start?a=1&amp;b=2\""),
            "{}",
            mail.key
        );
        assert!(mail.text.contains("https://app.acme.test/start?a=1&b=2"));
    }
}

#[test]
fn without_a_postal_address_no_empty_line_is_left() {
    for template in templates() {
        let mut given = Given::new(&json!({}), &json!({}));
        given.postal_address = String::new();
        let mail = render(&template, &given);
        assert!(
            mail.text.contains("You get this mail because"),
            "{}",
            mail.text
        );
        assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
        assert_eq!(mail.html.matches("font-size:13px").count(), 1);
    }
}

#[test]
fn every_mail_names_the_product_in_its_color() {
    for template in templates() {
        let mut given = Given::new(&json!({}), &json!({}));
        given.brand = acme();
        let mail = render(&template, &given);
        assert!(
            mail.html.matches("Acme &amp; Sons").count() >= 2,
            "{}",
            mail.key
        );
        assert!(
            mail.html.contains("href=\"https://acme.test/\""),
            "{}",
            mail.key
        );
        assert!(
            mail.html.contains("#0f766e") && !mail.html.contains("#c2410c"),
            "{}",
            mail.key
        );
        assert!(
            mail.text.contains("Acme & Sons: https://acme.test/"),
            "{}",
            mail.text
        );
        assert!(!mail.html.contains("<img"), "{}", mail.key);
        given.brand.logo_url = "https://acme.test/logo.png?a=1&b=2".into();
        let mail = render(&template, &given);
        let image = "src=\"https://acme.test/logo.png?a=1&amp;b=2\"";
        assert!(
            mail.html.contains(image) && mail.html.contains("alt=\"Acme &amp; Sons\""),
            "{}",
            mail.html
        );
    }
}

#[test]
fn every_template_declares_what_it_reads() {
    for template in templates() {
        let source = [&template.subject, &template.preview, &template.mjml].map(String::as_str);
        let source = source.concat() + template.text.as_deref().unwrap_or_default();
        let read = source.split("props.").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
        for name in read {
            let declared = template.props.iter().any(|prop| prop.name == name);
            assert!(declared, "{} reads props.{name}", template.key);
        }
        for prop in &template.props {
            // `plan` is declared where the journey passes it, even if the template does not use it.
            let read = source.contains(&format!("props.{}", prop.name)) || prop.name == "plan";
            assert!(read, "{} does not read props.{}", template.key, prop.name);
            assert!(!prop.about.is_empty(), "{}: {}", template.key, prop.name);
        }
        let samples = template.faults(&template.samples());
        assert!(samples.is_empty(), "{}: {samples:?}", template.key);
        assert!(template.category.is_some() || template.key == "journey-notification");
    }
}

#[test]
fn subjects_and_previews_fit_the_list_of_mails() {
    for mail in all(&json!({})) {
        for (line, longest) in [(&mail.subject, 60), (&mail.preview, 90)] {
            assert!(
                !line.is_empty() && line.chars().count() <= longest,
                "{}: {line}",
                mail.key
            );
        }
        assert_eq!(mail.html.matches(mail.preview.as_str()).count(), 1);
        assert!(!mail.text.contains(&mail.preview), "{}", mail.text);
        assert_eq!(
            mail.transactional,
            mail.key == "password-reset",
            "the journey's category counts"
        );
    }
}
