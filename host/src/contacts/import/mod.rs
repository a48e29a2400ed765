//! Reads and queues files of contacts. `ingest/import.rs` stores their rows.

mod fields;
mod objects;
mod queue;
mod table;
mod value;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;

use crate::contacts::file::{Format, ROWS_MAX};
use crate::db::NewIdentity;

pub use queue::{Found, queue};

/// Most unused columns that are reported.
const UNUSED_MAX: usize = 100;

/// A contact in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub names: NewIdentity,
    pub properties: Properties,
    pub unsubscribed_all: bool,
    /// Maps the id of a list to whether the contact is on it.
    pub lists: BTreeMap<String, bool>,
    /// When the contact was first seen, if the file says so.
    pub first_seen_at: Option<DateTime<Utc>>,
}

/// A row and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// Starts at 1; the header line does not count.
    pub number: i32,
    /// The line of the file it begins on; None for JSON.
    pub line: Option<i32>,
    /// None for an empty row, as spreadsheets leave them. An error concerns this row only.
    pub row: Result<Option<Row>, String>,
}

/// The rows of a file, in order.
#[derive(Debug)]
pub struct Rows {
    rows: Vec<Numbered>,
    unused: Vec<String>,
}

impl Rows {
    /// Reads the whole file, so that an invalid file is refused before any of its rows is stored.
    ///
    /// # Errors
    /// Why the file cannot be read as a whole.
    pub fn read(format: Format, body: &[u8]) -> Result<Self, String> {
        let mut all = match format {
            Format::Csv => table::read(body)?,
            Format::Json => objects::read(body)?,
        };
        while all.rows.pop_if(|row| row.row == Ok(None)).is_some() {}
        if all.rows.is_empty() {
            return Err("The file has no contacts".into());
        }
        all.unused.truncate(UNUSED_MAX);
        Ok(all)
    }

    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// The names of columns or fields that the import ignores.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    pub fn into_rows(self) -> std::vec::IntoIter<Numbered> {
        self.rows.into_iter()
    }
}

fn too_many() -> String {
    format!("The file has more than {ROWS_MAX} contacts: import it in parts")
}

#[cfg(test)]
mod tests;
