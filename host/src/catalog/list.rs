//! Lists: the categories of mail people are on or not.

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
