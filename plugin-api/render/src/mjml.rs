//! Renders MJML to HTML.
//!
//! mrml (6.0.1, `prelude/render/buffer.rs`) writes attribute values in Rust's `Debug` form, which
//! is not HTML: a quotation mark becomes `\"`, and Thai vowels, combining accents, joined emoji and
//! backslashes become `\u{…}`. This module therefore replaces the characters that `Debug` would
//! change by character references before mrml parses the MJML; HTML decodes them.

use std::borrow::Cow;
use std::ops::Range;

use htmlparser::{ElementEnd, Token, Tokenizer};
use mrml::prelude::parser::Error as ParseError;
use mrml::prelude::render::RenderOptions;

/// Renders MJML.
///
/// # Errors
///
/// The text is not valid MJML.
pub fn html(mjml: &str) -> Result<String, MjmlError> {
    let parsed = mrml::parse(safe(&readable(mjml)))?;
    Ok(parsed.element.render(&RenderOptions::default())?)
}

/// Why MJML cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum MjmlError {
    /// It cannot be parsed.
    #[error("{0}")]
    Parse(#[from] mrml::prelude::parser::Error),
    /// It is parsed, but an element cannot be rendered.
    #[error("{0}")]
    Render(#[from] mrml::prelude::render::Error),
}

impl MjmlError {
    /// The byte offset of the error in the MJML, where it is known.
    pub fn position(&self) -> Option<usize> {
        match self {
            Self::Parse(
                ParseError::UnexpectedElement { position, .. }
                | ParseError::UnexpectedToken { position, .. }
                | ParseError::MissingAttribute { position, .. }
                | ParseError::InvalidAttribute { position, .. }
                | ParseError::InvalidFormat { position, .. }
                | ParseError::IncludeLoaderError { position, .. },
            ) => Some(position.start),
            _ => None,
        }
    }

    /// The message, with an excerpt of the MJML instead of a byte offset.
    pub fn describe(&self, mjml: &str) -> String {
        let Self::Parse(error) = self else {
            return self.to_string();
        };
        let what = match error {
            ParseError::UnexpectedElement { .. } => "an element that is not allowed here",
            ParseError::UnexpectedToken { .. } => "something that is not allowed here",
            ParseError::MissingAttribute { name, .. } => {
                return format!("an element lacks the attribute {name}{}", self.near(mjml));
            }
            ParseError::InvalidAttribute { .. } => "an attribute that cannot be read",
            ParseError::InvalidFormat { .. } => "something that is not MJML",
            ParseError::EndOfStream { .. } => {
                return "the MJML ends before every element is closed".to_owned();
            }
            ParseError::NoRootNode => return "there is no mjml element".to_owned(),
            ParseError::ParserError { source, .. } => return source.to_string(),
            _ => return error.to_string(),
        };
        format!("there is {what}{}", self.near(mjml))
    }

    fn near(&self, mjml: &str) -> String {
        let place = self.position().and_then(|at| mjml.get(at..));
        let place = place.unwrap_or_default().trim_start();
        let start: String = place
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect();
        if start.is_empty() {
            String::new()
        } else {
            format!(": {start}")
        }
    }
}

/// The same text without the characters that XML forbids and mrml refuses (XML 1.0 §2.2): one such
/// character in a person's name must not prevent the mail.
fn readable(mjml: &str) -> Cow<'_, str> {
    let wrong = |c: char| {
        c < ' ' && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    if !mjml.contains(wrong) {
        return mjml.into();
    }
    mjml.replace(wrong, "\u{fffd}").into()
}

/// The same MJML without the characters in attributes that mrml would change. It uses mrml's own
/// tokenizer, so both agree on what an attribute is.
fn safe(mjml: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut element = "";
    let mut in_title = false;
    let mut put = |range: Range<usize>, value: Cow<'_, str>| {
        if let Cow::Owned(value) = value {
            out.push_str(&mjml[kept..range.start]);
            out.push_str(&value);
            kept = range.end;
        }
    };
    // Stops at a token that cannot be read: mrml reports the error.
    for token in Tokenizer::from(mjml).map_while(Result::ok) {
        match token {
            Token::ElementStart { local, .. } => {
                element = local.as_str();
                in_title = false;
            }
            Token::ElementEnd { end, .. } => {
                in_title = matches!(end, ElementEnd::Open) && element == "mj-title";
            }
            Token::Attribute {
                local,
                value: Some(value),
                ..
            } => {
                let text = value.as_str();
                let safe = match (element, local.as_str()) {
                    // It is also copied to a style sheet, which has no character references.
                    ("mj-font", "href") => percent_encoded(text),
                    _ => references(text),
                };
                put(value.range(), safe);
            }
            // The title is also copied to an attribute, the label of the body.
            Token::Text { text } if in_title => put(text.range(), references(text.as_str())),
            _ => {}
        }
    }
    if out.is_empty() {
        return mjml.into();
    }
    out.push_str(&mjml[kept..]);
    out.into()
}

