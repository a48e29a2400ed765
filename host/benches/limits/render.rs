//! Rendering a mail from a template: expressions, MJML, inlined styles, text part, tracked links.
//! The limit is the unavoidable part, MJML to HTML and inlining, on the same text.

use css_inline::CSSInliner;
use hogsend::config::Tracking;
use hogsend::ids::SendId;
use hogsend::mail::tracking::{Tracked, track};
use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::{Properties, Template};
use hogsend_render::{Brand, Footer, LAYOUT, Values, render};
use serde_json::json;

use crate::{median, microseconds};

pub fn bench() {
    let catalogue = stock();
    for key in ["welcome", "retention-weekly-digest"] {
        let template = catalogue.templates.iter().find(|one| one.key == key);
        one(template.expect("a stock template"));
    }
}

/// The catalogue of the linked plugin with journeys.
fn stock() -> Catalogue {
    hogsend_plugin_lifecycle::hogsend_link();
    let linked = hogsend_plugin_api::export::linked();
    let plugin = linked
        .into_iter()
        .find(|one| (one.manifest)().id == "lifecycle")
        .expect("the stock journeys");
    let plugin = (plugin.create)(&Default::default()).expect("it starts");
    let method = hogsend_plugin_api::call::method::JOURNEYS_CATALOGUE;
    let bytes = plugin.call(method, b"null").expect("an answer");
    serde_json::from_slice(&bytes).expect("a catalogue")
}

fn one(template: &Template) {
    let props = Properties::new();
    let (brand, footer) = (
        Brand::default(),
        Footer {
            lang: "en".into(),
            reason: "You get this mail because you signed up.".into(),
            unsubscribe: "Unsubscribe".into(),
            choose: "Choose what you get".into(),
        },
    );
    let values = Values {
        contact: json!({ "properties": { "first_name": "Ada" } }),
        props: &props,
        event: &props,
        category: "journey",
        unsubscribe_url: "https://api.acme.test/v1/email/unsubscribe?token=x",
        preferences_url: "https://api.acme.test/v1/email/preferences?token=x",
        postal_address: "1 Main Street",
        brand: &brand,
        footer: &footer,
    };
    let rendered = || render(template, None, None, &values).expect("a mail");
    let about = Tracked {
        send: SendId::new(chrono::DateTime::UNIX_EPOCH),
        base: "https://api.acme.test",
        tracking: Tracking {
            opens: true,
            clicks: true,
        },
    };
    let html = rendered().html;
    let rewriting = median(|| {
        std::hint::black_box(track(&html, about).expect("links"));
    });
    let rendering = median(|| {
        std::hint::black_box(rendered());
    });
    let whole = LAYOUT.replace("{{ body }}", &template.mjml);
    let raw = mrml::parse(html_free(&whole)).expect("MJML");
    let options = mrml::prelude::render::RenderOptions::default();
    let limit = median(|| {
        let html = raw.element.render(&options).expect("HTML");
        let inliner = CSSInliner::options().load_remote_stylesheets(false).build();
        std::hint::black_box(inliner.inline(&html).expect("styles"));
    });
    let sum = rendering + rewriting;
    println!(
        "render: '{}' takes {:.0} µs ({:.0} of them links), {:.0} mails a second and core; {:.2} times MJML and styles alone ({:.0} µs)",
        template.key,
        microseconds(sum),
        microseconds(rewriting),
        1.0 / sum.as_secs_f64(),
        sum.as_secs_f64() / limit.as_secs_f64(),
        microseconds(limit),
    );
}

/// MJML without expressions, which MJML itself does not know.
fn html_free(mjml: &str) -> String {
    let mut out = String::new();
    let mut rest = mjml;
    while let Some(start) = rest.find('{') {
        let closing = match rest.as_bytes().get(start + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                out.push_str(&rest[..=start]);
                rest = &rest[start + 1..];
                continue;
            }
        };
        out.push_str(&rest[..start]);
        let end = rest[start..]
            .find(closing)
            .map_or(rest.len(), |at| start + at + 2);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}
