//! `plugins.toml`: which plugins run in processes of their own, and programs that are plugins.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::launch::MEMORY_MB;
use crate::plugins::problem::Problem;

/// The file, in the folder of plugins.
pub const FILE: &str = "plugins.toml";

/// Megabytes that may be allowed: less than the first ends every plugin.
const MEMORY_MB_RANGE: std::ops::RangeInclusive<u64> = 32..=1_048_576;

/// Where a plugin's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the host's process.
    None,
    /// In a child process.
    Process,
}

/// What the file says; everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// For libraries of which the file says nothing else.
    isolation: Option<Place>,
    #[serde(default, rename = "plugin")]
    plugins: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The name of a library in the folder.
    file: Option<String>,
    /// A program and its arguments.
    program: Option<Vec<String>>,
    isolation: Option<Place>,
    memory_mb: Option<u64>,
}

impl Plan {
    /// Reads the file, if there is one, and checks it.
    pub fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let message = format!("cannot be read ({error}): check its permissions");
                return Err(Problem::of_file("PLUGIN-020", &path, message));
            }
        };
        #[cfg(unix)]
        if let Ok(metadata) = fs::metadata(&path)
            && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o002 != 0
        {
            let message = "may be written by anyone on this machine: run `chmod o-w` on it";
            return Err(Problem::of_file("PLUGIN-006", &path, message));
        }
        Self::parse(&text, &|file| folder.join(file).is_file())
            .map_err(|message| Problem::of_file("PLUGIN-020", &path, message))
    }

    fn parse(text: &str, is_there: &dyn Fn(&str) -> bool) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            let message = error.message().replace('\n', "; ");
            format!("line {line}: {message}")
        })?;
        let mut names = BTreeSet::new();
        for (place, entry) in plan.plugins.iter().enumerate() {
            let name = entry.check(is_there).map_err(|why| {
                let named = entry
                    .file
                    .clone()
                    .or_else(|| Some(entry.program.as_ref()?.join(" ")));
                let named = named.map(|name| format!(" ('{}')", name.escape_debug()));
                format!("plugin {}{}: {why}", place + 1, named.unwrap_or_default())
            })?;
            if !names.insert(name.clone()) {
                return Err(format!(
                    "'{}' is named twice: remove one",
                    name.escape_debug()
                ));
            }
        }
        Ok(plan)
    }

    fn entry(&self, file: &str) -> Option<&Entry> {
        let mut all = self.plugins.iter();
        all.find(|entry| entry.file.as_deref() == Some(file))
    }

    /// Where the code of this library runs; None where the file does not say.
    pub fn place(&self, file: &str) -> Option<Place> {
        let own = self.entry(file).and_then(|entry| {
            // A limit has a meaning in a process of its own only.
            entry.isolation.or(entry.memory_mb.map(|_| Place::Process))
        });
        own.or(self.isolation)
    }

    /// Megabytes that this library may use in a process of its own.
    pub fn memory_mb(&self, file: &str) -> u64 {
        let own = self.entry(file).and_then(|entry| entry.memory_mb);
        own.unwrap_or(MEMORY_MB)
    }

    /// The programs, with the megabytes that each may use.
    pub fn programs(&self) -> impl Iterator<Item = (&[String], u64)> {
        self.plugins.iter().filter_map(|entry| {
            let words = entry.program.as_deref()?;
            Some((words, entry.memory_mb.unwrap_or(MEMORY_MB)))
        })
    }
}

