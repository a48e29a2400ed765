//! The links that are allowed in a mail.

use lol_html::html_content::Element;
use lol_html::{HandlerResult, RewriteStrSettings, element, rewrite_str};

/// Allowed schemes. Any other (`javascript:`, `data:`, `file:`, …) must come from untrusted input.
const SCHEMES: [&str; 5] = ["http", "https", "mailto", "tel", "sms"];

/// Whether a link is allowed in a mail: it leads to the web, a mailbox or a telephone, or has no
/// scheme. Like browsers (WHATWG URL §4.4) it ignores whitespace and control characters within the
/// scheme.
pub fn is_safe(href: &str) -> bool {
    let plain: String = href
        .chars()
        .filter(|c| !c.is_ascii_control() && !c.is_whitespace())
        .collect();
    let Some((scheme, _)) = plain.split_once(':') else {
        return true;
    };
    if scheme.contains(['/', '?', '#']) {
        return true;
    }
    SCHEMES
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// The same HTML with the `href` of unsafe links removed.
pub fn without_unsafe(html: &str) -> Result<String, String> {
    let settings = RewriteStrSettings::new().append_element_content_handler(element!(
        "a[href], area[href]",
        |link: &mut Element<'_, '_>| -> HandlerResult {
            let href = link.get_attribute("href").unwrap_or_default();
            if !is_safe(&htmlize::unescape_attribute(&href)) {
                link.remove_attribute("href");
            }
            Ok(())
        }
    ));
    rewrite_str(html, settings).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{is_safe, without_unsafe};

    #[test]
    fn only_web_mail_and_telephone_are_followed() {
        for good in [
            "https://acme.test/a?b=c:d",
            "HTTP://acme.test",
            "mailto:ann@acme.test",
            "tel:+4312345",
            "#top",
            "/path:1",
            "page?x=a:b",
            "",
        ] {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            " JavaScript:alert(1)",
            "java\tscript:alert(1)",
            "\u{1}javascript:alert(1)",
            "java\nscript\r:alert(1)",
            "data:text/html,<script>",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://acme.test/x",
            "intent://x",
        ] {
            assert!(!is_safe(bad), "{bad}");
            let html = format!("<a href=\"{}\">x</a>", htmlize::escape_all_quotes(bad));
            assert_eq!(without_unsafe(&html).unwrap(), "<a>x</a>", "{bad}");
        }
        let entity = "<a href=\"&#106;avascript&colon;alert(1)\">x</a>";
        assert_eq!(without_unsafe(entity).unwrap(), "<a>x</a>");
        let kept = "<a href=\"https://acme.test/?a=1&amp;b=2\" class=x>x</a>";
        assert_eq!(without_unsafe(kept).unwrap(), kept);
    }
}
