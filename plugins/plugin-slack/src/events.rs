//! The chosen events.

/// Names of events, some of which stand for every name that begins so.
pub struct Events(Vec<Name>);

enum Name {
    Whole(String),
    Beginning(String),
}

impl Events {
    /// Parses a comma-separated list.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to follow the name of the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let all: Vec<Name> = names
            .map(|name| match name.strip_suffix('*') {
                Some(beginning) if !beginning.contains('*') => {
                    Ok(Name::Beginning(beginning.to_owned()))
                }
                None if !name.contains('*') => Ok(Name::Whole(name.to_owned())),
                _ => Err(format!(
                    "has '{name}', but a * may only be at the end of a name, as in email.*"
                )),
            })
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err("names no event: for example email.bounced,email.complained".into());
        }
        Ok(Self(all))
    }

    /// Whether the event is chosen.
    pub fn contain(&self, event: &str) -> bool {
        self.0.iter().any(|name| match name {
            Name::Whole(name) => event == name,
            Name::Beginning(beginning) => event.starts_with(beginning.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn a_star_stands_for_any_ending() {
        for (list, event, chosen) in [
            ("email.bounced", "email.bounced", true),
            ("email.bounced", "email.bounced.twice", false),
            ("email.bounced", "email.Bounced", false),
            ("a, email.* ,b", "email.sent", true),
            ("email.*", "email", false),
            ("email*", "email", true),
            ("*", "anything", true),
            ("a,,b,", "b", true),
            ("a", "b", false),
        ] {
            let events = Events::parse(list).ok().unwrap();
            assert_eq!(events.contain(event), chosen, "{list}: {event}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (list, word) in [
            ("", "names no event"),
            (" , ", "names no event"),
            ("*.bounced", "'*.bounced'"),
            ("email.*.x,a", "'email.*.x'"),
            ("email.**", "'email.**'"),
        ] {
            let error = Events::parse(list).err().unwrap();
            assert!(error.contains(word), "{list}: {error}");
        }
    }
}
