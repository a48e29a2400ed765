//! The rows of a file of addresses that are to get no mail.

use hogsend_plugin_api::json;
use hogsend_plugin_api::semantics::address::normalise;
use serde::Deserialize;
use serde_json::Value;

use crate::foreign;

/// Rows a file may have.
pub const ROWS_MAX: usize = 100_000;
/// Characters of the words why an address gets no mail.
pub const WORDS_MAX: usize = 1_000;

/// A row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub email: String,
    /// Why, in words.
    pub reason: Option<String>,
}

/// Rows with their numbers, from 1, the line of names not counted; an error says what is wrong with
/// that row alone. Empty rows are left out and counted.
pub type Entries = Vec<(usize, Result<Entry, &'static str>)>;

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Email(String),
    Row {
        email: Option<String>,
        reason: Option<String>,
    },
}

/// Reads CSV (RFC 4180) with a line of names, among them `email` and perhaps `reason`.
///
/// # Errors
/// Why it is no such file.
pub fn csv(body: &[u8]) -> Result<Entries, String> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        format!("The file is not UTF-8: byte {at} is part of no character")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.matches('"').count() % 2 == 1 {
        return Err("The file is not CSV: a quotation mark is not closed".into());
    }
    let first = text.lines().next().unwrap_or_default();
    // Spreadsheets of some countries write semicolons.
    let delimiter = [b',', b';', b'\t']
        .into_iter()
        .max_by_key(|mark| (first.matches(char::from(*mark)).count(), *mark == b','))
        .unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(text.as_bytes());
    let broken = |error: csv::Error| format!("The file is not CSV: {error}");
    let head = reader.headers().map_err(broken)?;
    let names = |wanted: &[&str]| {
        let is = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            wanted.contains(&name.replace(['_', ' ', '-'], "").as_str())
        };
        let mut found = head.iter().enumerate().filter(|(_, name)| is(name));
        (found.next().map(|(at, _)| at), found.next().is_some())
    };
    let (Some(email), false) = names(&["email", "emailaddress", "address"]) else {
        return Err("The first line must name the columns, one of them email".into());
    };
    let (reason, false) = names(&["reason", "detail"]) else {
        return Err("Two columns are called reason".into());
    };
    let mut rows = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(broken)?;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let reason = reason.and_then(|at| record.get(at));
        rows.push((at + 1, entry(record.get(email).unwrap_or_default(), reason)));
    }
    within(rows)
}

/// Reads a JSON array of addresses, or of objects with `email` and perhaps `reason`; or
/// `{"format":"csv"|"json","data":…}`, where `data` is such a file as a text or, of JSON, the array.
///
/// # Errors
/// Why it is no such file.
pub fn json(body: &[u8]) -> Result<Entries, String> {
    let given: Value = json::from_slice(body).map_err(|error| no_array(&error))?;
    let Value::Object(fields) = given else {
        return rows(given);
    };
    match (
        fields.get("format").and_then(Value::as_str),
        fields.get("data"),
    ) {
        (Some("csv"), Some(Value::String(text))) => csv(text.as_bytes()),
        (Some("json"), Some(Value::String(text))) => {
            rows(json::from_slice(text.as_bytes()).map_err(|error| no_array(&error))?)
        }
        (Some("json"), Some(data)) => rows(data.clone()),
        _ => Err(no_array(
            &"an object must have format, csv or json, and data",
        )),
    }
}

fn no_array(why: &dyn std::fmt::Display) -> String {
    format!("The file is no JSON array of addresses: {why}")
}

fn rows(given: Value) -> Result<Entries, String> {
    let Value::Array(rows) = given else {
        return Err(no_array(&"it is something else"));
    };
    let rows = rows.into_iter().enumerate().map(|(at, row)| {
        let row = match serde_json::from_value(row) {
            Ok(Given::Email(email)) => entry(&email, None),
            Ok(Given::Row { email, reason }) => {
                entry(email.as_deref().unwrap_or_default(), reason.as_deref())
            }
            Err(_) => Err("must be an address, or an object with email and reason, both texts"),
        };
        (at + 1, row)
    });
    within(rows.collect())
}

fn within(rows: Entries) -> Result<Entries, String> {
    if rows.is_empty() {
        return Err("The file has no addresses".into());
    }
    if rows.len() > ROWS_MAX {
        return Err(format!("The file has more than {ROWS_MAX} rows"));
    }
    Ok(rows)
}

fn entry(email: &str, reason: Option<&str>) -> Result<Entry, &'static str> {
    if email.trim().is_empty() {
        return Err("there is no email");
    }
    if normalise(email).is_none() {
        return Err("email is no e-mail address");
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

    fn emails(entries: Entries) -> Vec<(usize, Result<String, &'static str>)> {
        let rows = entries.into_iter();
        rows.map(|(at, row)| (at, row.map(|one| one.email)))
            .collect()
    }

    #[test]
    fn files_are_read_row_by_row() {
        let file = "\u{feff}Reason;E-Mail\r\n\"a; b\";ann@example.com\r\n;\r\n;nobody\r\nx;bob@example.com\r\n";
        let read = emails(csv(file.as_bytes()).unwrap());
        let expected = [
            (1, Ok("ann@example.com".to_owned())),
            (3, Err("email is no e-mail address")),
            (4, Ok("bob@example.com".to_owned())),
        ];
        assert_eq!(read, expected);
        let file = br#"["ann@example.com", {"email":"bob@example.com","reason":"left"}, {}, 1]"#;
        let read = json(file).unwrap();
        assert_eq!(read[1].1.as_ref().unwrap().reason.as_deref(), Some("left"));
        let wrong: Vec<bool> = read.iter().map(|(_, row)| row.is_err()).collect();
        assert_eq!(wrong, [false, false, true, true]);
    }

    #[test]
    fn what_is_no_file_of_addresses_says_why() {
        for (file, why) in [
            ("name\nann\n", "one of them email"),
            ("email,e-mail\na@b.co,c@d.co\n", "one of them email"),
            ("email\n\"a@b.co\n", "not closed"),
            ("email\n", "no addresses"),
            ("email\n,\n", "no addresses"),
        ] {
            assert!(csv(file.as_bytes()).unwrap_err().contains(why), "{file}");
        }
        assert!(csv(b"email\n\xff\n").unwrap_err().contains("byte 6"));
        let wrapped = br#"{"format":"csv","data":"email\na@b.co\n","fileName":"x.csv"}"#;
        assert_eq!(
            emails(json(wrapped).unwrap()),
            [(1, Ok("a@b.co".to_owned()))]
        );
        for file in ["", "{}", "[]", "1", r#"{"format":"csv","data":["a@b.co"]}"#] {
            assert!(json(file.as_bytes()).is_err(), "{file}");
        }
    }
}
