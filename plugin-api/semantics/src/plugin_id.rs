//! The ids of plugins.

/// The most characters of an id.
pub const MAX: usize = 64;

/// The host's own folders of the data directory, and its prefix in the cache: a plugin's files are in a
/// folder of its id, and its keys of the cache begin with it.
pub const RESERVED: [&str; 5] = ["cache", "calls", "db", "hogsend", "plugins"];

/// Why the host refuses an id. The text continues a sentence about it.
pub fn wrong(id: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || id.len() > MAX || !id.chars().all(known) {
        return Some(format!(
            "ids consist of 1 to {MAX} lower-case letters, digits and hyphens"
        ));
    }
    RESERVED
        .contains(&id)
        .then(|| "it is a name of Hogsend's own: rename the plugin".into())
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn ids_are_lower_case_letters_digits_and_hyphens() {
        for (id, sound) in [
            ("posthog", true),
            ("segment-analytics", true),
            ("3scale", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            ("Acme", false),
            ("my_crm", false),
            ("a/../b", false),
            ("é", false),
            ("cache", false),
            ("hogsend", false),
        ] {
            assert_eq!(wrong(id).is_none(), sound, "{id}");
        }
    }
}
