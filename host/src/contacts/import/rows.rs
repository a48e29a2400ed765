//! The rows of a file of contacts, from CSV or JSON.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use hogsend_plugin_api::{Properties, json};
use hogsend_semantics::identity::{Id, no_id};
use hogsend_semantics::own_address::is_address;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::contacts::consent::list_issue;
use crate::contacts::export;
use crate::contacts::file::{Format, ROWS_MAX, Table, short};
use crate::contacts::{PERSON_ID_MAX, is_kind};
use crate::db::NewIdentity;
use crate::foreign;

/// Most unused columns that are reported.
const UNUSED_MAX: usize = 100;
/// Most lists of one row.
const LISTS_MAX: usize = 200;
/// Most further ids of one row.
const IDENTITIES_MAX: usize = 1_000;

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
            Format::Csv => table(body)?,
            Format::Json => objects(body)?,
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

/// The meaning of a column or of a JSON field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    ExternalId,
    Email,
    AnonymousId,
    Identities,
    UnsubscribedAll,
    Lists,
    Properties,
    FirstSeenAt,
    Property,
    Unused,
}

/// The meaning of each name in a file. Some depend on which other names there are.
struct Fields(HashMap<String, Field>);

impl Fields {
    fn of<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Self {
        let plain = |name: &str| {
            name.trim()
                .to_ascii_lowercase()
                .replace(['_', ' ', '-'], "")
        };
        let has = |wanted: &[&str]| {
            let mut names = names.clone();
            names.any(|name| wanted.contains(&plain(name).as_str()))
        };
        // In our own export `id` is Hogsend's id beside `externalId`. In other systems it is the
        // product's id.
        let id = if has(&["externalid", "userid"]) {
            Field::Unused
        } else {
            Field::ExternalId
        };
        let created_at = if has(&["firstseenat"]) {
            Field::Unused
        } else {
            Field::FirstSeenAt
        };
        let field = |name: &str| match plain(name).as_str() {
            "externalid" | "userid" => Field::ExternalId,
            "id" => id.clone(),
            _ if is_address(name) => Field::Email,
            "anonymousid" => Field::AnonymousId,
            "identities" => Field::Identities,
            "unsubscribedall" | "unsubscribed" => Field::UnsubscribedAll,
            "lists" => Field::Lists,
            "properties" => Field::Properties,
            "firstseenat" => Field::FirstSeenAt,
            "createdat" => created_at.clone(),
            "lastseenat" | "updatedat" | "" => Field::Unused,
            _ => Field::Property,
        };
        Self(names.map(|name| (name.to_owned(), field(name))).collect())
    }

    fn get(&self, name: &str) -> &Field {
        self.0.get(name).unwrap_or(&Field::Unused)
    }

    fn names_people(&self) -> bool {
        let people = [
            Field::ExternalId,
            Field::Email,
            Field::AnonymousId,
            Field::Identities,
        ];
        self.0.values().any(|field| people.contains(field))
    }

    /// Two names with the same meaning.
    fn same_meaning<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<(&'n str, &'n str)> {
        let mut seen: Vec<(&Field, &str)> = Vec::new();
        for name in names {
            let field = self.get(name);
            if matches!(field, Field::Property | Field::Unused) {
                continue;
            }
            if let Some((_, other)) = seen.iter().find(|(one, _)| *one == field) {
                return Some((other, name));
            }
            seen.push((field, name));
        }
        None
    }

    /// The unused names, in the order given.
    fn unused<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        let names = names.enumerate();
        let unused = names.filter(|(_, name)| *self.get(name) == Field::Unused);
        let named = unused.map(|(place, name)| match name.trim() {
            "" => format!("column {}, which has no name", place + 1),
            name => short(name),
        });
        named.collect()
    }
}

