//! Parses variables into values and collects their problems.

use super::table;
use super::variable::Rule;
use super::{Lookup, Mode, Problem};

/// Reads settings one by one. A wrong setting is recorded as a problem and gets its default or minimum
/// value, so that reading continues.
pub(super) struct Reader<'a> {
    pub lookup: Lookup<'a>,
    /// Whether this process may mail people and lead them to this installation: then the rules for
    /// production hold.
    pub strict: bool,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The reader, and whether this is production. An unknown environment counts as production, the
    /// stricter mode.
    pub fn new(lookup: Lookup<'a>, mode: Mode) -> (Self, bool) {
        let mut reader = Self {
            lookup,
            strict: false,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let environment = reader.text("NODE_ENV");
        let production = !["development", "test"].contains(&environment.as_str());
        if production && environment != "production" {
            reader.problem(
                "NODE_ENV",
                format!("is '{environment}': use development or production"),
            );
        }
        reader.strict = production && mode.runs();
        (reader, production)
    }

    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(name, message));
    }

    /// An empty value counts as unset.
    pub fn optional(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// As [`optional`](Self::optional); unset where production requires it is a problem.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name);
        if let (true, None, Some(what)) = (self.strict, &value, table::required(name)) {
            self.problem(name, format!("is required in production: {what}"));
        }
        value
    }

    /// Whether production asks this of the variable, and the rules for production hold.
    pub fn asks(&self, name: &str, rule: Rule) -> bool {
        self.strict && table::rules_of(name).contains(&rule)
    }

    /// The fewest characters that a secret may have.
    pub fn least_characters(&self, name: &str) -> usize {
        match self.strict {
            true => table::least_characters(name),
            false => 0,
        }
    }

    pub fn text(&self, name: &str) -> String {
        self.optional(name)
            .unwrap_or_else(|| table::default_of(name).to_owned())
    }

    /// A value with quotation marks around it is a problem: they would be part of it.
    pub fn unquoted(&mut self, name: &str) -> Option<String> {
        let text = self.optional(name)?;
        if is_quoted(&text) {
            self.problem(name, QUOTED);
        }
        Some(text)
    }

    /// `None` if it is not set, or if it cannot be parsed, which is a problem.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        form: &str,
    ) -> Option<T> {
        let text = self.optional(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.problem(name, format!("is '{text}': use {form}"));
        }
        parsed
    }

    /// A comma-separated list; each entry that cannot be parsed is a problem.
    pub fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, form: &str) -> Vec<T> {
        let mut all = Vec::new();
        for part in self.words(name) {
            match parse(&part) {
                Some(value) => all.push(value),
                None => self.problem(name, format!("has '{part}': use {form}")),
            }
        }
        all
    }

    /// The parts of a comma-separated list.
    pub fn words(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        let parts = text.split(',').map(|part| part.trim().to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    }

    pub fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_str() {
            "" | "false" | "0" => false,
            "true" | "1" => true,
            other => {
                let message = format!("is '{other}': use true or false");
                self.problem(name, message);
                false
            }
        }
    }

    pub fn number(&mut self, name: &str, least: u64, most: u64) -> u64 {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.problem(
                    name,
                    format!("is '{text}': use a whole number from {least} to {most}"),
                );
                table::default_of(name).parse().unwrap_or(least)
            }
        }
    }

    pub fn url(&mut self, name: &str, schemes: &[&str]) -> String {
        let text = self.text(name);
        let sound = reqwest::Url::parse(&text).is_ok_and(|url| schemes.contains(&url.scheme()));
        if !sound {
            // Not the value: a URL may contain a password.
            let form = schemes
                .iter()
                .map(|scheme| format!("{scheme}://…"))
                .collect::<Vec<_>>();
            self.problem(
                name,
                format!("is not a URL of the form {}", form.join(" or ")),
            );
        }
        text
    }
}

/// The problem of a quoted value.
pub(super) const QUOTED: &str = "is in quotation marks, which become part of it (Docker's \
                                 --env-file keeps them): remove them";

/// Whether a whole value is between quotation marks. `"Acme, Inc." <hello@acme.example>` does
/// not.
pub(super) fn is_quoted(text: &str) -> bool {
    ['"', '\'']
        .iter()
        .any(|mark| text.len() > 1 && text.starts_with(*mark) && text.ends_with(*mark))
}
