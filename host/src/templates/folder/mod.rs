//! The files of `TEMPLATE_DIR`, read and test-rendered at start and at each reload.
//!
//! `welcome.mjml` replaces the template `welcome`; a key that no plugin has adds a template.
//! `layout.mjml` replaces the layout around all of them, `layouts/plain.mjml` is one that a template may
//! choose, and `partials/button.mjml` is a piece that all of these may include.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hogsend_plugin_api::{Properties, Template};
use hogsend_render::file::{TemplateFile, parse};
use hogsend_render::{Brand, Footer, RenderError, syntax};
use hogsend_semantics::TRANSACTIONAL;

use super::Templates;
use super::partials::{self, Partials};
use super::preview::{sample_person, sample_values};
use crate::config::Problem;
use crate::nearest::nearest;

const SETTING: &str = "TEMPLATE_DIR";
/// The file with the layout.
pub const LAYOUT_FILE: &str = "layout.mjml";
const ENDING: &str = "mjml";
/// The folder of the layouts that a template may choose.
const LAYOUTS: &str = "layouts";
/// The folders in the folder.
pub const FOLDERS: [&str; 2] = [LAYOUTS, partials::FOLDER];
/// Providers refuse mails of this size.
const SIZE_MAX: u64 = 1024 * 1024;
const FILES_MAX: usize = 1_000;

/// Whether a file of the folder is a template or the layout, by its name.
pub fn is_template(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && path.extension().is_some_and(|own| own == ENDING)
}

/// The valid files of a folder.
#[derive(Debug, Default)]
pub struct Folder {
    pub(super) templates: BTreeMap<String, Read>,
    pub(super) layout: Option<String>,
    layouts: BTreeMap<String, String>,
    partials: Partials,
    pub problems: Vec<Problem>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// The files with problems, or the folder itself.
    faulty: Vec<PathBuf>,
}

/// A template that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub template: Template,
    pub file: PathBuf,
    pub layout: Option<String>,
}

impl Folder {
    /// Reads a folder and renders each file with the samples of its props. `lists` are the
    /// categories of the plugins.
    pub fn read(path: &Path, plugins: &Templates, lists: &[&str]) -> Self {
        Self::read_beside(path, plugins, lists, &Templates::default())
    }

    /// Like [`read`](Self::read). What is in use takes the place of files with problems.
    pub fn read_beside(
        path: &Path,
        plugins: &Templates,
        lists: &[&str],
        in_use: &Templates,
    ) -> Self {
        let mut folder = Self::default();
        let files = match files(path) {
            Ok(files) => files,
            Err(why) => {
                folder.problem(format!(
                    "is '{}', which cannot be read: {why}",
                    path.display()
                ));
                folder.faulty.push(path.to_owned());
                folder.layout = in_use.layout().map(str::to_owned);
                folder.keep(in_use);
                return folder;
            }
        };
        folder.read_partials(&path.join(partials::FOLDER));
        // The layouts first: the templates are rendered in them.
        for file in folder.within(&path.join(LAYOUTS)) {
            let Some(name) = name(&file) else {
                folder.wrong(&file, None, NAMES);
                continue;
            };
            if let Some(text) = folder.read_layout(&file) {
                folder.layouts.insert(name, text);
            }
        }
        let is_layout = |file: &Path| file.file_name().is_some_and(|name| name == LAYOUT_FILE);
        if let Some(file) = files.iter().find(|file| is_layout(file)) {
            let in_use = in_use.layout().map(str::to_owned);
            folder.layout = folder.read_layout(file).or(in_use);
        }
        for file in files.iter().filter(|file| !is_layout(file)) {
            folder.read_template(file, plugins, lists);
        }
        folder.keep(in_use);
        folder
    }

    /// Keeps the templates in use of the files with problems.
    fn keep(&mut self, in_use: &Templates) {
        for entry in in_use.iter() {
            let Some(file) = &entry.file else {
                continue;
            };
            let is_faulty = |path: &PathBuf| path == file || Some(path.as_path()) == file.parent();
            if self.faulty.iter().any(is_faulty) {
                let kept = Read {
                    template: entry.template.clone(),
                    file: file.clone(),
                    layout: entry.layout.clone(),
                };
                self.templates.insert(entry.template.key.clone(), kept);
            }
        }
    }

