//! The rows of a file of contacts.

use std::fmt;

use hogsend_plugin_api::Properties;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::db::NewIdentity;

/// Rows a file may have.
pub const ROWS_MAX: usize = 100_000;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Json,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Csv, Self::Json]
            .into_iter()
            .find(|format| format.name() == name)
    }
}

/// A contact as a file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub names: NewIdentity,
    pub properties: Properties,
    pub unsubscribed_all: Option<bool>,
}

/// The rows of a file, in order; an error says what is wrong with that row alone.
pub struct Rows(std::vec::IntoIter<Result<Row, String>>);

impl Iterator for Rows {
    type Item = Result<Row, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// How many rows a file has. The error says why it is no file of contacts.
pub fn check(format: Format, body: &[u8]) -> Result<usize, String> {
    Rows::read(format, body).map(|rows| rows.0.len())
}

impl Rows {
    pub fn read(format: Format, body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            format!("The file is not UTF-8: byte {at} is part of no character")
        })?;
        // Spreadsheets put a byte order mark before what they write.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rows = match format {
            Format::Csv => csv_rows(text)?,
            Format::Json => json_rows(text)?,
        };
        if rows.is_empty() {
            return Err("The file has no contacts".into());
        }
        Ok(Self(rows.into_iter()))
    }
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    ExternalId,
    Email,
    UnsubscribedAll,
    Properties,
    /// What only the export writes.
    Ignored,
    Property(String),
}

impl Column {
    fn of(name: &str) -> Self {
        let name = name.trim();
        match name
            .to_ascii_lowercase()
            .replace(['_', ' ', '-'], "")
            .as_str()
        {
            "externalid" | "userid" => Self::ExternalId,
            "email" | "emailaddress" | "useremail" => Self::Email,
            "unsubscribedall" | "unsubscribed" => Self::UnsubscribedAll,
            "properties" => Self::Properties,
            "id" | "firstseenat" | "lastseenat" | "createdat" | "updatedat" | "" => Self::Ignored,
            _ => Self::Property(name.to_owned()),
        }
    }
}

fn csv_rows(text: &str) -> Result<Vec<Result<Row, String>>, String> {
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
    let columns: Vec<Column> = head.iter().map(Column::of).collect();
    if !columns.contains(&Column::Email) && !columns.contains(&Column::ExternalId) {
        return Err("The first line must name the columns, among them email or externalId".into());
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        if rows.len() == ROWS_MAX {
            return Err(too_many());
        }
        rows.push(csv_row(&columns, &record));
    }
    Ok(rows)
}

fn csv_row(columns: &[Column], record: &csv::StringRecord) -> Result<Row, String> {
    if record.len() > columns.len() {
        return Err(format!(
            "has {} cells, and the first line names {} columns",
            record.len(),
            columns.len()
        ));
    }
    let mut row = Row::default();
    for (column, cell) in columns.iter().zip(record) {
        let text = plain(cell);
        if text.is_empty() {
            continue;
        }
        match column {
            Column::ExternalId => row.names.external_id = Some(text.to_owned()),
            Column::Email => row.names.email = Some(text.trim().to_owned()),
            Column::UnsubscribedAll => row.unsubscribed_all = Some(truth(text)?),
            Column::Properties => {
                let read: Properties = serde_json::from_str(cell)
                    .map_err(|_| "properties must be a JSON object".to_owned())?;
                row.properties.extend(read);
            }
            Column::Ignored => {}
            Column::Property(name) => {
                row.properties
                    .insert(name.clone(), Value::String(text.to_owned()));
            }
        }
    }
    Ok(row)
}

/// A cell without the apostrophe by which the export keeps spreadsheets from calculating.
fn plain(cell: &str) -> &str {
    let Some(rest) = cell.strip_prefix('\'') else {
        return cell;
    };
    match rest.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'') => rest,
        _ => cell,
    }
}

fn truth(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("unsubscribedAll must be true or false".into()),
    }
}

fn json_rows(text: &str) -> Result<Vec<Result<Row, String>>, String> {
    /// `{"contacts": […]}`, as the export writes it.
    #[derive(Deserialize)]
    struct Wrapped {
        contacts: Bounded,
    }
    let read: Result<Bounded, serde_json::Error> = if text.trim_start().starts_with('{') {
        serde_json::from_str::<Wrapped>(text).map(|wrapped| wrapped.contacts)
    } else {
        serde_json::from_str(text)
    };
    let read = read.map_err(|error| match error.to_string() {
        text if text.contains(TOO_MANY) => too_many(),
        text => format!("The file is no JSON array of contacts: {text}"),
    })?;
    Ok(read.0.into_iter().map(json_row).collect())
}

