//! Problems in a request, by field.

use serde::Serialize;
use utoipa::ToSchema;

use super::text;

/// A problem in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Issue {
    /// The dotted path of the field; empty for the body as a whole.
    pub path: String,
    pub message: String,
}

/// The longest path and message in characters: both may repeat what the caller sent.
const PATH_MAX: usize = 300;
const MESSAGE_MAX: usize = 500;

impl Issue {
    /// Shortens long paths and messages.
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: text(path, PATH_MAX),
            message: text(&message.into(), MESSAGE_MAX),
        }
    }
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{} {}", self.path, self.message)
        }
    }
}

/// An issue unless the word is one of these.
pub fn one_of(path: &str, word: &str, words: &[&str]) -> Option<Issue> {
    let message = || format!("must be one of {}", words.join(", "));
    (!words.contains(&word)).then(|| Issue::new(path, message()))
}

/// The issues of a list that must contain at least one word, and only these.
pub fn some_of(path: &str, list: &[String], words: &[&str]) -> Vec<Issue> {
    if list.is_empty() {
        let message = format!("must name at least one of {}", words.join(", "));
        return vec![Issue::new(path, message)];
    }
    let each = list.iter().enumerate();
    each.filter_map(|(at, word)| one_of(&format!("{path}.{at}"), word, words))
        .collect()
}