fn table(body: &[u8]) -> Result<Rows, String> {
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

fn objects(body: &[u8]) -> Result<Rows, String> {
    /// `{"contacts": […]}`, as the export writes it.
    #[derive(Deserialize)]
    struct Wrapped {
        contacts: Items,
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = json::repaired(body);
    let wrapped = body.trim_ascii_start().starts_with(b"{");
    let read = if wrapped {
        serde_json::from_slice::<Wrapped>(&body).map(|wrapped| wrapped.contacts)
    } else {
        serde_json::from_slice::<Items>(&body)
    };
    let Items(items) = read.map_err(|error| match error.to_string() {
        text if text.contains(TOO_MANY) => too_many(),
        text => format!("The file is not a JSON array of contacts: {text}"),
    })?;
    // In order of first appearance.
    let mut names: Vec<&str> = Vec::new();
    let mut known = HashSet::new();
    let mut filled = HashSet::new();
    for (name, value) in items.iter().flatten().flatten() {
        if known.insert(name.as_str()) {
            names.push(name);
        }
        if !value.is_null() {
            filled.insert(name.as_str());
        }
    }
    let fields = Fields::of(names.iter().copied());
    let unused = fields.unused(names.into_iter().filter(|name| filled.contains(name)));
    let rows = items.iter().enumerate().map(|(place, item)| Numbered {
        number: i32::try_from(place + 1).unwrap_or(i32::MAX),
        line: None,
        row: object(&fields, item.as_deref()).map(Some),
    });
    Ok(Rows {
        rows: rows.collect(),
        unused,
    })
}

fn object(fields: &Fields, item: Option<&[(String, Value)]>) -> Result<Row, String> {
    let item = item.ok_or("must be a JSON object")?;
    let given = || item.iter().filter(|(_, value)| !value.is_null());
    let mut seen = HashSet::new();
    if let Some((name, _)) = item.iter().find(|(name, _)| !seen.insert(name)) {
        return Err(format!("has two fields called '{}'", short(name)));
    }
    if let Some((one, other)) = fields.same_meaning(given().map(|(name, _)| name.as_str())) {
        let (one, other) = (short(one), short(other));
        return Err(format!("'{one}' and '{other}' mean the same"));
    }
    fill(
        fields,
        given().map(|(name, value)| (name.as_str(), value.clone())),
    )
}

/// Builds a row from its values that are not empty.
fn fill<'n>(
    fields: &Fields,
    values: impl Iterator<Item = (&'n str, Value)>,
) -> Result<Row, String> {
    let mut row = Row::default();
    for (name, mut value) in values {
        foreign::clean(&mut value);
        match fields.get(name) {
            Field::ExternalId => row.names.external_id = id(name, value)?,
            Field::AnonymousId => row.names.anonymous_id = id(name, value)?,
            Field::Identities => row.names.also = identities(name, value)?,
            Field::Email => match value {
                Value::String(text) => {
                    row.names.email = Some(text.trim().to_owned()).filter(|it| !it.is_empty());
                }
                _ => return Err(format!("{} must be text", short(name))),
            },
            Field::UnsubscribedAll => {
                row.unsubscribed_all = boolean(&value)
                    .ok_or_else(|| format!("{} must be true or false", short(name)))?;
            }
            Field::Lists => row.lists = lists(name, value)?,
            Field::Properties => {
                for (name, value) in object_value(name, value)? {
                    set(&mut row.properties, name, value)?;
                }
            }
            Field::FirstSeenAt => match instant(&value) {
                Some(at) => row.first_seen_at = Some(at),
                // Not a known format of a time: kept as a property.
                None => set(&mut row.properties, name.to_owned(), value)?,
            },
            Field::Property => set(&mut row.properties, name.to_owned(), value)?,
            Field::Unused => {}
        }
    }
    Ok(row)
}

fn set(properties: &mut Properties, mut name: String, value: Value) -> Result<(), String> {
    foreign::cleaned(&mut name);
    match properties.get(&name) {
        Some(other) if *other != value => Err(format!(
            "has two values for the property '{}'",
            short(&name)
        )),
        _ => {
            properties.insert(name, value);
            Ok(())
        }
    }
}

fn id(name: &str, value: Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(format!("{} must be text", short(name))),
    };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Reads further ids: an array `[{"kind": …, "value": …}]`, or a string that holds one.
fn identities(name: &str, value: Value) -> Result<Vec<Id>, String> {
    #[derive(Deserialize)]
    struct Given {
        kind: String,
        value: String,
    }
    let read = match value {
        Value::String(text) => json::from_slice::<Vec<Given>>(text.as_bytes()).ok(),
        value => serde_json::from_value(value).ok(),
    };
    let name = short(name);
    let given =
        read.ok_or_else(|| format!("{name} must be a JSON array of objects with kind and value"))?;
    if given.len() > IDENTITIES_MAX {
        return Err(format!("{name} may hold at most {IDENTITIES_MAX} ids"));
    }
    let ids = given.into_iter().map(|Given { kind, mut value }| {
        foreign::cleaned(&mut value);
        if !is_kind(&kind) {
            return Err(format!("{name}: '{}' is not a kind of id", short(&kind)));
        }
        match no_id(&value) {
            Some(why) => Err(format!("{name}: '{}' {why}", short(&value))),
            None if value.chars().nth(PERSON_ID_MAX).is_some() => Err(format!(
                "{name}: an id must be at most {PERSON_ID_MAX} characters"
            )),
            None => Ok(Id::new(kind, value)),
        }
    });
    ids.collect()
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Reads an object, or a string that holds one.
fn object_value(name: &str, value: Value) -> Result<Properties, String> {
    let read = match value {
        Value::Object(fields) => Some(fields),
        Value::String(text) => json::from_slice(text.as_bytes()).ok(),
        _ => None,
    };
    let mut read = read.ok_or_else(|| format!("{} must be a JSON object", short(name)))?;
    foreign::clean_properties(&mut read);
    Ok(read)
}

fn lists(name: &str, value: Value) -> Result<BTreeMap<String, bool>, String> {
    let given = object_value(name, value)?;
    if given.len() > LISTS_MAX {
        return Err(format!(
            "{} may name at most {LISTS_MAX} lists",
            short(name)
        ));
    }
    let lists = given.into_iter().map(|(id, value)| {
        if let Some(why) = list_issue(&id) {
            return Err(format!("{}: {why}", short(name)));
        }
        let on = boolean(&value);
        let on =
            on.ok_or_else(|| format!("{} must be true or false for each list", short(name)))?;
        Ok((id, on))
    });
    lists.collect()
}

/// Reads a time: RFC 3339, a date, `2026-01-31 12:00:00` in UTC, or seconds or milliseconds since 1970.
fn instant(value: &Value) -> Option<DateTime<Utc>> {
    // Smaller numbers are more likely something else, for example 20260131.
    const SECONDS_FROM: i64 = 100_000_000;
    // Numbers from here on are milliseconds: as seconds they would be after the year 5000.
    const MILLISECONDS_FROM: i64 = 100_000_000_000;
    let number = |number: i64| match number {
        ..SECONDS_FROM => None,
        MILLISECONDS_FROM.. => DateTime::from_timestamp_millis(number),
        _ => DateTime::from_timestamp(number, 0),
    };
    let at = match value {
        Value::Number(given) => number(given.as_i64()?)?,
        Value::String(text) => {
            let text = text.trim();
            if let Ok(given) = text.parse() {
                number(given)?
            } else if let Ok(at) = DateTime::parse_from_rfc3339(text) {
                at.to_utc()
            } else if let Ok(day) = text.parse::<NaiveDate>() {
                day.and_hms_opt(0, 0, 0)?.and_utc()
            } else {
                let spaced = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S");
                spaced.ok()?.and_utc()
            }
        }
        _ => return None,
    };
    foreign::is_storable(at).then_some(at)
}

const TOO_MANY: &str = "too many contacts";

fn too_many() -> String {
    format!("The file has more than {ROWS_MAX} contacts: import it in parts")
}

/// The items of a JSON array, at most [`ROWS_MAX`]; None for an item that is not an object. The fields
/// of an object keep duplicates, so that they can be reported.
struct Items(Vec<Option<Vec<(String, Value)>>>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of contacts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
                let mut all = Vec::new();
                while let Some(Item(item)) = seq.next_element()? {
                    if all.len() == ROWS_MAX {
                        return Err(de::Error::custom(TOO_MANY));
                    }
                    all.push(item);
                }
                Ok(Items(all))
            }
        }
        reader.deserialize_seq(Seen)
    }
}

