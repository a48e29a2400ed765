//! Reads files of addresses for the suppression list.

use hogsend_plugin_api::json;
use hogsend_semantics::address::normalise;
use serde::Deserialize;
use serde_json::Value;

use super::file::{Format, ROWS_MAX, Table};
use crate::foreign;

/// Characters of a reason; longer ones are cut.
pub const WORDS_MAX: usize = 1_000;

/// A row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub email: String,
    /// Why the address is suppressed, for people to read.
    pub reason: Option<String>,
}

/// A row and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Starts at 1; the header line does not count.
    pub row: i32,
    /// The line of the file it begins on; None for JSON.
    pub line: Option<i32>,
    /// The address, or why this row is refused.
    pub entry: Result<Entry, &'static str>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Email(String),
    Row {
        email: Option<String>,
        reason: Option<String>,
    },
}

/// Reads CSV (RFC 4180) with a header line that has a column `email` and optionally `reason`, or a JSON
/// array of addresses or of objects with these fields. Empty rows are skipped.
///
/// # Errors
/// Why the file cannot be read as a whole.
pub fn read(format: Format, body: &[u8]) -> Result<Vec<Numbered>, String> {
    match format {
        Format::Csv => table(body),
        Format::Json => array(body),
    }
}

fn table(body: &[u8]) -> Result<Vec<Numbered>, String> {
    let mut table = Table::open(body)?;
    let names = |wanted: &[&str]| {
        let is = |name: &str| {
            let name = name.to_ascii_lowercase();
            wanted.contains(&name.replace(['_', ' ', '-'], "").as_str())
        };
        let named = table.head().iter().enumerate().filter(|(_, name)| is(name));
        let mut named = named.map(|(place, _)| place);
        (named.next(), named.next().is_some())
    };
    let (Some(email), false) = names(&["email", "emailaddress", "address"]) else {
        return Err("The first line must name the columns, one of them email".into());
    };
    let (reason, false) = names(&["reason", "detail"]) else {
        return Err("Two columns are called reason".into());
    };
    let mut rows = Vec::new();
    while let Some(record) = table.next_row()? {
        if record.is_empty() {
            continue;
        }
        if rows.len() == ROWS_MAX {
            return Err(too_many());
        }
        let cell = |place: usize| record.cells.get(place).map(|cell| &**cell);
        rows.push(Numbered {
            row: i32::try_from(record.number).unwrap_or(i32::MAX),
            line: i32::try_from(record.line).ok(),
            entry: entry(cell(email).unwrap_or_default(), reason.and_then(cell)),
        });
    }
    some(rows)
}

fn array(body: &[u8]) -> Result<Vec<Numbered>, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let given: Vec<Value> = json::from_slice(body)
        .map_err(|error| format!("The file is not a JSON array of addresses: {error}"))?;
    if given.len() > ROWS_MAX {
        return Err(too_many());
    }
    let rows = given.into_iter().enumerate().map(|(place, row)| {
        let entry = match serde_json::from_value(row) {
            Ok(Given::Email(email)) => entry(&email, None),
            Ok(Given::Row { email, reason }) => {
                entry(email.as_deref().unwrap_or_default(), reason.as_deref())
            }
            Err(_) => Err("must be an address, or an object with email and reason as strings"),
        };
        Numbered {
            row: i32::try_from(place + 1).unwrap_or(i32::MAX),
            line: None,
            entry,
        }
    });
    some(rows.collect())
}

fn some(rows: Vec<Numbered>) -> Result<Vec<Numbered>, String> {
    if rows.is_empty() {
        return Err("The file has no addresses".into());
    }
    Ok(rows)
}

fn too_many() -> String {
    format!("The file has more than {ROWS_MAX} rows")
}

fn entry(email: &str, reason: Option<&str>) -> Result<Entry, &'static str> {
    if email.trim().is_empty() {
        return Err("email is missing");
    }
    if normalise(email).is_none() {
        return Err("email is not an email address");
    }
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    Ok(Entry {
        email: email.to_owned(),
        reason: reason.map(|reason| foreign::text(reason, WORDS_MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entries = Vec<Numbered>;

    fn csv(file: &[u8]) -> Result<Entries, String> {
        read(Format::Csv, file)
    }

    fn json(file: &[u8]) -> Result<Entries, String> {
        read(Format::Json, file)
    }

    fn emails(entries: Entries) -> Vec<(i32, Option<i32>, Result<String, &'static str>)> {
        let rows = entries.into_iter();
        rows.map(|it| (it.row, it.line, it.entry.map(|one| one.email)))
            .collect()
    }

    #[test]
    fn files_are_read_row_by_row() {
        let file = "\u{feff}Reason;E-Mail\r\n\"a; b\"; ann@example.com \r\n;\r\n;nobody\r\nx;bob@example.com\r\n;\r\n";
        let read = emails(csv(file.as_bytes()).unwrap());
        let expected = [
            (1, Some(2), Ok("ann@example.com".to_owned())),
            (3, Some(4), Err("email is not an email address")),
            (4, Some(5), Ok("bob@example.com".to_owned())),
        ];
        assert_eq!(read, expected);
        let file = br#"["ann@example.com", {"email":"bob@example.com","reason":"left"}, {}, 1]"#;
        let read = json(file).unwrap();
        let reason = &read[1].entry.as_ref().unwrap().reason;
        assert_eq!(reason.as_deref(), Some("left"));
        let wrong: Vec<bool> = read.iter().map(|it| it.entry.is_err()).collect();
        assert_eq!(wrong, [false, false, true, true]);
    }

    #[test]
    fn what_is_no_file_of_addresses_says_why() {
        for (file, why) in [
            ("name\nann\n", "one of them email"),
            ("email,e-mail\na@b.co,c@d.co\n", "one of them email"),
            ("email,email\na@b.co,c@d.co\n", "called 'email'"),
            ("email\n\"a@b.co\n", "line 2 is not closed"),
            ("email,reason\na@b.co,\"x \\\"y\\\" z\"\n", "line 2"),
            ("email,reason\na@b.co,said \"no\"\n", "line 2"),
            ("email\na@b.co,x\n", "line 2"),
            ("email\n", "no addresses"),
            ("email\n,\n", "no addresses"),
        ] {
            assert!(csv(file.as_bytes()).unwrap_err().contains(why), "{file}");
        }
        assert!(csv(b"email\n\xff\n").unwrap_err().contains("byte 6"));
        for file in ["", "{}", "[]", "1", r#"{"contacts":["a@b.co"]}"#] {
            assert!(json(file.as_bytes()).is_err(), "{file}");
        }
    }
}