    /// The files of a folder in the folder, which need not exist.
    fn within(&mut self, path: &Path) -> Vec<PathBuf> {
        if !path.is_dir() {
            return Vec::new();
        }
        files(path).unwrap_or_else(|why| {
            self.wrong(path, None, &format!("it cannot be read: {why}"));
            Vec::new()
        })
    }

    fn read_partials(&mut self, path: &Path) {
        for file in self.within(path) {
            let Some(key) = name(&file) else {
                self.wrong(&file, None, NAMES);
                continue;
            };
            match read(&file) {
                Ok(text) => self.partials.insert(&key, &file, text),
                Err(why) => self.wrong(&file, None, &why),
            }
        }
    }

    fn problem(&mut self, message: String) {
        self.problems.push(Problem::new(SETTING, message));
    }

    fn wrong(&mut self, file: &Path, line: Option<usize>, why: &str) {
        let line = line.map_or_else(String::new, |line| format!(", line {line}"));
        self.problem(format!("has {}{line}: {why}", file.display()));
        self.faulty.push(file.to_owned());
    }

    fn read_layout(&mut self, file: &Path) -> Option<String> {
        let text = match read(file) {
            Ok(text) => text,
            Err(why) => {
                self.wrong(file, None, &why);
                return None;
            }
        };
        let expanded = match self.partials.expand(file, 1, &text) {
            Ok(expanded) => expanded,
            Err(wrong) => {
                self.wrong_inside(file, &wrong);
                return None;
            }
        };
        let text = &expanded.text;
        if !text.contains("<mjml") || !text.contains("body") {
            let why = "a layout is a whole MJML document with {{ body }} where the mail goes";
            self.wrong(file, None, why);
            return None;
        }
        let sample = Template::new("layout", "Sample", "<p>Sample</p>");
        let whole = Template::new("layout", "Sample", text);
        let tried = syntax(&whole).and_then(|()| try_out(&sample, Some(text), super::CATEGORY));
        match tried {
            Ok(()) => Some(expanded.text),
            Err(error) => {
                let line = error.line.filter(|_| error.part != "MJML");
                match line.and_then(|line| expanded.origin(line)) {
                    Some((at, line)) => self.wrong(at, Some(*line), &error.why),
                    None => self.wrong(file, line, &error.why),
                }
                None
            }
        }
    }

    /// A fault inside of a partial leaves the file that includes it as it was.
    fn wrong_inside(&mut self, file: &Path, wrong: &partials::Wrong) {
        self.wrong(&wrong.file, Some(wrong.line), &wrong.why);
        self.faulty.push(file.to_owned());
    }

    fn read_template(&mut self, file: &Path, plugins: &Templates, lists: &[&str]) {
        let Some(key) = name(file) else {
            return self.wrong(file, None, NAMES);
        };
        let text = match read(file) {
            Ok(text) => text,
            Err(why) => return self.wrong(file, None, &why),
        };
        let read = match parse(&text) {
            Ok(read) => read,
            Err(error) => return self.wrong(file, Some(error.line), &error.why),
        };
        let base = plugins.get(&key).map(|entry| &entry.template);
        let mut template = read.template(&key, base);
        let expanded = match self.partials.expand(file, read.body_line, &template.mjml) {
            Ok(expanded) => expanded,
            Err(wrong) => return self.wrong_inside(file, &wrong),
        };
        template.mjml.clone_from(&expanded.text);
        if let Some((line, why)) = category_fault(&read, &template, base, lists, &text) {
            return self.wrong(file, Some(line), &why);
        }
        let layout = match self.layout_of(&read) {
            Ok(layout) => layout.cloned(),
            Err(why) => {
                let line = line_of(&text, "layout");
                return self.wrong(file, line, &why);
            }
        };
        let category = super::category(&template);
        let around = layout.as_deref().or(self.layout.as_deref());
        let tried = syntax(&template).and_then(|()| try_out(&template, around, category));
        if let Err(error) = tried {
            let why = format!("the {}: {}", error.part, error.why);
            let (at, line) = place(&error, &expanded, (file, &text));
            self.wrong(&at, line, &why);
            // What is in use stays, also where the fault is in a partial.
            return self.faulty.push(file.to_owned());
        }
        if base.is_none() {
            let known = plugins.iter().map(|entry| entry.template.key.as_str());
            if let Some(near) = nearest(&key, known) {
                self.warnings.push(format!(
                    "{} replaces no template and adds a new one; did you mean {near}.{ENDING}?",
                    file.display()
                ));
            }
        }
        let read = Read {
            template,
            file: file.to_owned(),
            layout,
        };
        self.templates.insert(key, read);
    }

