//! Writes blocks of text as wrapped lines.

use super::{Block, Piece};

/// RFC 5322 §2.1.1 recommends lines of at most 78 characters.
const WIDTH: usize = 76;

pub(super) fn written(blocks: &[Block]) -> String {
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
