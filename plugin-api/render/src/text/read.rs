//! Reads HTML into blocks of text, as a person sees it.

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::html_content::{Element, TextChunk, TextType};
use lol_html::{HandlerResult, RewriteStrSettings, doc_text, element, end_tag, rewrite_str};

use super::{Block, Piece};

/// The visible blocks of the HTML, in order.
pub(super) fn blocks(html: &str) -> Result<Vec<Block>, String> {
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
    Ok(std::mem::take(&mut reader.blocks))
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
