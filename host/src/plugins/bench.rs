//! Plugin calls without threads and deadlines, to benchmark the call itself.

use std::path::Path;

use hogsend_plugin_api::Settings;
use hogsend_plugin_api::call::CallError;
use hogsend_plugin_api::export::linked;

use super::caller::read_error;
use super::{loader, preflight};

/// A call of a method.
pub type Call = Box<dyn Fn(u32, &[u8]) -> Result<Vec<u8>, CallError>>;

/// The same plugin, linked and loaded.
pub struct Direct {
    pub linked: Call,
    pub loaded: Call,
}

/// Starts the linked plugin of this id and the library at `file`, both without settings.
///
/// # Panics
///
/// Where there is no such plugin or the library is refused.
pub fn direct(id: &str, file: &Path) -> Direct {
    let found = linked()
        .find(|plugin| (plugin.manifest)().id == id)
        .expect("a linked plugin of this id");
    let instance = (found.create)(&Settings::default()).expect("the linked plugin starts");
    let cache = std::env::temp_dir().join("hogsend-bench-plugins");
    let read = preflight::read(file).expect("the file can be read");
    let checked = preflight::check(read, None, &cache).expect("the file is a plugin");
    let root = loader::load(&checked).expect("the library loads").root;
    let settings = serde_json::to_vec(&Settings::default()).expect("settings are JSON");
    let number = root
        .create(&settings)
        .map_err(|bytes| read_error(&bytes))
        .expect("the loaded plugin starts");
    Direct {
        linked: Box::new(move |method, input| instance.call(method, input)),
        loaded: Box::new(move |method, input| {
            root.call(number, method, input)
                .map_err(|bytes| read_error(&bytes))
        }),
    }
}
