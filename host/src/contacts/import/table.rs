//! Reads the rows of a CSV file.

use serde_json::Value;

use super::fields::{Fields, fill};
use super::{Numbered, Rows, too_many};
use crate::contacts::export;
use crate::contacts::file::{ROWS_MAX, Table, short};
use crate::foreign;

pub(super) fn read(body: &[u8]) -> Result<Rows, String> {
    let mut table = Table::open(body)?;
    let head: Vec<String> = table.head().to_vec();
    let names = || head.iter().map(String::as_str);
    let fields = Fields::of(names());
    if !fields.names_people() {
        return Err(
            "The first line must name the columns, among them email, externalId or anonymousId"
                .into(),
        );
    }
    if let Some((one, other)) = fields.same_meaning(names()) {
        return Err(format!(
            "The columns '{}' and '{}' mean the same: remove one of them",
            short(one),
            short(other)
        ));
    }
    let mut rows = Vec::new();
    while let Some(record) = table.next_row()? {
        if rows.len() == ROWS_MAX {
            return Err(too_many());
        }
        let row = if record.is_empty() {
            Ok(None)
        } else {
            let cells = head.iter().zip(&record.cells);
            let cells = cells.filter(|(_, cell)| !cell.is_empty());
            let values = cells.map(|(name, cell)| {
                let mut text = without_apostrophe(cell).to_owned();
                foreign::cleaned(&mut text);
                (name.as_str(), Value::String(text))
            });
            fill(&fields, values).map(Some)
        };
        rows.push(Numbered {
            number: i32::try_from(record.number).unwrap_or(i32::MAX),
            line: i32::try_from(record.line).ok(),
            row,
        });
    }
    Ok(Rows {
        rows,
        unused: fields.unused(names()),
    })
}

/// A cell without the apostrophe that the export puts before text that looks like a formula.
fn without_apostrophe(cell: &str) -> &str {
    let Some(rest) = cell.strip_prefix('\'') else {
        return cell;
    };
    match rest.chars().next() {
        Some(first) if export::is_active(first) => rest,
        _ => cell,
    }
}
