//! Aliases of event names: an event that a product calls `signed_up` can start a journey that is
//! triggered by `user.created`.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::event_names::{is_own, taken};

const NAME: &str = "EVENT_ALIASES";

/// The stored names of events, by alias.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(BTreeMap<String, String>);

impl Aliases {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut aliases = BTreeMap::new();
        for part in reader.words(NAME) {
            let pair = part
                .split_once('=')
                .map(|(alias, event)| (alias.trim().to_owned(), event.trim().to_owned()))
                .filter(|(alias, event)| !alias.is_empty() && !event.is_empty());
            let Some((alias, event)) = pair else {
                let message =
                    format!("has '{part}': use alias=event, for example signed_up=user.created");
                reader.problem(NAME, message);
                continue;
            };
            if alias == event {
                let message = format!("makes '{alias}' an alias of itself: remove it");
                reader.problem(NAME, message);
                continue;
            }
            if let Some(own) = [&alias, &event].into_iter().find(|name| is_own(name)) {
                reader.problem(NAME, format!("has '{own}', and {}", taken(own)));
                continue;
            }
            match aliases.insert(alias.clone(), event.clone()) {
                Some(other) if other != event => {
                    let message = format!(
                        "makes '{alias}' an alias of both '{other}' and '{event}': keep one of the two"
                    );
                    reader.problem(NAME, message);
                }
                _ => {}
            }
        }
        for (alias, event) in &aliases {
            if aliases.contains_key(event) {
                let message = format!(
                    "makes '{alias}' an alias of '{event}', which is itself an alias: use the final event name"
                );
                reader.problem(NAME, message);
            }
        }
        Self(aliases)
    }

    /// The name under which an event is stored.
    pub fn name<'a>(&'a self, arrived: &'a str) -> &'a str {
        self.0.get(arrived).map_or(arrived, String::as_str)
    }

    /// Every alias with its event.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(alias, event)| (&**alias, &**event))
    }

    /// Event names by alias.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode};
    use super::Aliases;

    fn read(text: &str) -> Result<Aliases, Vec<String>> {
        let lookup = |name: &str| (name == super::NAME).then(|| text.to_owned());
        Config::load(&lookup, Mode::Dev)
            .map(|config| config.aliases)
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_are_replaced_once_and_others_stay() {
        let aliases =
            read("signed_up = user.created, Order Completed=checkout.completed,").unwrap();
        assert_eq!(aliases.name("signed_up"), "user.created");
        assert_eq!(aliases.name("Order Completed"), "checkout.completed");
        assert_eq!(aliases.name("user.created"), "user.created");
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_pair_or_leads_nowhere_is_named() {
        for (text, told) in [
            ("signed_up", "use alias=event"),
            ("=user.created", "use alias=event"),
            ("a=", "use alias=event"),
            ("a=a", "of itself"),
            ("a=b,a=c", "both 'b' and 'c'"),
            ("a=b,b=c", "itself an alias"),
            ("a=email.clicked", "begin with email."),
            ("journey.completed=a", "begin with journey."),
            ("a=b,b=a", "itself an alias"),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems[0].contains(told), "{text}: {problems:?}");
        }
        assert!(read("a=b,a=b").is_ok());
    }
}