fn json_row(value: Value) -> Result<Row, String> {
    let Value::Object(fields) = value else {
        return Err("must be a JSON object".into());
    };
    let mut row = Row::default();
    for (name, value) in fields {
        if value.is_null() {
            continue;
        }
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(format!("{name} must be text")),
        };
        match name.as_str() {
            "externalId" | "userId" => row.names.external_id = Some(text(value)?),
            "email" => row.names.email = Some(text(value)?),
            "unsubscribedAll" => match value {
                Value::Bool(all) => row.unsubscribed_all = Some(all),
                _ => return Err("unsubscribedAll must be true or false".into()),
            },
            "properties" => match value {
                Value::Object(read) => row.properties = read,
                _ => return Err("properties must be a JSON object".into()),
            },
            // Unknown fields are ignored.
            _ => {}
        }
    }
    Ok(row)
}

const TOO_MANY: &str = "too many contacts";

fn too_many() -> String {
    format!("The file has more than {ROWS_MAX} contacts: import it in parts")
}

/// A list that is not read beyond what a file may have.
struct Bounded(Vec<Value>);

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = Bounded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of contacts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bounded, A::Error> {
                let mut all = Vec::new();
                while let Some(value) = seq.next_element()? {
                    if all.len() == ROWS_MAX {
                        return Err(de::Error::custom(TOO_MANY));
                    }
                    all.push(value);
                }
                Ok(Bounded(all))
            }
        }
        reader.deserialize_seq(Seen)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(format: Format, text: &str) -> Vec<Result<Row, String>> {
        Rows::read(format, text.as_bytes()).unwrap().collect()
    }

    fn row(external_id: Option<&str>, email: Option<&str>, properties: Value) -> Row {
        let Value::Object(properties) = properties else {
            panic!("an object")
        };
        Row {
            names: NewIdentity {
                external_id: external_id.map(str::to_owned),
                email: email.map(str::to_owned),
                ..NewIdentity::default()
            },
            properties,
            unsubscribed_all: None,
        }
    }

    #[test]
    fn spreadsheets_of_all_kinds_are_read() {
        let expected = row(
            Some("u1"),
            Some("ann@example.com"),
            json!({ "plan": "a,b \"c\"", "seats": 3 }),
        );
        for text in [
            "externalId,email,plan,properties,id\r\nu1,ann@example.com,\"a,b \"\"c\"\"\",\"{\"\"seats\"\":3}\",x\r\n",
            "\u{feff}user_id;E-Mail Address;email;plan;properties\nu1;;ann@example.com;a,b \"c\";{\"seats\":3}",
            "Email\tUser ID\tplan\tproperties\nann@example.com\tu1\ta,b \"c\"\t{\"seats\":3}\n",
        ] {
            assert_eq!(read(Format::Csv, text), [Ok(expected.clone())], "{text}");
        }
    }

    #[test]
    fn a_cell_kept_from_calculating_is_what_it_was() {
        let text = "externalId,email,x\n'=1+1,'+a@example.com,'tis\n''a,,'-1\n";
        assert_eq!(
            read(Format::Csv, text),
            [
                Ok(row(
                    Some("=1+1"),
                    Some("+a@example.com"),
                    json!({ "x": "'tis" })
                )),
                Ok(row(Some("'a"), None, json!({ "x": "-1" }))),
            ]
        );
    }

    #[test]
    fn a_bad_row_spoils_no_other() {
        let text = "email,properties,unsubscribed\na@x.test,[1],\nb@x.test,,maybe\nc@x.test,,yes,4\nd@x.test\ne@x.test,,1\n";
        let rows = read(Format::Csv, text);
        let problems: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
        assert_eq!(problems.len(), 3);
        assert!(problems[2].contains("4 cells") && problems[2].contains("3 columns"));
        assert_eq!(rows[4].as_ref().unwrap().unsubscribed_all, Some(true));

        let text =
            r#"{"contacts":[1,{"email":"a@x.test","properties":[]},{"userId":7,"other":{}}]}"#;
        let rows = read(Format::Json, text);
        assert!(rows[0].is_err() && rows[1].is_err());
        assert_eq!(rows[2], Ok(row(Some("7"), None, json!({}))));
    }

    #[test]
    fn what_is_no_file_of_contacts_is_refused_with_the_reason() {
        let wrong = |format, bytes: &[u8]| Rows::read(format, bytes).err().unwrap();
        assert!(wrong(Format::Csv, b"a\xff").contains("byte 1"));
        assert!(wrong(Format::Csv, b"name,plan\nx,y").contains("email or externalId"));
        assert!(wrong(Format::Csv, b"email\n").contains("no contacts"));
        assert!(wrong(Format::Csv, b"").contains("email or externalId"));
        assert!(wrong(Format::Json, b"[]").contains("no contacts"));
        assert!(wrong(Format::Json, b"{\"x\":1}").contains("contacts"));
        assert!(wrong(Format::Json, "[".repeat(5_000).as_bytes()).contains("recursion"));
        let many = format!("[{}]", vec!["1"; ROWS_MAX + 1].join(","));
        assert!(wrong(Format::Json, many.as_bytes()).contains("in parts"));
    }
}
