//! Plugin calls without threads and deadlines of the host, to benchmark the call itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hogsend_plugin_api::Settings;
use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::linked;

use super::caller::read_error;
use super::isolate::{Isolated, Launch, Unanswered, What};
use super::preflight::{self, Checked};
use super::{features, loader};

/// A call of a method.
pub type Call = Box<dyn Fn(u32, &[u8]) -> Result<Vec<u8>, CallError>>;

/// The same plugin, linked and loaded.
pub struct Direct {
    pub linked: Call,
    pub loaded: Call,
    /// What opening the library and starting the plugin took.
    pub loading: Duration,
}

/// The same plugin in a child process.
pub struct Apart {
    pub call: Call,
    /// The child's process id.
    pub process: u32,
    /// What starting the child and the plugin in it took.
    pub starting: Duration,
}

/// Opens and starts a changed copy of the library at `file` in this process, as a reload does, so many times, and
/// asks each for its journeys. Nothing of them is used any more when this returns.
///
/// # Panics
///
/// Where the library is refused or has no journeys.
pub fn reload(file: &Path, times: usize) -> Vec<Duration> {
    let folder = std::env::temp_dir().join("hogsend-bench-reloads");
    std::fs::create_dir_all(&folder).expect("a folder");
    let bytes = std::fs::read(file).expect("the file can be read");
    let changed = folder.join("changed.so");
    let each = (0..times).map(|number| {
        // Other bytes after the end of the library make another version of the same code.
        let version = [bytes.as_slice(), &number.to_le_bytes()].concat();
        std::fs::write(&changed, version).expect("the file can be written");
        let begun = Instant::now();
        let checked = checked(&changed);
        let root = loader::open(&checked).expect("the library loads");
        let number = root.create(&settings()).map_err(|bytes| read_error(&bytes));
        let number = number.expect("the plugin starts");
        let journeys = root.call(number, method::JOURNEYS_CATALOGUE, b"{}");
        journeys
            .map_err(|bytes| read_error(&bytes))
            .expect("it has journeys");
        let ended = root.call(number, method::PLUGIN_END, b"null");
        ended.map_err(|bytes| read_error(&bytes)).expect("it ends");
        begun.elapsed()
    });
    let each = each.collect();
    super::sweep(&copies());
    let _ = std::fs::remove_dir_all(&folder);
    each
}

/// More than any call of a benchmark takes.
const DEADLINE: Duration = Duration::from_secs(10);

fn copies() -> PathBuf {
    std::env::temp_dir().join("hogsend-bench-plugins")
}

fn checked(file: &Path) -> Checked {
    let read = preflight::read(file).expect("the file can be read");
    preflight::check(read, None, &copies()).expect("the file is a plugin")
}

fn settings() -> Vec<u8> {
    serde_json::to_vec(&Settings::default()).expect("settings are JSON")
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
    let checked = checked(file);
    let begun = Instant::now();
    let root = loader::open(&checked).expect("the library loads");
    let number = root
        .create(&settings())
        .map_err(|bytes| read_error(&bytes))
        .expect("the loaded plugin starts");
    Direct {
        linked: Box::new(move |method, input| instance.call(method, input)),
        loaded: Box::new(move |method, input| {
            root.call(number, method, input)
                .map_err(|bytes| read_error(&bytes))
        }),
        loading: begun.elapsed(),
    }
}

/// Starts the library at `file` in a child of this `hogsend` program, without settings.
///
/// # Panics
///
/// Where the library is refused or its process does not start.
pub fn apart(file: &Path, program: &Path) -> Apart {
    let Checked {
        copy,
        original,
        symbol,
        ..
    } = checked(file);
    let launch = Launch {
        host: program.to_owned(),
        folder: std::env::temp_dir(),
        memory_mb: 512,
        what: What::Library {
            copy: copy.path().to_owned(),
            original,
            symbol,
        },
    };
    let begun = Instant::now();
    let started = Isolated::start(launch, &features::host());
    let (process, _) = started
        .map_err(|problem| problem.to_string())
        .expect("the child starts");
    process.create(settings()).expect("the plugin starts");
    let starting = begun.elapsed();
    Apart {
        process: process.pid().expect("the child runs"),
        starting,
        call: Box::new(move |method, input| {
            process
                .call(method, input, DEADLINE)
                .map_err(|why| match why {
                    Unanswered::Error(fault) => fault.call_error(),
                    _ => CallError::new(CallError::PANICKED, "the child did not answer"),
                })
        }),
    }
}
