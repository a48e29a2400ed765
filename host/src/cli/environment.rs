//! The environment variables of a command: those of the process, and in development those of `.env`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Misconfigured;
use crate::config::{Config, Mode, Problem};

/// Variables by name, and the problems of `.env`.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Environment {
    /// The process's variables; in development also those of the nearest `.env`, in this folder or
    /// above. The process's own take precedence.
    pub fn of_process() -> Self {
        let mut all = Self {
            // Names and values that are not UTF-8 cannot be settings.
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            problems: Vec::new(),
        };
        if all.get("NODE_ENV").as_deref() != Some("production") {
            all.read_file();
        }
        all
    }

    fn read_file(&mut self) {
        let problem = |message: String| Problem::new(".env", message);
        let lines = match dotenvy::dotenv_iter() {
            Ok(lines) => lines,
            Err(error) if error.not_found() => return,
            Err(error) => {
                self.problems
                    .push(problem(format!("cannot be read: {error}")));
                return;
            }
        };
        for line in lines {
            match line {
                Ok((name, value)) => {
                    self.variables.entry(name).or_insert(value);
                }
                // Not the line itself: it may contain a secret.
                Err(dotenvy::Error::LineParse(line, at)) => {
                    self.problems.push(problem(broken_line(&line, at)));
                }
                Err(dotenvy::Error::Io(error)) => {
                    self.problems
                        .push(problem(format!("cannot be read: {error}")));
                    return;
                }
                Err(_) => {
                    self.problems.push(problem("cannot be read".to_owned()));
                    return;
                }
            }
        }
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The problems of `.env`.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The data folder, if `hogsend dev` keeps an embedded database in it. `None` if it uses another
    /// database or cannot start.
    pub fn own_database(&self) -> Option<PathBuf> {
        let (config, problems) = Config::read(&|name| self.get(name), Mode::Dev);
        let own = config.database_url.is_none() && problems.is_empty() && self.problems.is_empty();
        own.then_some(config.data_dir)
    }

    /// The host's settings for one command. The error is every problem with them.
    pub fn config(&self, mode: Mode) -> Result<Config, Misconfigured> {
        let (config, problems) = Config::read(&|name| self.get(name), mode);
        let all: Vec<&Problem> = self.problems.iter().chain(&problems).collect();
        if all.is_empty() {
            Ok(config)
        } else {
            Err(Misconfigured::of(&all))
        }
    }
}

/// Describes a broken line without its value, by the variable's name if it has a valid one.
fn broken_line(line: &str, at: usize) -> String {
    const HELP: &str = "write NAME=value, with quotation marks around a value that contains spaces, \
                        quotation marks or # in it";
    let name = line.split_once('=').map(|(name, _)| name.trim());
    let name = name.map(|name| name.trim_start_matches("export ").trim());
    let plain = |name: &&str| {
        !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    match name.filter(plain) {
        Some(name) => {
            format!("has a value of {name} that cannot be read, at character {at}: {HELP}")
        }
        None => format!("has a line that is not a setting: {HELP}"),
    }
}

#[cfg(test)]
mod tests {
    use super::broken_line;

    #[test]
    fn a_broken_line_is_told_by_its_name_and_never_by_its_value() {
        let told = broken_line("ADMIN_API_KEY='hush hush", 20);
        assert!(told.contains("ADMIN_API_KEY"), "{told}");
        for line in [
            "RESEND_API_KEY=\"hush",
            "hush",
            "hush hush=1",
            "re_hush=x y",
            "=hush",
        ] {
            assert!(!broken_line(line, 0).contains("hush"), "{line}");
        }
    }
}
