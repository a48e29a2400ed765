//! Lists: the mail categories a recipient can subscribe to or leave.

/// A list of this installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pub id: String,
    /// Display name: `Product news` for `product-news`.
    pub name: String,
    /// Description for recipients; may be empty.
    pub description: String,
    /// Its origin: `journey` or `template`.
    pub kind: &'static str,
}

/// The display name of a category that no plugin named.
pub fn title(id: &str) -> String {
    // The default category of journeys.
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
