//! Partials: pieces of MJML that templates and layouts share, in the folder `partials`.
//!
//! `{% include "button" %}` is replaced by `partials/button.mjml` when a file is read, so that everything
//! behind it sees one text. A line of that text is reported as the line of the file it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder in `TEMPLATE_DIR`.
pub const FOLDER: &str = "partials";
/// How deep partials may include each other.
const DEPTH_MAX: usize = 8;

/// The partials of an installation, by name.
#[derive(Debug, Default)]
pub struct Partials(BTreeMap<String, (PathBuf, String)>);

/// A text with its partials put in.
#[derive(Debug, Default)]
pub struct Expanded {
    pub text: String,
    /// The file and line of each line.
    origins: Vec<(PathBuf, usize)>,
}

/// What is wrong with an include, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub why: String,
}

impl Partials {
    pub fn insert(&mut self, name: &str, file: &Path, text: String) {
        self.0.insert(name.to_owned(), (file.to_owned(), text));
    }

    /// Puts the partials into a text of this file that begins on this line.
    pub fn expand(&self, file: &Path, first: usize, text: &str) -> Result<Expanded, Wrong> {
        let mut expanded = Expanded::default();
        self.put((file, first, text), &mut Vec::new(), &mut expanded)?;
        Ok(expanded)
    }

    fn put<'a>(
        &'a self,
        (file, first, text): (&Path, usize, &str),
        inside: &mut Vec<&'a str>,
        out: &mut Expanded,
    ) -> Result<(), Wrong> {
        let (mut line, mut rest) = (first, text);
        while let Some((before, name, after)) = next(rest) {
            out.push(file, line, before);
            line += before.matches('\n').count();
            let wrong = |why: String| Wrong {
                file: file.to_owned(),
                line,
                why,
            };
            let Some((known, (path, partial))) = self.0.get_key_value(name) else {
                let all: Vec<&str> = self.0.keys().map(String::as_str).collect();
                let all = match all.as_slice() {
                    [] => "there is none".to_owned(),
                    all => format!("there are: {}", all.join(", ")),
                };
                return Err(wrong(format!("there is no {FOLDER}/{name}.mjml ({all})")));
            };
            if inside.contains(&known.as_str()) || inside.len() >= DEPTH_MAX {
                let way = [inside.as_slice(), &[known.as_str()]].concat().join(" → ");
                return Err(wrong(format!("partials include each other: {way}")));
            }
            inside.push(known);
            // The end of a file is no end of a line of the mail.
            self.put((path.as_path(), 1, partial.trim_end()), inside, out)?;
            inside.pop();
            line += rest[before.len()..rest.len() - after.len()]
                .matches('\n')
                .count();
            rest = after;
        }
        out.push(file, line, rest);
        Ok(())
    }
}

impl Expanded {
    fn push(&mut self, file: &Path, mut line: usize, text: &str) {
        for part in text.split_inclusive('\n') {
            if self.text.is_empty() || self.text.ends_with('\n') {
                self.origins.push((file.to_owned(), line));
            }
            self.text.push_str(part);
            line += 1;
        }
    }

    /// The file and line where this line comes from, which counts from 1.
    pub fn origin(&self, line: usize) -> Option<&(PathBuf, usize)> {
        self.origins.get(line.checked_sub(1)?)
    }
}

/// The first include of a text: what is before it, its name, and what is after it.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%") {
        let start = from + at;
        let end = start + text[start..].find("%}")? + 2;
        let inner = text[start + 2..end - 2].trim_matches(['-', '+']).trim();
        let name = inner.strip_prefix("include").map(str::trim_start);
        let name = name.and_then(|name| {
            let quoted = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
            quoted('"').or_else(|| quoted('\''))
        });
        if let Some(name) = name.filter(|name| !name.contains(['"', '\''])) {
            return Some((&text[..start], name, &text[end..]));
        }
        from = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::Partials;

    fn partials() -> Partials {
        let mut all = Partials::default();
        for (name, text) in [
            ("button", "<mj-button>\n{{ label }}\n</mj-button>\n"),
            (
                "both",
                "{% include 'button' %}\n<b>{%- include \"button\" -%}</b>",
            ),
            ("a", "{% include 'b' %}"),
            ("b", "x\n{% include 'a' %}"),
        ] {
            all.insert(name, Path::new(&format!("{name}.mjml")), text.into());
        }
        all
    }

    #[test]
    fn a_line_is_known_by_the_file_it_comes_from() {
        let text = "<p>\n{% if x %}{% include \"button\" %}{% endif %}\n</p>";
        let expanded = partials().expand(Path::new("w.mjml"), 5, text).unwrap();
        assert_eq!(
            expanded.text,
            "<p>\n{% if x %}<mj-button>\n{{ label }}\n</mj-button>{% endif %}\n</p>"
        );
        let origin = |line| {
            expanded
                .origin(line)
                .map(|(file, line)| (file.clone(), *line))
        };
        let w = |line| Some((PathBuf::from("w.mjml"), line));
        let button = |line| Some((PathBuf::from("button.mjml"), line));
        assert_eq!(
            [1, 2, 3, 4, 5, 6].map(origin),
            [w(5), w(6), button(2), button(3), w(7), None]
        );
        let both = partials()
            .expand(Path::new("w"), 1, "{% include 'both' %}")
            .unwrap();
        assert_eq!(both.text.matches("{{ label }}").count(), 2);
    }

    #[test]
    fn a_missing_partial_and_a_circle_are_named() {
        let wrong = |text| partials().expand(Path::new("w"), 1, text).unwrap_err();
        let missing = wrong("\n{% include 'buton' %}");
        assert_eq!((missing.line, missing.file.as_path()), (2, Path::new("w")));
        assert!(
            missing
                .why
                .contains("no partials/buton.mjml (there are: a, b, both"),
            "{missing:?}"
        );
        let circle = wrong("{% include 'a' %}");
        assert_eq!(
            (circle.line, circle.file.as_path()),
            (2, Path::new("b.mjml"))
        );
        assert!(circle.why.ends_with("a → b → a"), "{circle:?}");
    }
}
