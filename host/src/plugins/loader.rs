//! Opening a checked file as a library. The only unsafe code of the host.

#![expect(unsafe_code, reason = "opens foreign libraries")]

use std::error::Error as _;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use hogsend_plugin_api::abi::{Mismatch, Root, negotiate};
use hogsend_plugin_api::limits;
use hogsend_plugin_api::wire::{self, LeftOut};
use serde::de::DeserializeOwned;

use libloading::os::unix;

use super::Problem;
use super::preflight::Checked;

/// Loads a checked file for the rest of the process's life: a library that has used a thread-local
/// cannot be unloaded safely.
pub fn open(file: &Checked) -> Result<Root, Problem> {
    let refused = |code, message: String| Problem::of_file(code, &file.original, message);
    // Binds all symbols now: with lazy binding, a function the system lacks would end the process
    // at its first call instead of refusing the file here.
    let flags = unix::RTLD_NOW | unix::RTLD_LOCAL;
    // SAFETY: the file is a complete shared library for this machine that exports a plugin header;
    // the operator vouches for its constructors by placing or pinning the file.
    let library =
        unsafe { unix::Library::open(Some(file.copy.path()), flags) }.map_err(|error| {
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            refused(
                "PLUGIN-008",
                format!(
                    "the system cannot load it ({reason}): build it on an older or the same system"
                ),
            )
        })?;
    // SAFETY: the name was found in the file's own symbol table; only its address is taken here.
    let symbol = unsafe { library.get::<*const std::ffi::c_void>(file.symbol.as_bytes()) };
    let address = symbol.map(|symbol| *symbol).map_err(|error| {
        refused(
            "PLUGIN-008",
            format!("its header cannot be found ({error}): build it again"),
        )
    })?;
    std::mem::forget(library);
    watch_exits();
    // SAFETY: a symbol of this name, in a library that stays loaded from here on.
    unsafe { negotiate(address) }.map_err(|mismatch| {
        if let Mismatch::Layout { dump, .. } = &mismatch {
            tracing::debug!(file = %file.original.display(), dump, "the layouts differ");
        }
        refused(
            "PLUGIN-007",
            format!(
                "{mismatch}: build the plugin again with hogsend-plugin-api {}, or get that build from its author",
                hogsend_plugin_api::abi::API_VERSION
            ),
        )
    })
}

/// The manifest of a loaded library, and what of it this host cannot read.
pub fn manifest<T: DeserializeOwned>(file: &Checked, root: Root) -> Result<(T, LeftOut), Problem> {
    let refused = |message| Problem::of_file("PLUGIN-009", &file.original, message);
    let bytes = root.manifest();
    limits::MANIFEST.check(bytes.len()).map_err(refused)?;
    wire::read(&bytes).map_err(|error| {
        refused(format!(
            "its manifest cannot be read ({error}): report this to the plugin's author"
        ))
    })
}

/// While it lives, the process ends by itself only: a library that calls `exit` ends it with a failure, whatever
/// status it gave, so that what supervises the process starts it again.
#[derive(Debug)]
#[must_use]
pub struct ExitGuard(());

static GUARDED: AtomicBool = AtomicBool::new(false);
static WATCHED: Once = Once::new();

/// Exit status of a process that a library ended (sysexits' `EX_SOFTWARE`).
const ENDED_BY_LIBRARY: libc::c_int = 70;

impl ExitGuard {
    pub fn set() -> Self {
        GUARDED.store(true, Ordering::SeqCst);
        Self(())
    }

    /// From now on an exit is the host's own.
    pub fn release() {
        GUARDED.store(false, Ordering::SeqCst);
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        Self::release();
    }
}

fn watch_exits() {
    extern "C" fn at_exit() {
        if GUARDED.load(Ordering::SeqCst) {
            eprintln!(
                "hogsend: a plugin called exit, which ends this process: run it in a process of its own (isolation = \"process\" in plugins.toml)"
            );
            // SAFETY: ends the process; nothing of it is used afterwards.
            unsafe { libc::_exit(ENDED_BY_LIBRARY) }
        }
    }
    WATCHED.call_once(|| {
        // SAFETY: the function is of this program, which is never unloaded, and does not unwind.
        if unsafe { libc::atexit(at_exit) } != 0 {
            tracing::warn!("a plugin that calls exit(0) will end this process with success: the system takes no further exit handler");
        }
    });
}
