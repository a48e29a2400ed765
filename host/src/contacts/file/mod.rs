//! Uploaded files of contacts or addresses: the request body, and the CSV reader.

mod table;

pub use table::{Record, Table, short};

use hogsend_plugin_api::json;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

use crate::foreign;

/// Most rows of a file.
pub const ROWS_MAX: usize = 100_000;
/// Characters of a file's name that are stored; longer names are cut.
const NAME_MAX: usize = 255;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Format {
    Csv,
    Json,
}

impl Format {
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// A file from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub format: Format,
    pub body: Vec<u8>,
    /// The file's name in the caller's system.
    pub name: Option<String>,
}

/// The fields of a JSON object that contains a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped {
    format: Option<Value>,
    data: Option<Value>,
    file_name: Option<Value>,
    /// Only files that the export wrote have this field.
    contacts: Option<IgnoredAny>,
}

impl Upload {
    /// Reads a request body of this format. It is the file itself or, in JSON, an object
    /// `{"format":"csv"|"json","data":…,"fileName":…}`, where `data` is the file as a string or, for
    /// a JSON file, the array or object itself.
    ///
    /// # Errors
    /// What is wrong with that object.
    pub fn read(format: Format, body: Vec<u8>) -> Result<Self, String> {
        let plain = |body| Self {
            format,
            body,
            name: None,
        };
        let is_object = body.trim_ascii_start().starts_with(b"{");
        if format == Format::Csv || !is_object {
            return Ok(plain(body));
        }
        // Reading the rows reports invalid JSON.
        let Ok(wrapped) = json::from_slice::<Wrapped>(&body) else {
            return Ok(plain(body));
        };
        if wrapped.contacts.is_some() || wrapped.format.is_none() && wrapped.data.is_none() {
            return Ok(plain(body));
        }
        let format = wrapped.format.as_ref().and_then(Value::as_str);
        let format = format.map(str::to_ascii_lowercase);
        let Some(format) = format.as_deref().and_then(Format::parse) else {
            return Err("format must be csv or json".into());
        };
        let body = match (format, wrapped.data) {
            (_, Some(Value::String(text))) => text.into_bytes(),
            (Format::Json, Some(data @ (Value::Array(_) | Value::Object(_)))) => {
                data.to_string().into_bytes()
            }
            (Format::Json, _) => {
                return Err("data must be a JSON array, or a string that holds one".into());
            }
            (Format::Csv, _) => return Err("data must be the file as a string".into()),
        };
        let name = match wrapped.file_name {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(foreign::text(name.trim(), NAME_MAX)),
            Some(_) => return Err("fileName must be a string".into()),
        };
        Ok(Self {
            format,
            body,
            name: name.filter(|name| !name.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Upload};

    #[test]
    fn a_file_comes_as_it_is_or_wrapped() {
        let read = |format, body: &str| Upload::read(format, body.as_bytes().to_vec());
        let file = |format, body: &str, name: Option<&str>| {
            Ok(Upload {
                format,
                body: body.as_bytes().to_vec(),
                name: name.map(str::to_owned),
            })
        };
        for (format, body) in [
            (Format::Csv, "email\na@x.test"),
            (Format::Csv, "{\"format\":\"csv\",\"data\":\"x\"}"),
            (Format::Json, "[{}]"),
            (Format::Json, "{\"contacts\":[],\"data\":1}"),
            (Format::Json, "{\"x\":1}"),
            (Format::Json, "{"),
            (Format::Json, ""),
        ] {
            assert_eq!(read(format, body), file(format, body, None));
        }
        for (body, format, inner, name) in [
            (
                r#" {"format":"csv","data":"email\na@x.test","fileName":" a.csv "}"#,
                Format::Csv,
                "email\na@x.test",
                Some("a.csv"),
            ),
            (
                r#"{"format":"JSON","data":"[{\"email\":\"a@x.test\"}]"}"#,
                Format::Json,
                r#"[{"email":"a@x.test"}]"#,
                None,
            ),
            (
                r#"{"format":"json","data":[{"email":"a@x.test"}],"fileName":null}"#,
                Format::Json,
                r#"[{"email":"a@x.test"}]"#,
                None,
            ),
        ] {
            assert_eq!(read(Format::Json, body), file(format, inner, name));
        }
        for (body, why) in [
            (r#"{"data":"x"}"#, "format"),
            (r#"{"format":"xml","data":"x"}"#, "format"),
            (r#"{"format":1,"data":"x"}"#, "format"),
            (r#"{"format":"csv"}"#, "data"),
            (r#"{"format":"csv","data":["x"]}"#, "data"),
            (r#"{"format":"json","data":1}"#, "data"),
            (r#"{"format":"csv","data":"x","fileName":1}"#, "fileName"),
        ] {
            assert!(
                read(Format::Json, body).unwrap_err().contains(why),
                "{body}"
            );
        }
    }
}
