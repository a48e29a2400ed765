//! Opening a checked file as a library. The only unsafe code of the host.

#![expect(unsafe_code, reason = "opens foreign libraries")]

use std::error::Error as _;
use std::sync::mpsc;
use std::time::Duration;

use hogsend_plugin_api::Manifest;
use hogsend_plugin_api::abi::{Mismatch, Root, negotiate};
use hogsend_plugin_api::wire::{self, LeftOut};

use libloading::os::unix;

use super::Problem;
use super::preflight::Checked;

/// How long a library may take to return its manifest.
const PATIENCE: Duration = Duration::from_secs(5);

/// A loaded library and its manifest.
pub struct Library {
    pub root: Root,
    pub manifest: Manifest,
    /// What of the manifest this host cannot read.
    pub left_out: LeftOut,
}

/// Loads a checked file for the rest of the process's life: a library that has used a thread-local
/// cannot be unloaded safely.
pub fn load(file: &Checked) -> Result<Library, Problem> {
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
    // SAFETY: a symbol of this name, in a library that stays loaded from here on.
    let root = unsafe { negotiate(address) }.map_err(|mismatch| {
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
    })?;
    let manifest = manifest_of(root).ok_or_else(|| {
        let message = format!(
            "did not return its manifest within {PATIENCE:?}: report this to the plugin's author"
        );
        refused("PLUGIN-016", message)
    })?;
    let (manifest, left_out) = wire::read(&manifest).map_err(|error| {
        refused(
            "PLUGIN-009",
            format!("its manifest cannot be read ({error}): report this to the plugin's author"),
        )
    })?;
    Ok(Library {
        root,
        manifest,
        left_out,
    })
}

/// Asks for the manifest on a thread of its own, since foreign code may never return. `None` where it does
/// not.
fn manifest_of(root: Root) -> Option<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(root.manifest());
    });
    receiver.recv_timeout(PATIENCE).ok()
}
