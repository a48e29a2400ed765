//! Names that may be used in a greeting.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup as Group, UnicodeGeneralCategory as _};

/// The limits of a name, in characters and in words. Longer texts are sentences.
const LETTERS_MAX: usize = 40;
const WORDS_MAX: usize = 5;

/// A person's name, where the text looks like one: letters, marks, spaces, `'`, `’` and `-`, and a
/// dot only after a single letter, before a space or at the end (`J. R. Ewing`). Strangers choose
/// their names at sign-up, and mail clients turn URLs and phone numbers into links, so anything else
/// is refused. The result has single spaces and is in NFC.
pub fn person_name(text: &str) -> Option<String> {
    // Checked before anything is copied: the text may have megabytes.
    if text.len() > 16 * LETTERS_MAX {
        return None;
    }
    let text: String = text.nfc().collect();
    let words: Vec<&str> = text
        .split(is_blank)
        .filter(|word| !word.is_empty())
        .collect();
    let length = words
        .iter()
        .map(|word| word.chars().count() + 1)
        .sum::<usize>();
    let is_name = !words.is_empty()
        && words.len() <= WORDS_MAX
        && length <= LETTERS_MAX + 1
        && words.iter().all(|word| is_word(word))
        && text.chars().any(is_letter);
    is_name.then(|| words.join(" "))
}

/// Letters, with a dot only after a single one.
fn is_word(word: &str) -> bool {
    let initial = |start: &str| {
        let mut letters = start.chars();
        letters.next().is_some_and(is_letter) && letters.all(is_mark)
    };
    match word.strip_suffix('.') {
        Some(start) => initial(start),
        None => word
            .chars()
            .all(|c| is_letter(c) || is_mark(c) || matches!(c, '\'' | '’' | '-')),
    }
}

fn is_letter(c: char) -> bool {
    c.general_category_group() == Group::Letter
}

fn is_mark(c: char) -> bool {
    c.general_category_group() == Group::Mark
}

/// Whether it is a space; line breaks are not.
fn is_blank(c: char) -> bool {
    c.general_category() == unicode_properties::GeneralCategory::SpaceSeparator
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::person_name;

    #[test]
    fn names_are_names() {
        for name in [
            "Ada",
            "Łukasz O'Neil",
            "D’Angelo",
            "Anne-Marie",
            "J. R. R. Tolkien",
            "Ada L.",
            "María José",
            "สมชาย",
            "नरेन्द्र",
            "محمد",
            "李小龙",
            "山田 太郎",
            "Đặng Thị",
            "Nguyễn",
            "X",
            "Ö.",
            "Ngozi",
        ] {
            assert_eq!(person_name(name).as_deref(), Some(name), "{name}");
        }
        // Spaces become single, accents composed.
        assert_eq!(
            person_name("  Ada\u{a0} \u{3000}Lovelace ").unwrap(),
            "Ada Lovelace"
        );
        assert_eq!(person_name("Ame\u{301}lie").unwrap(), "Amélie");
    }

    #[test]
    fn what_a_mail_program_could_make_a_link_of_is_no_name() {
        let long = "x".repeat(41);
        let huge = "x ".repeat(1_000_000);
        for no in [
            "",
            " ",
            "Free gift bit.ly/3xFree",
            "evil-site.com",
            "t.me/x",
            "Call +1 900 555 0199",
            "Call +1 900",
            "see https://evil.test now",
            "WWW.evil.test",
            "ann@evil.test",
            "@ann",
            "#win",
            "$$$",
            "Ada 2",
            "٣",
            "a.b",
            "J.R. Ewing",
            "x.co",
            "Dr. Who",
            "evil。com",
            "evil．com",
            "evil․com",
            "evil\u{200b}.com",
            "Ada\nBcc: x",
            "Ada\tx",
            "Ada\u{202e}moc",
            "Ada\u{2028}x",
            "<b>Ada</b>",
            "{{ 7 * 7 }}",
            "Ada 🎁",
            "Ⓐⓓⓐ",
            "ⅷ",
            "-",
            "'",
            ".",
            "\u{301}",
            "click here to claim your free prize",
            &long,
            &huge,
        ] {
            assert_eq!(person_name(no), None, "{no}");
        }
    }

    proptest! {
        #[test]
        fn a_name_stays_one_and_holds_no_address(text in any::<String>()) {
            if let Some(name) = person_name(&text) {
                prop_assert_eq!(person_name(&name), Some(name.clone()));
                prop_assert!(!name.contains(['/', ':', '@', '\n']));
                prop_assert!(name.chars().all(|c| !c.is_numeric()));
            }
        }
    }
}
