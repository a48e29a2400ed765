//! Converts HTML to plain text: paragraphs, lists and the addresses of links, without markup.
//!
//! A link alone on its line becomes `Label: https://…`, one within a sentence `label <https://…>`
//! (RFC 3986, appendix C). Hidden elements (`display:none`) and those with the class `no-text` are
//! left out.

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::html_content::{Element, TextChunk, TextType};
use lol_html::{HandlerResult, RewriteStrSettings, doc_text, element, end_tag, rewrite_str};

/// RFC 5322 §2.1.1 recommends lines of at most 78 characters.
const WIDTH: usize = 76;

/// Renders the text part of a mail from its HTML.
///
/// # Errors
///
/// The HTML cannot be parsed.
pub fn text(html: &str) -> Result<String, String> {
    let reader = Rc::new(RefCell::new(Reader::default()));
    let (opens, reads) = (reader.clone(), reader.clone());
    let settings = RewriteStrSettings::new()
        .append_element_content_handler(element!("*", move |element| open(&opens, element)))
        .append_document_content_handler(doc_text!(move |chunk: &mut TextChunk<'_>| {
            reads.borrow_mut().read(chunk);
            Ok(())
        }));
    rewrite_str(html, settings).map_err(|error| error.to_string())?;
    let mut reader = reader.borrow_mut();
    reader.flush();
    Ok(written(&reader.blocks))
}

fn open(reader: &Rc<RefCell<Reader>>, element: &mut Element<'_, '_>) -> HandlerResult {
    let tag = element.tag_name();
    let hidden = is_hidden(&tag, element);
    let href = (tag == "a")
        .then(|| element.get_attribute("href"))
        .flatten();
    let alt = (tag == "img")
        .then(|| element.get_attribute("alt"))
        .flatten();
    let mut state = reader.borrow_mut();
    if state.hidden == 0 {
        state.begin(&tag, href.as_deref(), alt.as_deref());
    }
    state.hidden += usize::from(hidden);
    drop(state);
    if element.can_have_content() {
        let reader = reader.clone();
        // Void elements and unclosed ones have no end tag.
        let _ = element.on_end_tag(end_tag!(move |_| {
            let mut state = reader.borrow_mut();
            state.hidden -= usize::from(hidden);
            if state.hidden == 0 {
                state.end(&tag);
            }
            Ok(())
        }));
    } else if hidden {
        reader.borrow_mut().hidden -= 1;
    }
    Ok(())
}