impl Entry {
    /// Returns what it names.
    fn check(&self, is_there: &dyn Fn(&str) -> bool) -> Result<String, String> {
        if let Some(most) = self.memory_mb
            && !MEMORY_MB_RANGE.contains(&most)
        {
            let (least, most) = (MEMORY_MB_RANGE.start(), MEMORY_MB_RANGE.end());
            return Err(format!("`memory_mb` has to be between {least} and {most}"));
        }
        match (&self.file, &self.program) {
            (Some(file), None) => {
                if !is_there(file) || file.contains('/') {
                    return Err(
                        "there is no such file in this folder: `file` is the name of a library"
                            .into(),
                    );
                }
                if self.memory_mb.is_some() && self.isolation == Some(Place::None) {
                    return Err("`memory_mb` limits a process of its own: use `isolation = \"process\"`, or remove it".into());
                }
                Ok(file.clone())
            }
            (None, Some(words)) => {
                if self.isolation == Some(Place::None) {
                    return Err(
                        "a program always runs in a process of its own: remove `isolation`".into(),
                    );
                }
                match words.iter().any(String::is_empty) || words.is_empty() {
                    true => Err(
                        "`program` has to name a program: for example [\"python3\", \"shop.py\"]"
                            .into(),
                    ),
                    false => Ok(words.join(" ")),
                }
            }
            _ => Err("name a `file` (a library) or a `program`, one of both".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MEMORY_MB, Place, Plan};

    fn read(text: &str) -> Result<Plan, String> {
        Plan::parse(text, &|file| file.ends_with(".so"))
    }

    #[test]
    fn the_file_says_where_each_plugin_runs() {
        let plan = read(
            "[[plugin]]\nfile = \"a.so\"\nisolation = \"process\"\nmemory_mb = 64\n\
             [[plugin]]\nfile = \"b.so\"\nisolation = \"none\"\n\
             [[plugin]]\nfile = \"c.so\"\nmemory_mb = 99\n\
             [[plugin]]\nprogram = [\"python3\", \"x.py\"]\n",
        )
        .unwrap();
        assert_eq!(
            (plan.place("a.so"), plan.memory_mb("a.so")),
            (Some(Place::Process), 64)
        );
        assert_eq!(plan.place("b.so"), Some(Place::None));
        assert_eq!(plan.place("c.so"), Some(Place::Process));
        assert_eq!(
            (plan.place("d.so"), plan.memory_mb("d.so")),
            (None, MEMORY_MB)
        );
        let programs: Vec<_> = plan.programs().collect();
        assert_eq!(
            programs,
            [(
                ["python3".to_owned(), "x.py".to_owned()].as_slice(),
                MEMORY_MB
            )]
        );
        let plan = read("isolation = \"process\"").unwrap();
        assert_eq!(plan.place("a.so"), Some(Place::Process));
        assert_eq!(read("").unwrap().place("a.so"), None);
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, named) in [
            ("isolaton = \"process\"", "unknown field `isolaton`"),
            ("isolation = \"wasm\"", "unknown variant `wasm`"),
            (
                "[[plugin]]\nfile = \"a.so\"\nmemory = 3",
                "line 3: unknown field `memory`",
            ),
            (
                "[[plugin]]\nfile = \"gone\"",
                "plugin 1 ('gone'): there is no such file",
            ),
            (
                "[[plugin]]\nfile = \"../a.so\"",
                "no such file in this folder",
            ),
            ("[[plugin]]\nisolation = \"none\"", "name a `file`"),
            (
                "[[plugin]]\nfile = \"a.so\"\nprogram = [\"x\"]",
                "one of both",
            ),
            ("[[plugin]]\nprogram = []", "has to name a program"),
            (
                "[[plugin]]\nprogram = [\"x\"]\nisolation = \"none\"",
                "always runs in a process",
            ),
            (
                "[[plugin]]\nfile = \"a.so\"\nmemory_mb = 1",
                "between 32 and",
            ),
            (
                "[[plugin]]\nfile = \"a.so\"\nisolation = \"none\"\nmemory_mb = 99",
                "remove it",
            ),
            (
                "[[plugin]]\nfile = \"a.so\"\n[[plugin]]\nfile = \"a.so\"",
                "'a.so' is named twice",
            ),
            ("plugin = 3", "invalid type"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(named), "{text}: {why}");
            assert!(!why.contains('\n'), "{why}");
        }
    }
}
