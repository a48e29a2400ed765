//! Lists: the categories of mail people are on or not.

use hogsend_semantics::TRANSACTIONAL;

use crate::db::Preferences;

/// A list of this installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pub id: String,
    /// For people: `Product news` for `product-news`.
    pub name: String,
    /// What comes with it, for people; may be empty.
    pub description: String,
    /// Where it comes from: `journey` or `template`.
    pub kind: &'static str,
}

/// A list a person may choose, and whether they get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub id: String,
    pub title: String,
    pub description: String,
    pub subscribed: bool,
}

/// Every list, and those the person spoke of before.
pub fn choices(known: &[List], preferences: &Preferences) -> Vec<Choice> {
    let spoken = preferences.categories.keys();
    let spoken =
        spoken.filter(|id| *id != TRANSACTIONAL && !known.iter().any(|list| list.id == **id));
    let choices = known.iter().map(|list| Choice {
        id: list.id.clone(),
        title: list.name.clone(),
        description: list.description.clone(),
        subscribed: preferences.allow(&list.id),
    });
    let others = spoken.map(|id| Choice {
        id: id.clone(),
        title: title(id),
        description: String::new(),
        subscribed: preferences.allow(id),
    });
    choices.chain(others).collect()
}

/// What is wrong with the id of a list.
pub fn list_issue(id: &str) -> Option<&'static str> {
    if id.trim().is_empty() || id.chars().nth(100).is_some() {
        return Some("a list's id has 1 to 100 characters");
    }
    id.chars()
        .any(char::is_control)
        .then_some("a list's id has no control characters")
}

/// A category as people read it, where nobody named it.
pub fn title(id: &str) -> String {
    // The category of journeys that name none.
    if id == "journey" {
        return "Tips and news".into();
    }
    let words = id.replace(['-', '_', '.'], " ");
    let mut letters = words.trim().chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn categories_have_titles_for_people() {
        for (id, expected) in [
            ("journey", "Tips and news"),
            ("product-news", "Product news"),
            ("éclair_x.y", "Éclair x y"),
            ("-", "-"),
        ] {
            assert_eq!(title(id), expected);
        }
    }
}
