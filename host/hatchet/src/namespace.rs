//! Names on the engine: a prefix keeps several installations apart on one tenant.

use thiserror::Error;

/// The prefix of workflow names, action ids and event keys: empty, or text that ends in `_`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace(String);

/// A name that the engine would refuse, or take and never run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameProblem {
    #[error("a name of Hatchet is empty: give the workflow a name")]
    Empty,
    #[error(
        "'{name}' cannot be a name in Hatchet: '{character}' is not allowed; use letters, digits, '.', '-' and '_'"
    )]
    Character { name: String, character: char },
    #[error("'{name}' is too long for a name in Hatchet: shorten it to {most} characters", most = LONGEST)]
    Long { name: String },
    #[error("two workflows are called '{name}' in Hatchet: rename one")]
    Twice { name: String },
}

/// The most characters of a name with its prefix.
const LONGEST: usize = 200;

impl Namespace {
    /// The namespace that the text names; empty for none.
    ///
    /// # Errors
    /// Says what is wrong with the text and the fix: the engine's SDKs write it in lower case, and the engine
    /// loses workflows with capitals.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let lower = text.to_lowercase();
        if lower != text {
            return Err(format!(
                "is '{text}', and Hatchet knows no capitals: use '{lower}'"
            ));
        }
        if let Some(character) = text.chars().find(|it| !is_allowed(*it)) {
            return Err(format!(
                "is '{text}', and '{character}' is not allowed in it: use letters, digits, '.', '-' and '_'"
            ));
        }
        let prefix = match text.ends_with('_') {
            true => text.to_owned(),
            false => format!("{text}_"),
        };
        Ok(Self(prefix))
    }

    /// The name with the prefix; unchanged where it has it already, as in the engine's SDKs.
    pub fn add(&self, name: &str) -> String {
        match name.starts_with(&self.0) {
            true => name.to_owned(),
            false => format!("{}{name}", self.0),
        }
    }

    /// The name without the prefix.
    pub fn remove<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(self.0.as_str()).unwrap_or(name)
    }

    /// The name of a workflow on the engine: lower case, with the prefix.
    ///
    /// # Errors
    /// Where the engine would not take the name.
    pub(crate) fn workflow(&self, name: &str) -> Result<String, NameProblem> {
        if name.is_empty() {
            return Err(NameProblem::Empty);
        }
        let full = self.add(&name.to_lowercase());
        if let Some(character) = full.chars().find(|it| !is_allowed(*it)) {
            let name = name.to_owned();
            return Err(NameProblem::Character { name, character });
        }
        match full.len() > LONGEST {
            true => Err(NameProblem::Long { name: full }),
            false => Ok(full),
        }
    }
}

/// Hatchet's rule for workflows: `^[a-zA-Z0-9.\-_]+$`.
fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::{NameProblem, Namespace};

    #[test]
    fn a_namespace_is_a_prefix_that_is_added_once() {
        let acme = Namespace::parse("acme").unwrap();
        assert_eq!(acme.workflow("Welcome").unwrap(), "acme_welcome");
        assert_eq!(acme.workflow("acme_welcome").unwrap(), "acme_welcome");
        assert_eq!(acme.remove("acme_welcome"), "welcome");
        let none = Namespace::parse("").unwrap();
        assert_eq!(none.workflow("Welcome").unwrap(), "welcome");
        assert_eq!(none.remove("welcome"), "welcome");
    }

    #[test]
    fn a_wrong_namespace_names_the_fix() {
        assert_eq!(
            Namespace::parse("Acme").unwrap_err(),
            "is 'Acme', and Hatchet knows no capitals: use 'acme'"
        );
        assert!(Namespace::parse("ac me").unwrap_err().contains("' '"));
    }

    #[test]
    fn a_wrong_name_is_refused_before_the_engine_loses_it() {
        let none = Namespace::default();
        assert_eq!(none.workflow(""), Err(NameProblem::Empty));
        let wrong = none.workflow("day one").unwrap_err();
        assert!(matches!(
            wrong,
            NameProblem::Character { character: ' ', .. }
        ));
        assert!(none.workflow(&"x".repeat(201)).is_err());
    }
}
