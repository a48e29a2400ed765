//! The templates of this installation: those of plugins, and the files of `TEMPLATE_DIR`, which
//! override them or add to them.

mod folder;
mod partials;
mod preview;

pub use folder::{FOLDERS, Folder, LAYOUT_FILE, is_template, try_out};
pub use preview::{preview, sample_person};

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::Catalogue;

/// The default category, where template and journey name none.
pub const CATEGORY: &str = "journey";

/// The category of a template's mails, where no journey sets another.
pub fn category(template: &Template) -> &str {
    template.category.as_deref().unwrap_or(CATEGORY)
}

/// A template and its origin.
#[derive(Clone, Debug)]
pub struct Entry {
    pub template: Template,
    /// The plugin that provides it, or the template it replaces.
    pub plugin: Option<String>,
    /// The file in `TEMPLATE_DIR`.
    pub file: Option<PathBuf>,
    /// The layout that the file chooses in place of the usual one.
    pub layout: Option<String>,
}

/// Every template, by key, and the layout around them.
#[derive(Debug, Default)]
pub struct Templates {
    all: BTreeMap<String, Entry>,
    layout: Option<String>,
    /// Messages logged already.
    logged: Mutex<HashSet<String>>,
}

impl Templates {
    /// Adds the templates of a plugin.
    pub fn add(&mut self, plugin: &str, catalogue: &Catalogue) {
        for template in &catalogue.templates {
            let entry = Entry {
                template: template.clone(),
                plugin: Some(plugin.to_owned()),
                file: None,
                layout: None,
            };
            self.all.insert(template.key.clone(), entry);
        }
    }

    /// Overrides templates of plugins with the files of a folder.
    pub fn replace(&mut self, folder: Folder) {
        for (key, read) in folder.templates {
            let plugin = self.all.get(&key).and_then(|entry| entry.plugin.clone());
            let entry = Entry {
                template: read.template,
                plugin,
                file: Some(read.file),
                layout: read.layout,
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

    /// The layout file that replaces the host's own layout.
    pub fn layout(&self) -> Option<&str> {
        self.layout.as_deref()
    }

    /// The layout around this template; `None` for the host's own.
    pub fn layout_of(&self, key: &str) -> Option<&str> {
        let own = self.get(key).and_then(|entry| entry.layout.as_deref());
        own.or(self.layout())
    }

    /// Whether this message is new. A warning that repeats with every mail is logged once.
    pub fn first_time(&self, what: &str) -> bool {
        let logged = self.logged.lock();
        // Bounded, because messages may contain values from callers.
        logged.is_ok_and(|mut logged| logged.len() < 1_000 && logged.insert(what.to_owned()))
    }
}
