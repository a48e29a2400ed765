//! The templates of this installation: those that plugins bring, and the files of `TEMPLATE_DIR`,
//! which take their places or add to them.

mod folder;
mod preview;

pub use folder::{Folder, LAYOUT_FILE};
pub use preview::{preview, sample_person};

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::Catalogue;

/// The category of mails whose template and journey name none.
pub const CATEGORY: &str = "journey";

/// What people leave who want no more mails of a template, where no journey says so.
pub fn category(template: &Template) -> &str {
    template.category.as_deref().unwrap_or(CATEGORY)
}

/// A template and where it comes from.
#[derive(Clone, Debug)]
pub struct Entry {
    pub template: Template,
    /// The plugin that brings it, or brings the one it stands for.
    pub plugin: Option<String>,
    /// Of `TEMPLATE_DIR`.
    pub file: Option<PathBuf>,
}

/// Every template, by key, and the layout around them.
#[derive(Debug, Default)]
pub struct Templates {
    all: BTreeMap<String, Entry>,
    layout: Option<String>,
    /// What was said once.
    told: Mutex<HashSet<String>>,
}

impl Templates {
    /// Takes the templates of a plugin.
    pub fn add(&mut self, plugin: &str, catalogue: &Catalogue) {
        for template in &catalogue.templates {
            let entry = Entry {
                template: template.clone(),
                plugin: Some(plugin.to_owned()),
                file: None,
            };
            self.all.insert(template.key.clone(), entry);
        }
    }

    /// Puts the files of a folder in the place of what plugins bring.
    pub fn replace(&mut self, folder: Folder) {
        for (key, (template, path)) in folder.templates {
            let plugin = self.all.get(&key).and_then(|entry| entry.plugin.clone());
            let entry = Entry {
                template,
                plugin,
                file: Some(path),
            };
            self.all.insert(key, entry);
        }
        self.layout = folder.layout.or(self.layout.take());
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.all.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.all.values()
    }

    /// The layout of a file, in place of the host's own.
    pub fn layout(&self) -> Option<&str> {
        self.layout.as_deref()
    }

    /// Whether this is said for the first time: what repeats with every mail is worth one line.
    pub fn first_time(&self, what: &str) -> bool {
        let told = self.told.lock();
        // Bounded: some of it is made of what callers send.
        told.is_ok_and(|mut told| told.len() < 1_000 && told.insert(what.to_owned()))
    }
}
