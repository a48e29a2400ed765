//! The rules for what a plugin's journeys and templates are called. Those for its manifest are in
//! [`hogsend_semantics::manifest`]. `hogsend plugin check` reports every breach, and a plugin with one is refused.

use std::collections::BTreeSet;

use hogsend_plugin_api::journey::Catalogue;

/// Characters of the id of a journey, a template or a category.
const ID_MAX: usize = 100;

/// Everything wrong with the ids of journeys, templates and categories.
pub fn catalogue(catalogue: &Catalogue) -> Vec<String> {
    let mut faults = BTreeSet::new();
    let journeys = catalogue.journeys.iter();
    let journeys = journeys.map(|journey| ("journey", journey.id.as_str()));
    let templates = catalogue.templates.iter();
    let templates = templates.map(|template| ("template", template.key.as_str()));
    let lists = catalogue.categories.iter();
    let lists = lists.map(|list| ("category", list.id.as_str()));
    let journeys_lists = catalogue.journeys.iter();
    let journeys_lists = journeys_lists.map(|journey| ("category", journey.category.as_str()));
    let own = catalogue.templates.iter();
    let own = own.filter_map(|template| Some(("category", template.category.as_deref()?)));
    let all = journeys.chain(templates).chain(lists);
    for (what, id) in all.chain(journeys_lists).chain(own) {
        if !is_id(id) {
            faults.insert(format!(
                "the {what} '{}' has no valid id: an id has 1 to {ID_MAX} characters, which are letters, \
                 digits, hyphens, underscores and dots, and begins with a letter or digit",
                shown(id)
            ));
        }
    }
    faults.into_iter().collect()
}

fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= ID_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(fits)
}

fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn an_id_is_a_plain_name() {
        for id in ["welcome", "Trial_1.b-c", "7-days"] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "Fault Journey/../x", ".hidden", "ä", &"x".repeat(101)] {
            assert!(!is_id(id), "{id}");
        }
    }
}
