//! The binary interface of a plugin library. This is the only file that names abi_stable's types.
//!
//! A library exports one symbol, `hogsend_plugin_header_v1__<crate>`: an abi_stable header that
//! leads to [`PluginRoot`], three functions that take and return bytes. Within ABI major version 1
//! the struct only gains fields, after its last prefix field.

#![expect(unsafe_code, reason = "reads the header of a foreign library")]

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::{AbiHeaderRef, CheckTypeLayout, LibraryError, RootModule};
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;

#[doc(hidden)]
pub use abi_stable::{
    library::{__call_root_module_loader, LibHeader, RootModuleResult},
    prefix_type::PrefixTypeTrait,
    std_types::{RResult, RSlice, RVec},
};

/// Prefix of the one exported symbol; the name of the plugin's crate follows.
pub const HEADER_PREFIX: &str = "hogsend_plugin_header_v1__";

/// The version of this crate. The header of a library carries the version it was built with.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The functions a library exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRootRef)))]
#[sabi(missing_field(option))]
pub struct PluginRoot {
    /// Returns the [`Manifest`](crate::Manifest) as JSON.
    pub manifest: extern "C" fn() -> RVec<u8>,
    /// Takes the [`Settings`](crate::Settings) as JSON. Returns the number of the new instance, or
    /// a [`CallError`](crate::call::CallError) as JSON.
    pub create: extern "C" fn(RSlice<'_, u8>) -> RResult<u64, RVec<u8>>,
    /// Takes the instance, the method number and the input as JSON. Returns the output or a
    /// [`CallError`](crate::call::CallError), both as JSON.
    #[sabi(last_prefix_field)]
    pub call: extern "C" fn(u64, u32, RSlice<'_, u8>) -> RResult<RVec<u8>, RVec<u8>>,
}

impl RootModule for PluginRootRef {
    abi_stable::declare_root_module_statics! {PluginRootRef}
    const BASE_NAME: &'static str = "hogsend_plugin";
    const NAME: &'static str = "hogsend_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// The header that [`export_plugin!`](crate::export_plugin) exports.
#[doc(hidden)]
pub const fn header(load: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: only the macro creates `load`, and it returns a `PluginRootRef`.
    unsafe { LibHeader::from_constructor::<PluginRootRef>(load, CheckTypeLayout::Yes) }
}

/// Why the host refused a library's header. The message continues a sentence about the library.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// The header is not one of this abi_stable version.
    #[error("it was built with another abi_stable, so its header cannot be read")]
    Header,
    /// The plugin-api versions are incompatible.
    #[error("it was built for plugin-api {found}, this host has {API_VERSION}")]
    Version {
        /// The plugin-api version in the header.
        found: String,
    },
    /// The versions are compatible, but the types of the interface are not.
    #[error("it was built for plugin-api {found} but its layout differs: {summary}")]
    Layout {
        /// The plugin-api version in the header.
        found: String,
        /// The first difference, on one line.
        summary: String,
        /// The full comparison, for a debug log.
        dump: String,
    },
    /// The library's loader function failed.
    #[error("it could not start: {0}")]
    Start(String),
}

/// The functions of a loaded library whose layout [`negotiate`] has checked.
#[derive(Clone, Copy)]
pub struct Root(PluginRootRef);

impl Root {
    /// The [`Manifest`](crate::Manifest) as JSON; empty where the plugin panicked.
    pub fn manifest(&self) -> Vec<u8> {
        (self.0.manifest())().into_vec()
    }

    /// Creates an instance from settings as JSON and returns its number.
    ///
    /// # Errors
    ///
    /// A [`CallError`](crate::call::CallError) as JSON.
    pub fn create(&self, settings: &[u8]) -> Result<u64, Vec<u8>> {
        (self.0.create())(settings.into())
            .into_result()
            .map_err(RVec::into_vec)
    }

    /// Calls a method ([`method`](crate::call::method)) with JSON and returns JSON.
    ///
    /// # Errors
    ///
    /// A [`CallError`](crate::call::CallError) as JSON.
    pub fn call(&self, instance: u64, method: u32, input: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        (self.0.call())(instance, method, input.into())
            .into_result()
            .map(RVec::into_vec)
            .map_err(RVec::into_vec)
    }
}

/// Checks the header at `symbol` against this host and returns its functions.
///
/// abi_stable accepts a library that is as new as the host or newer. The check is repeated with
/// the roles swapped, so that an older library still loads after a host upgrade.
///
/// # Errors
///
/// The library was built with an incompatible abi_stable or plugin-api, or failed to start.
///
/// # Safety
///
/// `symbol` is the address of a symbol named [`HEADER_PREFIX`]… in a library that stays loaded.
pub unsafe fn negotiate(symbol: *const c_void) -> Result<Root, Mismatch> {
    // SAFETY: the symbol of this name is a `LibHeader`, which begins with the `AbiHeader` that
    // `upgrade` inspects before anything else is read.
    let header: AbiHeaderRef = unsafe { std::mem::transmute(symbol) };
    let header = header.upgrade().map_err(|_| Mismatch::Header)?;
    let found = header.version_strings().version.to_string();
    let refused = match header.init_root_module::<PluginRootRef>() {
        Ok(root) => return Ok(Root(root)),
        Err(LibraryError::AbiInstability(dump)) => dump.to_string(),
        Err(LibraryError::IncompatibleVersionNumber { .. }) => {
            return Err(Mismatch::Version { found });
        }
        Err(error) => return Err(Mismatch::Start(error.to_string())),
    };
    let older = header.layout().is_some_and(|library| {
        check_layout_compatibility(library, <PluginRootRef as StableAbi>::LAYOUT).is_ok()
    });
    if !older {
        return Err(Mismatch::Layout {
            found,
            summary: summarise(&refused),
            dump: refused,
        });
    }
    // SAFETY: the library's layout is a prefix of this host's; fields it lacks read as `None`.
    unsafe { header.unchecked_layout::<PluginRootRef>() }
        .map(Root)
        .map_err(|error| Mismatch::Start(error.to_string()))
}

/// The first error of a layout dump, on one line.
fn summarise(dump: &str) -> String {
    let lines: Vec<&str> = dump.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with("Error:"));
    let words = at.map(|at| lines[at..(at + 5).min(lines.len())].join(" "));
    let words = words.unwrap_or_else(|| "the types differ".into());
    words.chars().take(200).collect()
}
