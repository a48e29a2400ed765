//! Suggestions for misspelled words.

/// The known word most similar to an unknown one: equal except for case or separators, or a few edits
/// apart. `None` if none is similar.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let word = plain(word);
    let length = word.chars().count();
    // Comparing long words is slow, and typos in them are not expected.
    if length == 0 || length > 200 {
        return None;
    }
    let apart = match length {
        0..=3 => 1,
        4..=11 => 2,
        _ => 3,
    };
    let distances = known.into_iter().map(|candidate| {
        let distance = strsim::osa_distance(&word, &plain(candidate));
        (distance, candidate)
    });
    let near = distances.filter(|(distance, candidate)| {
        *distance <= apart && *distance < candidate.chars().count().min(length)
    });
    near.min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn spelling_mistakes_are_seen_and_other_words_are_not() {
        let known = ["RESEND_API_KEY", "DATABASE_URL", "PORT", "user.created"];
        let near = |word| nearest(word, known);
        assert_eq!(near("RESEND_APIKEY"), Some("RESEND_API_KEY"));
        assert_eq!(near("database_url"), Some("DATABASE_URL"));
        assert_eq!(near("DATABSE_URL"), Some("DATABASE_URL"));
        assert_eq!(near("User Created"), Some("user.created"));
        assert_eq!(near("usercreate"), Some("user.created"));
        for other in ["", "PATH", "signed_up", "HOME", &"x".repeat(5_000)] {
            assert_ne!(near(other), Some("DATABASE_URL"), "{other}");
            assert_ne!(near(other), Some("user.created"), "{other}");
        }
    }
}