struct Item(Option<Vec<(String, Value)>>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a contact")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Item(Some(fields)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_unit<E>(self) -> Result<Item, E> {
                Ok(Item(None))
            }
        }
        reader.deserialize_any(Seen)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::contacts::export;
    use crate::contacts::export::Exported;
    use crate::db::{ContactRow, Preferences};

    fn read(format: Format, text: &str) -> Vec<Result<Row, String>> {
        let rows = Rows::read(format, text.as_bytes()).unwrap().into_rows();
        rows.filter_map(|one| one.row.transpose()).collect()
    }

    fn unused(format: Format, text: &str) -> Vec<String> {
        let rows = Rows::read(format, text.as_bytes()).unwrap();
        rows.unused().to_vec()
    }

    fn wrong(format: Format, bytes: &[u8]) -> String {
        Rows::read(format, bytes).unwrap_err()
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
            ..Row::default()
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
            "\u{feff}user_id;E-Mail Address;plan;properties\nu1;ann@example.com;\"a,b \"\"c\"\"\";\"{\"\"seats\"\":3}\"",
            "Email\tUser ID\tplan\tproperties\nann@example.com\tu1\t\"a,b \"\"c\"\"\"\t\"{\"\"seats\"\":3}\"\n",
            "sep=;\r\nemail; id ;plan;properties\r\n ann@example.com ; u1 ;\"a,b \"\"c\"\"\";\"{\"\"seats\"\":3}\"\r\n",
        ] {
            assert_eq!(read(Format::Csv, text), [Ok(expected.clone())], "{text}");
        }
        let text = "email, user_id, plan\nann@example.com, u1, pro\n";
        let expected = row(
            Some("u1"),
            Some("ann@example.com"),
            json!({ "plan": "pro" }),
        );
        assert_eq!(read(Format::Csv, text), [Ok(expected)]);
    }

    /// The same contacts as CSV and as JSON.
    #[test]
    fn both_formats_are_read_alike() {
        for (csv, json) in [
            (
                "email,unsubscribed,plan,first_name\njs@ex.test,true,pro,J\n",
                json!([{ "email": "js@ex.test", "unsubscribed": true, "plan": "pro", "first_name": "J" }]),
            ),
            (
                "user_id,email,unsubscribed\njs3,js3@ex.test,false\n,,\njs4,,0\n",
                json!([{ "user_id": "js3", "email": "js3@ex.test", "unsubscribed": "false" }, { "user_id": "js4", "email": null, "unsubscribed": 0 }]),
            ),
            (
                "id,cio_id,email,created_at,unsubscribed,first_name\n5f9c1a,a5e80100,cio1@ex.test,1606780800,false,Ann\n",
                json!([{ "id": "5f9c1a", "cio_id": "a5e80100", "email": "cio1@ex.test", "created_at": 1_606_780_800, "unsubscribed": false, "first_name": "Ann" }]),
            ),
            (
                "anonymousId,lists,createdAt,properties,id,externalId\na1,\"{\"\"journey\"\":false}\",2020-01-31,\"{\"\"n\"\":[1]}\",x,\n",
                json!({ "contacts": [{ "anonymousId": "a1", "lists": { "journey": false }, "createdAt": "2020-01-31T01:00:00+01:00", "properties": { "n": [1] }, "id": "x", "externalId": "" }] }),
            ),
        ] {
            let table = read(Format::Csv, csv);
            let objects = read(Format::Json, &json.to_string());
            assert_eq!(table, objects, "{csv}");
            assert!(table.iter().all(Result::is_ok), "{table:?}");
        }
        let customerio = "id,cio_id,email,created_at,unsubscribed,first_name\n5f9c1a,a5e80100,cio1@ex.test,1606780800,false,Ann\n";
        let [Ok(ann)] = &read(Format::Csv, customerio)[..] else {
            panic!("one row")
        };
        assert_eq!(ann.names.external_id.as_deref(), Some("5f9c1a"));
        assert_eq!(
            ann.first_seen_at.unwrap().to_rfc3339(),
            "2020-12-01T00:00:00+00:00"
        );
        assert_eq!(
            json!(ann.properties),
            json!({ "cio_id": "a5e80100", "first_name": "Ann" })
        );
        assert_eq!(unused(Format::Csv, customerio), [""; 0]);
    }

    #[test]
    fn what_is_not_used_is_named() {
        let text = "id,externalId,email,updatedAt,,firstSeenAt,createdAt\n1,2,a@x.test,3,4,,\n";
        let names = [
            "id",
            "updatedAt",
            "column 5, which has no name",
            "createdAt",
        ];
        assert_eq!(unused(Format::Csv, text), names);
        let text =
            r#"[{"email":"a@x.test"},{"last_seen_at":1,"email":"b@x.test","updatedAt":null}]"#;
        assert_eq!(unused(Format::Json, text), ["last_seen_at"]);
    }

    #[test]
    fn a_time_is_read_as_files_write_it_and_else_kept_as_it_is() {
        for (text, expected) in [
            ("2020-12-01T00:00:00Z", Some(1_606_780_800)),
            ("2020-12-01T02:00:00+02:00", Some(1_606_780_800)),
            ("2020-12-01 00:00:00", Some(1_606_780_800)),
            ("2020-12-01", Some(1_606_780_800)),
            ("1606780800", Some(1_606_780_800)),
            ("1606780800000", Some(1_606_780_800)),
            ("0", None),
            ("20201201", None),
            ("12/1/2020", None),
            ("9223372036854775807", None),
            ("-1", None),
        ] {
            let [Ok(row)] = &read(Format::Csv, &format!("email,created_at\na@x.test,{text}\n"))[..]
            else {
                panic!("one row")
            };
            assert_eq!(
                row.first_seen_at.map(|at| at.timestamp()),
                expected,
                "{text}"
            );
            let kept = row.properties.get("created_at").and_then(Value::as_str);
            assert_eq!(kept, expected.is_none().then_some(text));
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
        let text = "email,properties,unsubscribed,lists\na@x.test,[1],,\nb@x.test,,maybe,\n\
                    c@x.test,,,\"{\"\"l\"\":3}\"\nd@x.test\ne@x.test,,1,\n";
        let rows = Rows::read(Format::Csv, text.as_bytes())
            .unwrap()
            .into_rows();
        let rows: Vec<_> = rows.collect();
        let wrong: Vec<_> = rows
            .iter()
            .filter_map(|one| Some((one.line?, one.row.clone().err()?)))
            .collect();
        let why = [
            (2, "properties must be a JSON object"),
            (3, "unsubscribed must be true or false"),
            (4, "lists must be true or false for each list"),
        ];
        assert_eq!(wrong, why.map(|(line, why)| (line, why.to_owned())));
        assert!(rows[4].row.clone().unwrap().unwrap().unsubscribed_all);

        let text = r#"{"contacts":[1,[],"x",null,{"email":"a@x.test","properties":[]},{"email":"a@x.test","email":"b@x.test"},
            {"userId":"1","user_id":"2"},{"plan":"a","properties":{"plan":"b"}},{"userId":7,"other":{}}]}"#;
        let rows = read(Format::Json, text);
        assert!(rows[..8].iter().all(Result::is_err), "{rows:?}");
        assert_eq!(rows[8], Ok(row(Some("7"), None, json!({ "other": {} }))));
    }

    #[test]
    fn further_ids_that_are_none_spoil_their_row() {
        let long = "x".repeat(PERSON_ID_MAX + 1);
        for (given, why) in [
            (json!("u2"), "array of objects"),
            (json!({ "kind": "user", "value": "u2" }), "array of objects"),
            (json!([{ "kind": "user" }]), "array of objects"),
            (json!([{ "kind": "", "value": "u2" }]), "not a kind of id"),
            (
                json!([{ "kind": "a b", "value": "u2" }]),
                "not a kind of id",
            ),
            (
                json!([{ "kind": "user", "value": " " }]),
                "must not be empty",
            ),
            (
                json!([{ "kind": "user", "value": "undefined" }]),
                "is no id",
            ),
            (json!([{ "kind": "user", "value": long }]), "at most 256"),
            (
                json!(vec![
                    json!({ "kind": "user", "value": "a" });
                    IDENTITIES_MAX + 1
                ]),
                "1000 ids",
            ),
        ] {
            let text = json!([{ "email": "x@x.test", "identities": given }]).to_string();
            let read = read(Format::Json, &text);
            assert!(read[0].clone().unwrap_err().contains(why), "{read:?}");
        }
        let text = json!([{ "identities": [{ "kind": "shop", "value": "7", "since": 2020 }] }]);
        let read = read(Format::Json, &text.to_string());
        assert_eq!(read[0].clone().unwrap().names.also, [Id::new("shop", "7")]);
    }

    #[test]
    fn text_in_a_file_can_be_stored() {
        let text = "email,a\0,properties\nx@x.test,b\0,\"{\"\"c\"\":\"\"\\u0000\\ud83d\"\"}\"\n";
        let expected = json!({ "a\u{fffd}": "b\u{fffd}", "c": "\u{fffd}\u{fffd}" });
        assert_eq!(
            read(Format::Csv, text),
            [Ok(row(None, Some("x@x.test"), expected.clone()))]
        );
        let text = r#"[{"email":"x@x.test","a\u0000":"b\u0000","c":"\u0000\ud83d"}]"#;
        assert_eq!(
            read(Format::Json, text),
            [Ok(row(None, Some("x@x.test"), expected))]
        );
    }

    #[test]
    fn empty_rows_below_a_table_are_left_out() {
        let rows = Rows::read(
            Format::Csv,
            b"email,name\r\ne1@ex.test,E\r\n,\r\n, \r\n,\r\n\r\n",
        );
        assert_eq!(rows.unwrap().count(), 1);
        let rows = Rows::read(Format::Csv, b"email,name\n,\ne1@ex.test,E\n,\n").unwrap();
        let rows: Vec<_> = rows
            .into_rows()
            .map(|one| (one.number, one.row.unwrap().is_some()))
            .collect();
        assert_eq!(rows, [(1, false), (2, true)]);
    }

    #[test]
    fn what_is_no_file_of_contacts_is_refused_with_the_reason() {
        assert!(wrong(Format::Csv, b"a\xff").contains("byte 1"));
        assert!(wrong(Format::Csv, b"name,plan\nx,y").contains("email, externalId"));
        assert!(wrong(Format::Csv, b"email\n").contains("no contacts"));
        assert!(wrong(Format::Csv, b"email,x\n,\n,\n").contains("no contacts"));
        assert!(wrong(Format::Csv, b"").contains("email, externalId"));
        assert!(wrong(Format::Csv, b"email,a\nx@x.test,\"y\n").contains("line 2"));
        for twice in [
            "email,name,email,name\nd1@ex.test,A,d2@ex.test,B",
            "email,E-Mail\nx,y",
            "user_id,externalId\n1,2",
            "email,unsubscribed,unsubscribedAll\nx,1,0",
        ] {
            let why = wrong(Format::Csv, twice.as_bytes());
            assert!(
                why.contains("Two columns") || why.contains("mean the same"),
                "{why}"
            );
        }
        let wide = format!("email{}\n", ",x".repeat(10_000));
        assert!(wrong(Format::Csv, wide.as_bytes()).contains("line 1"));
        assert!(wrong(Format::Json, b"[]").contains("no contacts"));
        assert!(wrong(Format::Json, b"{\"x\":1}").contains("contacts"));
        assert!(wrong(Format::Json, "[".repeat(5_000).as_bytes()).contains("not a JSON array"));
        let many = format!("[{}]", vec!["1"; ROWS_MAX + 1].join(","));
        assert!(wrong(Format::Json, many.as_bytes()).contains("in parts"));
        let many = format!("email\n{}", "a@x.test\n".repeat(ROWS_MAX + 1));
        assert!(wrong(Format::Csv, many.as_bytes()).contains("in parts"));
    }

    /// An id without blanks at its ends.
    fn id() -> impl Strategy<Value = Option<String>> {
        let text = "['=+@\\-\t]?[a-z,;\"'\n\r é\u{1f600}]{0,6}[a-z=']";
        prop::option::of(text.prop_map(|text| text.trim().to_owned()))
    }

    fn further_ids() -> impl Strategy<Value = Vec<Id>> {
        let kind = prop_oneof![Just("user"), Just("anonymous"), Just("posthog_person")];
        let value = "['=+@\\-\t,;\"\\\\ é\u{1f600}]{0,3}[a-z,;\"]{0,3}[b-d=]";
        let id = (kind, value).prop_map(|(kind, value)| Id::new(kind, value));
        prop::collection::vec(id, 0..4)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z'=,;\"\r\n ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_export_writes_is_read_again(
            external_id in id(), anonymous_id in id(), email in id(), identities in further_ids(),
            properties in prop::collection::btree_map("[a-zA-Z'=;,\" ]{1,6}", value(), 0..4),
            unsubscribed_all in any::<bool>(),
            categories in prop::collection::btree_map("[a-z][a-z-]{0,5}", any::<bool>(), 0..3),
            seconds in 100_000_000_i64..1_900_000_000,
        ) {
            prop_assume!(external_id.is_some() || email.is_some() || anonymous_id.is_some());
            let at = DateTime::from_timestamp(seconds, 123_000).unwrap();
            let contact = ContactRow {
                id: crate::ids::ContactId::new(at),
                external_id: external_id.clone(),
                email: email.clone(),
                properties: properties.into_iter().collect(),
                first_seen_at: at,
                last_seen_at: at,
                created_at: at,
                updated_at: at,
            };
            let expected = Row {
                names: NewIdentity { external_id, email, anonymous_id: anonymous_id.clone(), also: identities.clone() },
                properties: contact.properties.clone(),
                unsubscribed_all,
                lists: categories.clone(),
                first_seen_at: Some(at),
            };
            let exported = Exported {
                contact,
                anonymous_id,
                identities,
                wants: Preferences { unsubscribed_all, categories },
            };
            let csv = [export::head(), export::lines(std::slice::from_ref(&exported))].concat();
            let csv = String::from_utf8(csv).unwrap();
            prop_assert_eq!(read(Format::Csv, &csv), [Ok(expected.clone())]);
            let json = json!({ "contacts": [exported.out()] }).to_string();
            prop_assert_eq!(read(Format::Json, &json), [Ok(expected)]);
            let (mut csv, json) = (unused(Format::Csv, &csv), unused(Format::Json, &json));
            csv.sort();
            prop_assert_eq!(csv, json);
        }
    }
}
