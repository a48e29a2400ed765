//! The files of `TEMPLATE_DIR`, read and test-rendered at start and at each reload.
//!
//! `welcome.mjml` replaces the template `welcome`; a key that no plugin has adds a template.
//! `layout.mjml` replaces the layout around all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hogsend_plugin_api::{Properties, Template};
use hogsend_render::file::{TemplateFile, parse};
use hogsend_render::{Brand, Footer, RenderError, syntax};
use hogsend_semantics::TRANSACTIONAL;

use super::Templates;
use super::preview::{sample_person, sample_values};
use crate::config::Problem;
use crate::nearest::nearest;

const SETTING: &str = "TEMPLATE_DIR";
/// The file with the layout.
pub const LAYOUT_FILE: &str = "layout.mjml";
const ENDING: &str = "mjml";
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
    pub(super) templates: BTreeMap<String, (Template, PathBuf)>,
    pub(super) layout: Option<String>,
    pub problems: Vec<Problem>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// The files with problems, or the folder itself.
    faulty: Vec<PathBuf>,
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
        // The layout first: the others are rendered in it.
        let is_layout = |file: &Path| file.file_name().is_some_and(|name| name == LAYOUT_FILE);
        if let Some(file) = files.iter().find(|file| is_layout(file)) {
            folder.read_layout(file);
            if !folder.faulty.is_empty() {
                folder.layout = in_use.layout().map(str::to_owned);
            }
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
                let kept = (entry.template.clone(), file.clone());
                self.templates.insert(entry.template.key.clone(), kept);
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

    fn read_layout(&mut self, file: &Path) {
        let text = match read(file) {
            Ok(text) => text,
            Err(why) => return self.wrong(file, None, &why),
        };
        if !text.contains("<mjml") || !text.contains("body") {
            let why = "a layout is a whole MJML document with {{ body }} where the mail goes";
            return self.wrong(file, None, why);
        }
        let sample = Template::new("layout", "Sample", "<p>Sample</p>");
        let whole = Template::new("layout", "Sample", &text);
        let tried = syntax(&whole).and_then(|()| try_out(&sample, Some(&text), super::CATEGORY));
        match tried {
            Ok(_) => self.layout = Some(text),
            Err(error) => {
                let line = error.line.filter(|_| error.part != "MJML");
                self.wrong(file, line, &error.why);
            }
        }
    }

    fn read_template(&mut self, file: &Path, plugins: &Templates, lists: &[&str]) {
        let key = file.file_stem().and_then(|stem| stem.to_str());
        let Some(key) = key.filter(|key| is_key(key)).map(str::to_owned) else {
            let why = "the name of the file is the template's key: up to 100 letters, digits, \
                       hyphens, underscores and dots";
            return self.wrong(file, None, why);
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
        let template = read.template(&key, base);
        if let Some((line, why)) = category_fault(&read, &template, base, lists, &text) {
            return self.wrong(file, Some(line), &why);
        }
        let category = super::category(&template);
        let tried =
            syntax(&template).and_then(|()| try_out(&template, self.layout.as_deref(), category));
        if let Err(error) = tried {
            let line = line_in_file(&error, &read, &text);
            return self.wrong(file, line, &format!("the {}: {}", error.part, error.why));
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
        let path = file.to_owned();
        self.templates.insert(key, (template, path));
    }
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
    let line = text
        .lines()
        .position(|line| line.trim_start().starts_with("category"));
    let line = line.map_or(1, |at| at + 1);
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

/// The line of the file for a fault in the body; the line of the setting for a fault in a setting.
fn line_in_file(error: &RenderError, read: &TemplateFile, text: &str) -> Option<usize> {
    match error.part {
        "html" | "MJML" => error.line.map(|line| line + read.body_line - 1),
        part => {
            let line = text
                .lines()
                .position(|line| line.trim_start().starts_with(part));
            line.map(|at| at + 1)
        }
    }
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
mod tests {
    use std::fs;
    use std::path::Path;

    use hogsend_plugin_api::Template;
    use hogsend_plugin_api::journey::Catalogue;

    use super::super::Templates;
    use super::Folder;

    fn plugins() -> Templates {
        let template = |key| Template::new(key, "Old", "<p>Old</p>").category("journey");
        let mut all = Templates::default();
        let mut catalogue = Catalogue::default();
        catalogue.templates = vec![template("welcome"), template("nudge")];
        all.add("stock", &catalogue);
        all
    }

    fn read(files: &[(&str, &str)]) -> (Folder, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let read = Folder::read(folder.path(), &plugins(), &["journey", "billing"]);
        let place = format!("{}/", folder.path().display());
        let messages = read.problems.iter();
        let messages = messages.map(|problem| problem.to_string().replace(&place, ""));
        let messages = messages.collect();
        (read, messages)
    }

    #[test]
    fn files_replace_templates_and_add_new_ones() {
        let (folder, problems) = read(&[
            (
                "welcome.mjml",
                "+++\nsubject = \"New\"\n+++\n<p>New {{ name }}</p>",
            ),
            (
                "news.mjml",
                "+++\nsubject = \"News\"\ncategory = \"product-news\"\n+++\n<p>x</p>",
            ),
            ("layout.mjml", "<mjml><mj-body>{{ body }}</mj-body></mjml>"),
            ("README.md", "not a template"),
            (".hidden.mjml", "no"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let mut all = plugins();
        all.replace(folder);
        let welcome = all.get("welcome").unwrap();
        assert_eq!(welcome.template.subject, "New");
        assert_eq!(welcome.template.category.as_deref(), Some("journey"));
        assert_eq!(welcome.plugin.as_deref(), Some("stock"));
        assert!(welcome.file.is_some() && all.get("nudge").unwrap().file.is_none());
        assert_eq!(all.get("news").unwrap().plugin, None);
        assert!(all.layout().is_some());
    }

    #[test]
    fn an_invalid_file_is_named_with_its_line() {
        let head = "+++\nsubject = \"x\"\n";
        for (name, text, expected) in [
            (
                "welcome.mjml",
                "<p>x</p>",
                "welcome.mjml, line 1: the file must begin with",
            ),
            (
                "welcome.mjml",
                "+++\nsubject = \"x\"\nsubjct = 1\n+++\n",
                "welcome.mjml, line 3: ",
            ),
            (
                "welcome.mjml",
                &format!("{head}+++\n<p>\n{{{{ oops }}</p>"),
                "welcome.mjml, line 5: the html",
            ),
            (
                "welcome.mjml",
                &format!(
                    "{head}+++\n<mj-section>\n<mj-column>\n<mj-txt>x</mj-txt>\n</mj-column></mj-section>"
                ),
                "welcome.mjml, line 6: the MJML",
            ),
            (
                "welcome.mjml",
                "+++\nsubject = \"{% if %}\"\n+++\n<p>x</p>",
                "welcome.mjml, line 2: the subject",
            ),
            (
                "welcome.mjml",
                &format!("{head}category = \"biling\"\n+++\n"),
                "line 3: there is no category 'biling' (did you mean 'billing'?)",
            ),
            (
                "welcome.mjml",
                &format!("{head}category = \"a b\"\n+++\n"),
                "line 3: 'a b' is not a category",
            ),
            (
                "mine.mjml",
                &format!("{head}+++\n<p>x</p>"),
                "mine.mjml, line 1: no plugin provides",
            ),
            ("näh.mjml", head, "näh.mjml: the name of the file"),
            ("layout.mjml", "<p>x</p>", "layout.mjml: a layout is"),
            (
                "layout.mjml",
                "<mjml>\n<mj-body>{{ body }</mj-body></mjml>",
                "layout.mjml, line 2: ",
            ),
            (
                "welcome.mjml",
                &format!("{head}+++\n{}", "x".repeat(1_100_000)),
                "welcome.mjml: it is larger",
            ),
        ] {
            let (_, problems) = read(&[(name, text)]);
            assert_eq!(problems.len(), 1, "{name}: {problems:?}");
            let start = problems[0].starts_with("TEMPLATE_DIR has ");
            assert!(
                start && problems[0].contains(expected),
                "{expected}: {problems:?}"
            );
        }
        let missing = Folder::read(Path::new("/no/such/folder"), &plugins(), &[]);
        assert!(missing.problems[0].to_string().contains("cannot be read"));
    }

    #[test]
    fn what_is_in_use_takes_the_place_of_a_faulty_file() {
        let head = |subject: &str| format!("+++\nsubject = \"{subject}\"\n+++\n<p>x</p>");
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("welcome.mjml", &head("First"));
        write("nudge.mjml", &head("First"));
        write(
            super::LAYOUT_FILE,
            "<mjml><mj-body>{{ body }}</mj-body></mjml>",
        );
        let mut in_use = plugins();
        in_use.replace(Folder::read(folder.path(), &plugins(), &["journey"]));

        write("welcome.mjml", "+++\nsubject = \"{% if %}\"\n+++\n");
        write("nudge.mjml", &head("Second"));
        write(super::LAYOUT_FILE, "<p>x</p>");
        let again = |path: &Path| {
            let read = Folder::read_beside(path, &plugins(), &["journey"], &in_use);
            let count = read.problems.len();
            let mut all = plugins();
            all.replace(read);
            let subject = |key| all.get(key).unwrap().template.subject.clone();
            (
                count,
                subject("welcome"),
                subject("nudge"),
                all.layout().is_some(),
            )
        };
        assert_eq!(
            again(folder.path()),
            (2, "First".into(), "Second".into(), true)
        );
        let path = folder.path().to_owned();
        drop(folder);
        assert_eq!(again(&path), (1, "First".into(), "First".into(), true));
    }

    #[test]
    fn a_key_close_to_another_gives_a_warning() {
        let (folder, problems) = read(&[(
            "welcom.mjml",
            "+++\nsubject = \"x\"\ncategory = \"journey\"\n+++\n<p>x</p>",
        )]);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(
            folder.warnings[0].contains("did you mean welcome.mjml?"),
            "{:?}",
            folder.warnings
        );
    }
}
