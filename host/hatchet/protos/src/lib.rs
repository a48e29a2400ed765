//! Makes `host/hatchet/src/generated` from the `.proto` files here. The result is committed, so that a build needs
//! neither `protoc` nor this crate.

use std::path::{Path, PathBuf};

/// The files that [`generate`] makes: one for each package.
pub const FILES: [&str; 2] = ["_.rs", "v1.rs"];

/// Where they are committed.
pub fn committed() -> PathBuf {
    root().join("../src/generated")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the code into a folder.
///
/// # Panics
/// Where a `.proto` file is wrong, or the folder cannot be written.
pub fn generate(into: &Path) {
    let compiled = protox::compile(["hatchet.proto", "v1.proto"], [root()]);
    let compiled = compiled.expect("the .proto files compile");
    tonic_prost_build::configure()
        .build_transport(false)
        .server_mod_attribute(".", "#[cfg(feature = \"stand-in\")]")
        .out_dir(into)
        .compile_fds(compiled)
        .expect("the code can be written");
}
