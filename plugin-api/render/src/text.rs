//! Converts HTML to plain text: paragraphs, lists and the addresses of links, without markup.
//!
//! A link alone on its line becomes `Label: https://…`, one within a sentence `label <https://…>`
//! (RFC 3986, appendix C). Hidden elements (`display:none`) and those with the class `no-text` are
//! left out.

mod read;
mod write;

/// Renders the text part of a mail from its HTML.
///
/// # Errors
///
/// The HTML cannot be parsed.
pub fn text(html: &str) -> Result<String, String> {
    Ok(write::written(&read::blocks(html)?))
}

enum Piece {
    Text(String),
    Link { label: String, url: String },
    Break,
}

#[derive(Default)]
struct Block {
    /// The marker before its first line: `- `, `1. `.
    mark: String,
    indent: usize,
    pieces: Vec<Piece>,
    /// There is no empty line between blocks of the same group.
    group: Option<usize>,
}

impl Block {
    fn is_blank(&self) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.trim().is_empty(),
            Piece::Link { label, url } => label.trim().is_empty() && url.is_empty(),
            Piece::Break => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    fn reads(html: &str, expected: &str) {
        assert_eq!(text(html).unwrap(), expected, "{html}");
    }

    #[test]
    fn a_mail_reads_like_a_letter() {
        reads(
            "<html><head><title>No</title><style>p{}</style></head><body>\
             <div style=\"display: none\">hidden <b>too</b></div><h1>Welcome,\n Ada</h1>\
             <p>We are <strong>glad</strong> &amp; <em>happy</em>.</p><p>Two<br>lines</p></body></html>",
            "Welcome, Ada\n\nWe are glad & happy.\n\nTwo\nlines\n",
        );
    }

    #[test]
    fn links_show_where_they_lead() {
        for (html, expected) in [
            (
                "<p><a href=\"https://a.test/x\">Get started</a></p>",
                "Get started: https://a.test/x\n",
            ),
            (
                "<p>Or <a href=\"https://a.test/x?a=1&amp;b=2\">ask us</a>.</p>",
                "Or ask us <https://a.test/x?a=1&b=2>.\n",
            ),
            ("<a href=\"https://a.test/\">a.test</a>", "a.test\n"),
            (
                "<a href=\"mailto:us@a.test?subject=x\">us@a.test</a>",
                "us@a.test\n",
            ),
            (
                "<a href=\"mailto:us@a.test\">Write</a>",
                "Write: us@a.test\n",
            ),
            ("<a href=\"tel:+431\">Call</a>", "Call: +431\n"),
            ("<a href=\"#top\">Up</a> <a>nowhere</a>", "Up nowhere\n"),
            (
                "<a href=\"https://a.test\"><img alt=\"Acme\" src=x></a>",
                "Acme: https://a.test\n",
            ),
            (
                "<a href=\"https://a.test\"><img src=x></a>",
                "https://a.test\n",
            ),
            ("<a href=\"javascript:x\">Bad</a>", "Bad\n"),
            (
                "<p>One<br><a href=\"https://a.test\">Two</a><br>Three</p>",
                "One\nTwo: https://a.test\nThree\n",
            ),
            (
                "<a href=\"https://a.test\"><div>Card</div></a>",
                "Card: https://a.test\n",
            ),
        ] {
            reads(html, expected);
        }
        let long = format!("https://a.test/{}", "x".repeat(200));
        reads(
            &format!("<p><a href=\"{long}\">Choose a new password</a></p>"),
            &format!("Choose a new password:\n{long}\n"),
        );
    }

    #[test]
    fn lists_have_marks_and_no_holes() {
        reads(
            "<p>Now:</p><ol><li>One<ul><li>a</li><li><p>b</p><p>more</p></li></ul></li><li>Two</li></ol><p>End</p>",
            "Now:\n\n1. One\n  - a\n  - b\n    more\n2. Two\n\nEnd\n",
        );
        reads("<ul><li>One<li>Two</ul>After", "- One\n- Two\n\nAfter\n");
    }

    #[test]
    fn rows_of_a_table_are_lines_and_layout_tables_are_not_seen() {
        reads(
            "<table><tr><th>Item</th><th>Price</th></tr><tr><td>Pen</td><td>2 €</td></tr></table><p>x</p>",
            "Item Price\nPen 2 €\n\nx\n",
        );
        reads(
            "<table><tr><td><div>One</div></td></tr><tr><td><table><tr><td><a href=\"https://a.test\">Go</a></td></tr></table></td></tr><tr><td><div>Two</div></td></tr></table>",
            "One\n\nGo: https://a.test\n\nTwo\n",
        );
    }

    #[test]
    fn lines_end_between_words_and_addresses_are_whole() {
        let html = format!(
            "<p>{}<a href=\"https://a.test/{}\">x</a></p>",
            "word ".repeat(40),
            "y".repeat(90)
        );
        let text = text(&html).unwrap();
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 76 || line.starts_with("<https"))
        );
        assert!(text.contains(&format!("<https://a.test/{}>", "y".repeat(90))));
    }

    #[test]
    fn signs_of_markup_that_people_typed_stay() {
        reads("<p># 1 &lt;b&gt; *x* [y](z)</p>", "# 1 <b> *x* [y](z)\n");
    }

    #[test]
    fn what_is_marked_is_left_out() {
        reads(
            "<div class=\"head no-text\"><p>Logo</p></div><p>Hi</p>",
            "Hi\n",
        );
    }
}