fn is_hidden(tag: &str, element: &Element<'_, '_>) -> bool {
    if matches!(tag, "title" | "style" | "script" | "template") {
        return true;
    }
    let style = element.get_attribute("style").unwrap_or_default();
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
    let classes = element.get_attribute("class").unwrap_or_default();
    style.to_ascii_lowercase().contains("display:none")
        || classes.split_whitespace().any(|class| class == "no-text")
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

#[derive(Default)]
struct Reader {
    hidden: usize,
    blocks: Vec<Block>,
    current: Block,
    /// The number of the next item of each open list; `None` for lists without numbers.
    lists: Vec<Option<usize>>,
    /// The group of the outermost list, and of each open table.
    list: usize,
    tables: Vec<usize>,
    groups: usize,
    /// How many blocks there were when each open cell began.
    cells: Vec<usize>,
    /// Address of the open link, and its label so far.
    link: Option<(String, String)>,
    /// Whether a part of the open link was already written.
    link_shown: bool,
    /// The text node so far: it arrives in chunks, which may split a character reference.
    node: String,
}

impl Reader {
    fn read(&mut self, chunk: &TextChunk<'_>) {
        if chunk.text_type() == TextType::Data {
            self.node.push_str(chunk.as_str());
        }
        if !chunk.last_in_text_node() {
            return;
        }
        let node = std::mem::take(&mut self.node);
        if self.hidden == 0 {
            self.write(&htmlize::unescape(&*node));
        }
    }

    fn write(&mut self, text: &str) {
        match &mut self.link {
            Some((_, label)) => label.push_str(text),
            None => self.current.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn begin(&mut self, tag: &str, href: Option<&str>, alt: Option<&str>) {
        match tag {
            "a" => {
                self.end_link();
                let url = href.map(|href| htmlize::unescape_attribute(href).trim().to_owned());
                self.link = Some((url.unwrap_or_default(), String::new()));
            }
            "img" => {
                let alt = alt.unwrap_or_default();
                self.write(&format!(" {} ", htmlize::unescape_attribute(alt)));
            }
            "br" => match &mut self.link {
                Some((_, label)) => label.push(' '),
                None => self.current.pieces.push(Piece::Break),
            },
            "ul" | "ol" => {
                self.flush();
                if self.lists.is_empty() {
                    self.groups += 1;
                    self.list = self.groups;
                }
                self.lists.push((tag == "ol").then_some(1));
            }
            "li" => {
                self.flush();
                let depth = self.lists.len().saturating_sub(1);
                self.current.indent = depth * 2;
                self.current.mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".to_owned(),
                };
            }
            "table" => {
                self.flush();
                self.groups += 1;
                self.tables.push(self.groups);
            }
            "td" | "th" => self.cells.push(self.blocks.len()),
            tag if is_block(tag) => self.flush(),
            _ => {}
        }
    }

    fn end(&mut self, tag: &str) {
        match tag {
            "a" => self.end_link(),
            "ul" | "ol" => {
                self.flush();
                self.lists.pop();
                if self.lists.is_empty() {
                    self.current = Block::default();
                }
            }
            "td" | "th" => {
                // A cell without blocks stays on the line of its row.
                match self.cells.pop() {
                    Some(before) if before == self.blocks.len() => self.write(" "),
                    _ => self.flush(),
                }
            }
            "tr" => {
                self.current.group = self.tables.last().copied();
                self.flush();
            }
            "table" => {
                self.flush();
                self.tables.pop();
            }
            tag if is_block(tag) => self.flush(),
            _ => {}
        }
    }

    fn end_link(&mut self) {
        let shown = std::mem::take(&mut self.link_shown);
        if let Some((url, label)) = self.link.take()
            && !(shown && label.trim().is_empty())
        {
            self.current.pieces.push(Piece::Link { label, url });
        }
    }

    fn flush(&mut self) {
        // A link around blocks continues in the next block.
        if let Some((url, label)) = &mut self.link
            && !label.trim().is_empty()
        {
            let (url, label) = (url.clone(), std::mem::take(label));
            self.current.pieces.push(Piece::Link { label, url });
            self.link_shown = true;
        }
        if self.current.is_blank() {
            // The marker of an item waits for its first paragraph.
            self.current.pieces.clear();
        } else {
            let mut block = std::mem::take(&mut self.current);
            if !self.lists.is_empty() {
                block.group = Some(self.list);
                // A second paragraph of an item is indented like its first.
                self.current.indent = block.indent + block.mark.chars().count();
            }
            self.blocks.push(block);
        }
        if self.lists.is_empty() {
            self.current.indent = 0;
            self.current.mark.clear();
        }
        self.current.group = None;
    }
}

fn is_block(tag: &str) -> bool {
    matches!(
        tag,
        "p" | "div"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "li"
            | "tr"
            | "hr"
            | "body"
            | "blockquote"
            | "pre"
            | "section"
            | "article"
            | "header"
            | "footer"
            | "main"
            | "center"
            | "dl"
            | "dt"
            | "dd"
            | "figure"
            | "caption"
            | "form"
    )
}

fn written(blocks: &[Block]) -> String {
    let mut out = String::new();
    let mut before: Option<&Block> = None;
    for block in blocks {
        if let Some(before) = before
            && (before.group.is_none() || before.group != block.group)
        {
            out.push('\n');
        }
        let indent = " ".repeat(block.indent + block.mark.chars().count());
        let mut first = true;
        for line in block.pieces.split(|piece| matches!(piece, Piece::Break)) {
            for row in rows(line, WIDTH.saturating_sub(indent.len()).max(20)) {
                if first {
                    out += &" ".repeat(block.indent);
                    out += &block.mark;
                } else {
                    out += &indent;
                }
                first = false;
                out += &row;
                out.push('\n');
            }
        }
        before = Some(block);
    }
    out
}

/// One line wrapped into rows, broken between words.
fn rows(line: &[Piece], width: usize) -> Vec<String> {
    let seen = |piece: &&Piece| match piece {
        Piece::Text(text) => !text.trim().is_empty(),
        Piece::Link { .. } => true,
        Piece::Break => false,
    };
    let mut shown = line.iter().filter(seen);
    if let (Some(Piece::Link { label, url }), None) = (shown.next(), shown.next()) {
        let label = words(label);
        return match address(&label, url) {
            Some(address) if label.is_empty() => vec![address],
            Some(address) => {
                let label = label.trim_end_matches(':');
                let one = format!("{label}: {address}");
                if one.chars().count() <= width {
                    vec![one]
                } else {
                    let mut rows = wrapped(&format!("{label}:"), width);
                    rows.push(address);
                    rows
                }
            }
            None => wrapped(&label, width),
        };
    }
    let mut all = String::new();
    for piece in line {
        match piece {
            Piece::Text(text) => all += text,
            Piece::Link { label, url } => {
                all += label;
                if let Some(address) = address(&words(label), url) {
                    all += &format!(" <{address}>");
                }
            }
            Piece::Break => {}
        }
    }
    wrapped(&all, width)
}

/// The address to show beside a label; `None` where the label already shows it, or there is none.
fn address(label: &str, url: &str) -> Option<String> {
    let bare = |text: &str| {
        let text = text.trim_end_matches('/');
        let text = text.strip_prefix("https://").unwrap_or(text);
        text.strip_prefix("http://").unwrap_or(text).to_lowercase()
    };
    let address = match url.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto") => {
            rest.split('?').next().unwrap_or(rest)
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel") => rest,
        _ => url,
    };
    let leads = !address.is_empty() && !address.starts_with('#') && crate::is_safe(url);
    // A space would end the address in a mail client.
    let address = address.replace(' ', "%20");
    (leads && bare(label) != bare(&address)).then_some(address)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > width {
            rows.push(std::mem::take(&mut row));
            length = 0;
        }
        if length > 0 {
            row.push(' ');
            length += 1;
        }
        row += word;
        length += letters;
    }
    if !row.is_empty() {
        rows.push(row);
    }
    rows
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
