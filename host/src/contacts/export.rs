//! The export of contacts, as CSV for spreadsheets (RFC 4180) or as JSON. The import reads both.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::identity::Id;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::db::{ContactRow, Preferences};
use crate::ids::ContactId;

/// A contact with its preferences.
#[derive(Clone, Debug)]
pub struct Exported {
    pub contact: ContactRow,
    pub anonymous_id: Option<String>,
    /// Further ids.
    pub identities: Vec<Id>,
    /// The stricter of the preferences of the contact and of its mailbox.
    pub wants: Preferences,
}

/// A contact of an export.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedOut<'a> {
    id: ContactId,
    /// The product's own id.
    external_id: Option<&'a str>,
    email: Option<&'a str>,
    anonymous_id: Option<&'a str>,
    /// Further ids: product ids, anonymous ids, and ids that event sources sent.
    identities: Vec<IdentityOut<'a>>,
    #[schema(value_type = Object)]
    properties: &'a Properties,
    unsubscribed_all: bool,
    /// Maps the id of a list to whether the contact is on it. Only lists with a decision are present.
    lists: &'a BTreeMap<String, bool>,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// An id of a contact beyond `externalId` and `anonymousId`.
#[derive(Serialize, ToSchema)]
pub struct IdentityOut<'a> {
    /// `user`, `anonymous`, or what a source calls it.
    #[schema(example = "posthog_person")]
    kind: &'a str,
    value: &'a str,
}

impl Exported {
    pub fn out(&self) -> ExportedOut<'_> {
        let Self {
            contact,
            anonymous_id,
            identities,
            wants,
        } = self;
        let identities = identities.iter().map(|id| IdentityOut {
            kind: &id.kind,
            value: &id.value,
        });
        ExportedOut {
            id: contact.id,
            external_id: contact.external_id.as_deref(),
            email: contact.email.as_deref(),
            anonymous_id: anonymous_id.as_deref(),
            identities: identities.collect(),
            properties: &contact.properties,
            unsubscribed_all: wants.unsubscribed_all,
            lists: &wants.categories,
            first_seen_at: contact.first_seen_at,
            last_seen_at: contact.last_seen_at,
            created_at: contact.created_at,
            updated_at: contact.updated_at,
        }
    }
}

/// The columns, in order.
const COLUMNS: [&str; 12] = [
    "id",
    "externalId",
    "email",
    "unsubscribedAll",
    "properties",
    "firstSeenAt",
    "lastSeenAt",
    "createdAt",
    "updatedAt",
    "anonymousId",
    "lists",
    "identities",
];

/// The header line.
pub fn head() -> Vec<u8> {
    write(&[COLUMNS.map(str::to_owned)])
}

/// A line for each contact.
pub fn lines(rows: &[Exported]) -> Vec<u8> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let rows = rows.iter().map(Exported::out);
    let cells = rows.map(|row| {
        let lists = match row.lists.is_empty() {
            true => String::new(),
            false => json!(row.lists).to_string(),
        };
        let identities = match row.identities.is_empty() {
            true => String::new(),
            false => json!(row.identities).to_string(),
        };
        [
            row.id.to_string(),
            cell(row.external_id.unwrap_or_default()),
            cell(row.email.unwrap_or_default()),
            row.unsubscribed_all.to_string(),
            json!(row.properties).to_string(),
            time(row.first_seen_at),
            time(row.last_seen_at),
            time(row.created_at),
            time(row.updated_at),
            cell(row.anonymous_id.unwrap_or_default()),
            lists,
            identities,
        ]
    });
    write(&cells.collect::<Vec<_>>())
}

fn write(cells: &[[String; COLUMNS.len()]]) -> Vec<u8> {
    let mut sheet = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for line in cells {
        // Writing to memory, with the same number of cells in every line, cannot fail.
        let _ = sheet.write_record(line);
    }
    sheet.into_inner().unwrap_or_default()
}

/// Puts an apostrophe before text that a spreadsheet would run as a formula (OWASP, CSV Injection).
/// Text that begins with an apostrophe or a blank gets one as well, so that the import restores it.
fn cell(text: &str) -> String {
    match text.chars().next() {
        Some(first) if is_active(first) => format!("'{text}"),
        _ => text.to_owned(),
    }
}

/// Whether a cell that begins with this character is written with an apostrophe before it.
pub fn is_active(first: char) -> bool {
    matches!(first, '=' | '+' | '-' | '@' | '\'') || first.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::{cell, write};

    #[test]
    fn a_cell_is_text_to_every_spreadsheet() {
        for formula in ["=1+1", "+49", "-1", "@x", "\t=1", "\r=1", "'x", " =1"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        for text in ["", "ann@example.com", "a=b", "1"] {
            assert_eq!(cell(text), text);
        }
    }

    #[test]
    fn another_reader_finds_the_cells_again() {
        let mut line: [String; 12] = Default::default();
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
