//! Search texts.

use serde::{Deserialize, Deserializer, de};

/// The longest search text in characters, which is the longest email address. A longer one finds
/// nothing and is expensive for the database.
const SEARCH_MAX: usize = 320;

/// A trimmed search text; `None` if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search(Option<String>);

impl Search {
    pub fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<'de> Deserialize<'de> for Search {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = String::deserialize(reader)?;
        let text = text.trim();
        if text.chars().nth(SEARCH_MAX).is_some() {
            let why = format!("must be at most {SEARCH_MAX} characters");
            return Err(de::Error::custom(why));
        }
        Ok(Self(Some(text.to_owned()).filter(|text| !text.is_empty())))
    }
}
