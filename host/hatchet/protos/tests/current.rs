use std::path::Path;

use hogsend_hatchet_protos::{FILES, committed, generate};

/// Refresh the committed code with `HATCHET_REGENERATE=1 cargo test -p hogsend-hatchet-protos`.
#[test]
fn the_committed_code_is_what_the_proto_files_give() {
    if std::env::var_os("HATCHET_REGENERATE").is_some() {
        generate(&committed());
        return;
    }
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    std::fs::create_dir_all(&fresh).unwrap();
    generate(&fresh);
    for file in FILES {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).unwrap();
        assert!(
            read(&committed()) == read(&fresh),
            "host/hatchet/src/generated/{file} is not current: \
             run HATCHET_REGENERATE=1 cargo test -p hogsend-hatchet-protos"
        );
    }
}
