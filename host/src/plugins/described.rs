//! Event sources that linked crates make from descriptions: texts of their own, and the operator's files.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hogsend_plugin_api::described::{Described, Description, Mistake, describers};

use super::Problem;

/// The extension of the files.
const EXTENSION: &str = "toml";
/// Bytes of one file.
const SIZE_MAX: u64 = 1024 * 1024;

/// The sources that need no file.
pub(super) fn own() -> Vec<Described> {
    describers().flat_map(|crate_| (crate_.own)()).collect()
}

/// A file, or the folder, that cannot be used.
pub(super) struct Refused {
    pub path: PathBuf,
    pub problem: Problem,
}

/// The sources of the files in a folder, and every problem with the files.
pub(super) fn read(dir: &Path) -> (Vec<Described>, Vec<Refused>) {
    let mut problems = Vec::new();
    let files = match files(dir) {
        Ok(files) => files,
        Err(error) => {
            let message = format!(
                "WEBHOOK_DIR cannot be read ({error}): create the folder, or unset WEBHOOK_DIR"
            );
            return (Vec::new(), vec![Refused::new("PLUGIN-001", dir, message)]);
        }
    };
    let mut descriptions = Vec::new();
    for path in files {
        match text(&path) {
            Ok(text) => descriptions.push(Description { path, text }),
            Err(error) => {
                let message = format!("cannot be read ({error})");
                problems.push(Refused::new("PLUGIN-001", &path, message));
            }
        }
    }
    let mut sources = Vec::new();
    for crate_ in describers() {
        let read = (crate_.read)(&descriptions);
        sources.extend(read.sources);
        let refused = |Mistake { path, message }| Refused::new("PLUGIN-015", &path, message);
        problems.extend(read.mistakes.into_iter().map(refused));
    }
    (sources, problems)
}

impl Refused {
    fn new(code: &'static str, path: &Path, message: String) -> Self {
        Self {
            path: path.to_owned(),
            problem: Problem::of_file(code, path, message),
        }
    }
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|own| own == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(SIZE_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > SIZE_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(text),
    }
}
