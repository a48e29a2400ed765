//! Replaces the links of a mail with tracked ones and adds an image that records opens.
//!
//! Works on the final HTML. The text part keeps its links, because people read the URLs there.

use std::cell::Cell;
use std::rc::Rc;

use lol_html::html_content::{ContentType, Element};
use lol_html::{HandlerResult, RewriteStrSettings, element, end, end_tag, rewrite_str};
use reqwest::Url;
use uuid::Uuid;

use crate::config::Tracking;
use crate::db::TrackedLink;
use crate::ids::SendId;

/// Paths of tracked links and images, below the base URL of the API.
const CLICKS: &str = "/v1/t/c/";
const OPENS: &str = "/v1/t/o/";
/// Pages that must work without a redirect, such as unsubscribing.
const OWN_PAGES: &str = "/v1/email/";

/// The mail of the HTML, and what is tracked in it.
#[derive(Clone, Copy, Debug)]
pub struct Tracked<'a> {
    pub send: SendId,
    /// `API_PUBLIC_URL`
    pub base: &'a str,
    pub tracking: Tracking,
}

/// Replaces each link with a tracked one that has its own id, and adds an image at the end. Returns the
/// HTML and the links' targets in the order of the HTML. The rest stays byte for byte.
///
/// # Errors
/// Why the HTML cannot be parsed.
pub fn track(html: &str, about: Tracked<'_>) -> Result<(String, Vec<TrackedLink>), String> {
    let Tracking { opens, clicks } = about.tracking;
    let base = about.base.trim_end_matches('/');
    let own = Url::parse(&format!("{base}{OWN_PAGES}")).map_err(|error| error.to_string())?;
    let mut links = Vec::new();
    let mut settings = RewriteStrSettings::new();
    if clicks {
        settings = settings.append_element_content_handler(element!(
            "a[href], area[href]",
            |link: &mut Element<'_, '_>| -> HandlerResult {
                if link.get_attribute("data-track").as_deref() == Some("false") {
                    link.remove_attribute("data-track");
                    return Ok(());
                }
                let href = link.get_attribute("href").unwrap_or_default();
                if let Some(url) = followable(&href, &own) {
                    // Random, so that nobody can guess the links of other mails.
                    let id = Uuid::new_v4();
                    link.set_attribute("href", &format!("{base}{CLICKS}{id}"))?;
                    links.push(TrackedLink { id, url });
                }
                Ok(())
            }
        ));
    }
    if opens {
        let image = Rc::new(format!(
            "<img src=\"{base}{OPENS}{}\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block\">",
            about.send
        ));
        let placed = Rc::new(Cell::new(false));
        let (last, none_yet) = (image.clone(), placed.clone());
        settings = settings
            .append_element_content_handler(element!("body", move |body| {
                let (image, placed) = (image.clone(), placed.clone());
                body.on_end_tag(end_tag!(move |tag| {
                    if !placed.replace(true) {
                        tag.before(&image, ContentType::Html);
                    }
                    Ok(())
                }))?;
                Ok(())
            }))
            .append_document_content_handler(end!(move |document| {
                if !none_yet.get() {
                    document.append(&last, ContentType::Html);
                }
                Ok(())
            }));
    }
    let html = rewrite_str(html, settings).map_err(|error| error.to_string())?;
    Ok((html, links))
}

/// Gives the tracked HTML of one mail new links and a new image for another one, with the same
/// targets, so that the two are counted apart.
pub fn track_anew(
    html: &str,
    of: (SendId, &[TrackedLink]),
    to: SendId,
) -> (String, Vec<TrackedLink>) {
    let (from, links) = of;
    let mut html = html.replace(&format!("{OPENS}{from}"), &format!("{OPENS}{to}"));
    let renewed = links.iter().map(|link| {
        let id = Uuid::new_v4();
        html = html.replace(&format!("{CLICKS}{}", link.id), &format!("{CLICKS}{id}"));
        let url = link.url.clone();
        TrackedLink { id, url }
    });
    let renewed = renewed.collect();
    (html, renewed)
}

/// The URL in an `href`, if a redirect can lead there: http or https, and not one of our own pages.
fn followable(href: &str, own: &Url) -> Option<String> {
    let text = htmlize::unescape_attribute(href);
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let url = Url::parse(text).ok()?;
    let followed =
        matches!(url.scheme(), "http" | "https") && !url.as_str().starts_with(own.as_str());
    followed.then(|| text.to_owned())
}

