//! The committed code in `src/generated` is what the compiler makes of `protos/`. Refresh it with
//! `HATCHET_REGENERATE=1 cargo test -p hogsend-hatchet --test generated`.

use std::path::{Path, PathBuf};

const FILES: [&str; 2] = ["_.rs", "v1.rs"];

/// protox compiles the files, so neither a build nor this test needs `protoc`.
fn generate(into: &Path) {
    let protos = root().join("protos");
    let files = ["hatchet.proto", "v1.proto"];
    let compiled = protox::compile(files, [&protos]).expect("the .proto files compile");
    tonic_prost_build::configure()
        .build_transport(false)
        .server_mod_attribute(".", "#[cfg(feature = \"stand-in\")]")
        .out_dir(into)
        .compile_fds(compiled)
        .expect("code is generated");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_generated_code_is_current() {
    let committed = root().join("src/generated");
    if std::env::var_os("HATCHET_REGENERATE").is_some() {
        generate(&committed);
        return;
    }
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    std::fs::create_dir_all(&fresh).unwrap();
    generate(&fresh);
    for file in FILES {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).unwrap();
        assert!(
            read(&committed) == read(&fresh),
            "src/generated/{file} is not what protos/ gives: \
             run HATCHET_REGENERATE=1 cargo test -p hogsend-hatchet --test generated"
        );
    }
}