/// Whether the `Debug` form leaves the character unchanged.
fn stays(c: char) -> bool {
    c == '\'' || c.escape_debug().len() == 1
}

fn references(text: &str) -> Cow<'_, str> {
    if text.chars().all(stays) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match c {
            '"' => out.push_str("&quot;"),
            // HTML reads references to these as characters of Windows-1252.
            '\u{80}'..='\u{9f}' => out.push('\u{fffd}'),
            c if stays(c) => out.push(c),
            c => out.push_str(&format!("&#x{:x};", u32::from(c))),
        }
    }
    out.into()
}

/// A URL without the characters `Debug` changes (RFC 3986 §2.1).
fn percent_encoded(url: &str) -> Cow<'_, str> {
    if url.chars().all(stays) {
        return url.into();
    }
    let mut out = String::with_capacity(url.len() * 2);
    for c in url.chars() {
        if stays(c) {
            out.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::{Strategy, prop_assert_eq, proptest};

    use super::html;

    /// Titles and texts that mrml changes, or might change.
    const TEXTS: &[&str] = &[
        "สวัสดีค่ะ",
        "नमस्ते दुनिया",
        "Cafe\u{301} Ame\u{301}lie",
        "👩‍👩‍👧‍👦 and 👍🏽",
        r"C:\new\table",
        r"\u{e34} stays as typed",
        "tab\tand\nline",
        "private \u{e000} use",
        "soft\u{ad}hyphen \u{200b}\u{feff}\u{202e}",
        "O'Neil & <Sons> \"Ltd\"",
        "&amp; &#65; stays as typed",
    ];

    fn escaped(text: &str) -> String {
        htmlize::escape_all_quotes(text).into_owned()
    }

    /// The attributes of the first element that a selector finds, and its text, decoded.
    fn found(html: &str, selector: &str, attribute: &str) -> (String, String) {
        let value = RefCell::new(None);
        let text = RefCell::new(String::new());
        let settings = lol_html::RewriteStrSettings::new()
            .append_element_content_handler(lol_html::element!(selector, |element| {
                let found = element.get_attribute(attribute);
                value.borrow_mut().get_or_insert(found.unwrap_or_default());
                Ok(())
            }))
            .append_element_content_handler(lol_html::text!(selector, |chunk| {
                text.borrow_mut().push_str(chunk.as_str());
                Ok(())
            }));
        lol_html::rewrite_str(html, settings).unwrap();
        let value = value.into_inner().unwrap_or_default();
        (
            htmlize::unescape_attribute(&value).into_owned(),
            htmlize::unescape(text.into_inner()).into_owned(),
        )
    }

    fn inlined(mjml: &str) -> String {
        let inliner = css_inline::CSSInliner::options()
            .keep_style_tags(true)
            .load_remote_stylesheets(false);
        inliner.build().inline(&html(mjml).unwrap()).unwrap()
    }

    fn survives(text: &str) {
        let text = text.trim();
        let shown = escaped(text);
        let html = inlined(&format!(
            "<mjml lang=\"en\"><mj-head><mj-title>{shown}</mj-title></mj-head><mj-body><mj-section><mj-column>\
             <mj-text><a href=\"https://acme.test/?q={shown}\" title=\"{shown}\">{shown}</a></mj-text>\
             <mj-image src=\"https://acme.test/i.png\" alt=\"{shown}\" href=\"{shown}\" css-class=\"pic\" />\
             <mj-button href=\"{shown}\" css-class=\"go\">{shown}</mj-button>\
             <mj-raw><p title='{shown}'>x</p></mj-raw>\
             </mj-column></mj-section></mj-body></mjml>"
        ));
        let all = |selector: &str, attribute: &str| found(&html, selector, attribute);
        assert_eq!(
            all("a[title]", "title"),
            (text.to_owned(), text.to_owned()),
            "{html}"
        );
        assert_eq!(
            all("a[title]", "href").0,
            format!("https://acme.test/?q={text}")
        );
        assert_eq!(all("img", "alt").0, text, "{html}");
        assert_eq!(all(".pic a", "href").0, text, "{html}");
        assert_eq!(all(".go a", "href").0, text, "{html}");
        assert_eq!(all("p[title]", "title").0, text, "{html}");
        assert_eq!(all("div[aria-label]", "aria-label").0, text, "{html}");
        assert_eq!(all("title", "x").1, text, "{html}");
    }

    #[test]
    fn what_stands_in_attributes_and_text_arrives() {
        for text in TEXTS {
            survives(text);
        }
    }

    proptest! {
        /// Any text without control characters, which HTML cannot represent, and byte order marks,
        /// which the parser of this test drops.
        #[test]
        fn any_text_in_any_attribute_and_in_the_content_arrives(
            text in "[^\\x00-\\x1f\\u{7f}-\\u{9f}\u{fdd0}-\u{fdef}\u{feff}\u{fffe}\u{ffff}]{1,40}"
                .prop_filter("a word", |text: &String| !text.trim().is_empty())
        ) {
            survives(&text);
        }

        #[test]
        fn what_needs_no_change_has_none(text in "[ -~]{0,40}") {
            let plain = text.replace(['"', '\\'], "");
            prop_assert_eq!(super::references(&plain), plain.as_str());
        }
    }

    #[test]
    fn what_xml_forbids_does_not_cost_the_mail() {
        let html = inlined(
            "<mjml><mj-body><mj-section><mj-column><mj-text><a href=\"https://a.test/\u{1}\">a\u{0}\u{1b}b\u{ffff}</a>\
             </mj-text></mj-column></mj-section></mj-body></mjml>",
        );
        let (link, text) = found(&html, "a", "href");
        assert_eq!(link, "https://a.test/\u{fffd}");
        assert_eq!(text, "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn the_address_of_a_font_is_a_url_in_both_places() {
        let html = html(
            "<mjml><mj-head><mj-font name=\"Kanit\" href=\"https://fonts.test/ค?a=1\" /></mj-head>\
             <mj-body><mj-section><mj-column><mj-text font-family=\"Kanit\">x</mj-text></mj-column></mj-section></mj-body></mjml>",
        )
        .unwrap();
        assert!(
            html.contains("url(https://fonts.test/%E0%B8%84?a=1)")
                || html.contains("href=\"https://fonts.test/ค?a=1\""),
            "{html}"
        );
        assert!(!html.contains("\\u{"), "{html}");
    }

    #[test]
    fn what_is_no_mjml_is_an_error() {
        for wrong in ["", "<p>x</p>", "<mjml><mj-body></mjml>", "<mjml"] {
            assert!(html(wrong).is_err(), "{wrong}");
        }
    }
}