    /// The layout that a file chooses.
    fn layout_of(&self, read: &TemplateFile) -> Result<Option<&String>, String> {
        let Some(name) = read.layout() else {
            return Ok(None);
        };
        let known = self.layouts.keys().map(String::as_str);
        let all: Vec<&str> = known.collect();
        let missing = || {
            let own = Path::new(LAYOUTS).join(format!("{name}.{ENDING}"));
            if self.faulty.iter().any(|file| file.ends_with(&own)) {
                return format!(
                    "its layout {} cannot be used: fix that first",
                    own.display()
                );
            }
            format!(
                "there is no layout '{name}' in {LAYOUTS}; known: {}",
                all.join(", ")
            )
        };
        self.layouts.get(name).map(Some).ok_or_else(missing)
    }
}

/// What the names of files must be.
const NAMES: &str = "the name of the file is the key: up to 100 letters, digits, hyphens, underscores \
                     and dots";

/// The key that a file's name is.
fn name(file: &Path) -> Option<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.filter(|stem| is_key(stem)).map(str::to_owned)
}

/// What is wrong with the category of a file, with the line.
fn category_fault(
    read: &TemplateFile,
    template: &Template,
    base: Option<&Template>,
    lists: &[&str],
    text: &str,
) -> Option<(usize, String)> {
    let named = lists.iter().copied().chain([TRANSACTIONAL]);
    let known = named.clone().collect::<Vec<_>>().join(", ");
    let Some(own) = read.category() else {
        let lacks = template.category.is_none() && base.is_none();
        let why = format!(
            "no plugin provides a template '{}', so the file must name its category, one of {known}, \
             or a new one",
            template.key
        );
        return lacks.then_some((1, why));
    };
    let line = line_of(text, "category").unwrap_or(1);
    if named.clone().any(|name| name == own) {
        return None;
    }
    if !is_key(own) {
        let why =
            format!("'{own}' is not a category: use letters, digits, hyphens and underscores");
        return Some((line, why));
    }
    // An unknown category is a new list; a name close to a known one is probably a typo.
    nearest(own, named).map(|near| {
        let why = format!("there is no category '{own}' (did you mean '{near}'?); known: {known}");
        (line, why)
    })
}

/// The file and line of a fault in the body; the line of the setting for a fault in a setting.
fn place(
    error: &RenderError,
    expanded: &partials::Expanded,
    (file, text): (&Path, &str),
) -> (PathBuf, Option<usize>) {
    let line = match error.part {
        "html" | "MJML" => {
            let origin = error.line.and_then(|line| expanded.origin(line));
            return origin.map_or_else(
                || (file.to_owned(), None),
                |(file, line)| (file.clone(), Some(*line)),
            );
        }
        part => line_of(text, part),
    };
    (file.to_owned(), line)
}

/// The line on which a setting is.
fn line_of(text: &str, setting: &str) -> Option<usize> {
    let mut lines = text.lines();
    let at = lines.position(|line| line.trim_start().starts_with(setting));
    at.map(|at| at + 1)
}

/// Renders with sample values for a sample person.
pub fn try_out(
    template: &Template,
    layout: Option<&str>,
    category: &str,
) -> Result<(), RenderError> {
    let footer = Footer {
        lang: "en".into(),
        reason: "Sample".into(),
        unsubscribe: "Unsubscribe".into(),
        choose: "Choose".into(),
    };
    let brand = Brand::default();
    // With props and without: optional values may be missing.
    for props in [template.samples(), Properties::new()] {
        let values = sample_values(sample_person(), &props, category, &brand, &footer);
        hogsend_render::try_out(template, layout, &values)?;
    }
    Ok(())
}

fn is_key(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 100 && text.chars().all(fits) && !text.starts_with('.')
}

/// The `.mjml` files, sorted by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| error.to_string())? {
        let file = entry.map_err(|error| error.to_string())?.path();
        if is_template(&file) && file.is_file() {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(format!("it holds more than {FILES_MAX} templates"));
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, String> {
    let size = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > SIZE_MAX {
        return Err(format!("it is larger than {} KiB", SIZE_MAX / 1024));
    }
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