/// Whether this is one of our own tracked links, which providers may track a second time.
pub fn is_tracked(url: &str, base: &str) -> bool {
    let path = url.strip_prefix(base.trim_end_matches('/'));
    path.is_some_and(|path| path.starts_with(CLICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://api.acme.test/";
    const BOTH: Tracking = Tracking {
        opens: true,
        clicks: true,
    };
    const CLICKS_ONLY: Tracking = Tracking {
        opens: false,
        clicks: true,
    };

    fn tracked(html: &str, tracking: Tracking) -> (String, Vec<String>, Vec<TrackedLink>) {
        let send = SendId(Uuid::from_u128(7));
        let about = Tracked {
            send,
            base: BASE,
            tracking,
        };
        let (mut out, links) = track(html, about).unwrap();
        for (n, link) in links.iter().enumerate() {
            out = out.replace(&link.id.to_string(), &format!("link-{n}"));
        }
        (
            out,
            links.iter().map(|link| link.url.clone()).collect(),
            links,
        )
    }

    #[test]
    fn every_link_to_the_web_is_replaced_and_leads_where_it_led() {
        for (href, url) in [
            (
                "https://x.test/a?b=1&amp;c=2#d",
                "https://x.test/a?b=1&c=2#d",
            ),
            // `&copy` with a `=` behind it is no entity (HTML §13.2.5.73).
            (
                "https://x.test/?a=1&copy=2&amp=3",
                "https://x.test/?a=1&copy=2&amp=3",
            ),
            (
                "https://x.test/?q=&quot;&#39;&#x2F;&lt;",
                "https://x.test/?q=\"'/<",
            ),
            (
                "https://x.test/ü?q=日本&eacute;",
                "https://x.test/ü?q=日本é",
            ),
            (
                "https://x.test/?u=http%3A%2F%2Fy.test%26",
                "https://x.test/?u=http%3A%2F%2Fy.test%26",
            ),
            (" \n HTTP://X.test ", "HTTP://X.test"),
        ] {
            for html in [
                format!("<a class='b' href=\"{href}\" target=_blank>go</a>"),
                format!("<map><area href=\"{href}\"></map>"),
            ] {
                let (out, urls, _) = tracked(&html, CLICKS_ONLY);
                assert_eq!(urls, [url]);
                let expected = html.replace(href, "https://api.acme.test/v1/t/c/link-0");
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn each_occurrence_has_an_id_of_its_own_that_cannot_be_guessed() {
        let html = "<a href='https://x.test'>1</a><a href='https://x.test'>2</a>";
        let (_, urls, links) = tracked(html, CLICKS_ONLY);
        assert_eq!(urls, ["https://x.test", "https://x.test"]);
        assert_ne!(links[0].id, links[1].id);
        assert!(links.iter().all(|link| link.id.get_version_num() == 4));
    }

    #[test]
    fn what_is_not_a_link_to_the_web_stays() {
        let conditional = "<!--[if mso]><v:rect href=\"https://x.test\"><a href=\"https://x.test\">x</a><![endif]-->";
        for html in [
            "<a href=\"mailto:a@x.test?subject=b\">x</a>",
            "<a href=\"tel:+491\">x</a>",
            "<a href=\"#top\">x</a><a href=\"\">x</a><a name=\"y\">x</a>",
            "<a href=\"/path\">x</a><a href=\"path?q=https://x.test\">x</a><a href=\"//x.test\">x</a>",
            "<a href=\"javascript:alert(1)\">x</a><a href=\"data:text/html,x\">x</a>",
            "<a href=\"https://\">x</a>",
            "<a href=\"https://api.acme.test/v1/email/unsubscribe?token=a.b\">x</a>",
            "<a href=\"HTTPS://API.acme.test:443/v1/email/preferences?token=a.b\">x</a>",
            "<link href=\"https://x.test/a.css\"><img src=\"https://x.test/a.png\">",
            conditional,
        ] {
            let (out, urls, _) = tracked(html, CLICKS_ONLY);
            assert_eq!(out, html);
            assert_eq!(urls, [""; 0]);
        }
    }

    #[test]
    fn an_author_can_keep_a_link_as_it_is() {
        let html = "<a data-track=\"false\" href=\"https://x.test\">x</a><a data-track=\"true\" href=\"https://y.test\">y</a>";
        let (out, urls, _) = tracked(html, CLICKS_ONLY);
        assert!(out.starts_with("<a href=\"https://x.test\">x</a>"), "{out}");
        assert_eq!(urls, ["https://y.test"]);
    }

    #[test]
    fn the_image_is_at_the_end_of_the_body_once() {
        let image = "<img src=\"https://api.acme.test/v1/t/o/00000000-0000-0000-0000-000000000007\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block\">";
        for (html, expected) in [
            (
                "<html><body><p>x</p></body></html>",
                format!("<html><body><p>x</p>{image}</body></html>"),
            ),
            ("<p>x</p>", format!("<p>x</p>{image}")),
            ("<body><p>x", format!("<body><p>x{image}")),
            (
                "<!-- </body> --><BODY>x</BODY>",
                format!("<!-- </body> --><BODY>x{image}</BODY>"),
            ),
        ] {
            assert_eq!(tracked(html, BOTH).0, expected);
        }
    }

    #[test]
    fn where_nothing_is_tracked_nothing_changes() {
        let html = "<body><a data-track=\"false\" href='https://x.test/?a&amp;b'>x</a></body>";
        let off = Tracking {
            opens: false,
            clicks: false,
        };
        assert_eq!(tracked(html, off).0, html);
    }

    #[test]
    fn a_mail_sent_again_is_counted_for_itself() {
        let html = "<body><a href='https://x.test/1'>1</a><a href='https://x.test/2'>2</a></body>";
        let old = SendId(Uuid::from_u128(7));
        let about = Tracked {
            send: old,
            base: BASE,
            tracking: BOTH,
        };
        let (first, links) = track(html, about).unwrap();
        let new = SendId(Uuid::from_u128(8));
        let (again, renewed) = track_anew(&first, (old, &links), new);
        let urls: Vec<_> = renewed.iter().map(|link| link.url.as_str()).collect();
        assert_eq!(urls, ["https://x.test/1", "https://x.test/2"]);
        let mut expected = first.replace(&old.to_string(), &new.to_string());
        for (old, new) in links.iter().zip(&renewed) {
            assert_ne!(old.id, new.id);
            expected = expected.replace(&old.id.to_string(), &new.id.to_string());
        }
        assert_eq!(again, expected);
    }

    #[test]
    fn our_own_links_are_recognised() {
        assert!(is_tracked("https://api.acme.test/v1/t/c/1", BASE));
        assert!(!is_tracked("https://api.acme.test.evil/v1/t/c/1", BASE));
        assert!(!is_tracked("https://x.test", BASE));
    }
}
