//! Lists: the categories of mail a person can subscribe to.

use std::collections::BTreeMap;

use hogsend_semantics::TRANSACTIONAL;

use crate::audit::By;
use crate::catalog::{List, title};
use crate::db::Preferences;

/// Lists that a call subscribes a person to or unsubscribes them from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Maps the id of a list to whether the person is to be on it.
    pub changes: BTreeMap<String, bool>,
    /// The caller states that the person consents to lists they left.
    pub consent: bool,
    /// The caller, for the audit log; None for callers it does not record.
    pub by: Option<By>,
}

impl Lists {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A list a person may choose, and whether they get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub id: String,
    pub title: String,
    pub description: String,
    pub subscribed: bool,
}

/// Every list of this installation, and further categories the person decided about before.
pub fn choices(known: &[List], preferences: &Preferences) -> Vec<Choice> {
    let decided = preferences.categories.keys();
    let decided =
        decided.filter(|id| *id != TRANSACTIONAL && !known.iter().any(|list| list.id == **id));
    let choices = known.iter().map(|list| Choice {
        id: list.id.clone(),
        title: list.name.clone(),
        description: list.description.clone(),
        subscribed: preferences.allow(&list.id),
    });
    let others = decided.map(|id| Choice {
        id: id.clone(),
        title: title(id),
        description: String::new(),
        subscribed: preferences.allow(id),
    });
    choices.chain(others).collect()
}

/// What is wrong with the id of a list, if anything.
pub fn list_issue(id: &str) -> Option<&'static str> {
    if id.trim().is_empty() || id.chars().nth(100).is_some() {
        return Some("a list's id must have 1 to 100 characters");
    }
    id.chars()
        .any(char::is_control)
        .then_some("a list's id must not contain control characters")
}

#[cfg(test)]
mod tests {
    use hogsend_semantics::TRANSACTIONAL;

    use super::choices;
    use crate::catalog::{List, title};
    use crate::db::Preferences;

    #[test]
    fn lists_come_in_the_order_of_the_plugins_with_what_they_are_about() {
        let list = |id: &str, description: &str| List {
            id: id.to_owned(),
            name: title(id),
            description: description.to_owned(),
            kind: "journey",
        };
        let known = [list("tips", "Now and then."), list("billing", "")];
        let decided = [
            ("billing", false),
            ("old-news", true),
            (TRANSACTIONAL, true),
        ];
        let preferences = Preferences {
            categories: decided.map(|(id, on)| (id.to_owned(), on)).into(),
            ..Preferences::default()
        };
        let shown: Vec<_> = choices(&known, &preferences)
            .into_iter()
            .map(|one| (one.id, one.title, one.description, one.subscribed))
            .collect();
        let one = |id: &str, title: &str, about: &str, on| {
            (id.to_owned(), title.to_owned(), about.to_owned(), on)
        };
        assert_eq!(
            shown,
            [
                one("tips", "Tips", "Now and then.", true),
                one("billing", "Billing", "", false),
                one("old-news", "Old news", "", true),
            ]
        );
    }
}
