//! Contacts as a table for spreadsheets (RFC 4180).

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::db::{ContactRow, Preferences};

/// The columns, in their order.
const COLUMNS: [&str; 9] = [
    "id",
    "externalId",
    "email",
    "unsubscribedAll",
    "properties",
    "firstSeenAt",
    "lastSeenAt",
    "createdAt",
    "updatedAt",
];

/// The line that names the columns.
pub fn head() -> Vec<u8> {
    write(&[COLUMNS.map(str::to_owned)])
}

/// A line for each contact.
pub fn lines<'a>(rows: impl Iterator<Item = (&'a ContactRow, &'a Preferences)>) -> Vec<u8> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let cells: Vec<_> = rows
        .map(|(row, wants)| {
            [
                row.id.to_string(),
                cell(row.external_id.as_deref().unwrap_or_default()),
                cell(row.email.as_deref().unwrap_or_default()),
                wants.unsubscribed_all.to_string(),
                json!(row.properties).to_string(),
                time(row.first_seen_at),
                time(row.last_seen_at),
                time(row.created_at),
                time(row.updated_at),
            ]
        })
        .collect();
    write(&cells)
}

fn write(cells: &[[String; COLUMNS.len()]]) -> Vec<u8> {
    let mut sheet = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for line in cells {
        // Into memory, and every line has as many cells: it cannot fail.
        let _ = sheet.write_record(line);
    }
    sheet.into_inner().unwrap_or_default()
}

/// Text that a spreadsheet would take for a formula begins with an apostrophe (OWASP, CSV
/// Injection); so does text that begins with one, to tell the two apart.
fn cell(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{cell, write};

    #[test]
    fn a_cell_is_text_to_every_spreadsheet() {
        for formula in ["=1+1", "+49", "-1", "@x", "\t=1", "\r=1", "'x"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        for text in ["", "ann@example.com", "a=b", "1"] {
            assert_eq!(cell(text), text);
        }
    }

    #[test]
    fn another_reader_finds_the_cells_again() {
        let mut line: [String; 9] = Default::default();
        for (place, text) in ["a,b", "\"q\"", "two\r\nlines", "ünï", ""]
            .iter()
            .enumerate()
        {
            line[place] = (*text).to_owned();
        }
        let bytes = write(std::slice::from_ref(&line));
        assert!(bytes.ends_with(b"\r\n"));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(bytes.as_slice());
        let read = reader.records().next().unwrap().unwrap();
        assert!(read.iter().eq(line.iter().map(String::as_str)));
    }
}
