//! What a reload of a changed library takes of time, and what it leaves behind of memory. The limit is the
//! library's own data, which the system's loader writes to: libraries are never unloaded.

use std::path::{Path, PathBuf};

use hogsend::plugins::bench::{apart, reload};

use crate::microseconds;

const RELOADS: usize = 100;
/// Reloads in a child, each of which starts a process.
const CHILDREN: usize = 20;

pub fn bench() {
    let folder: PathBuf = std::env::var_os("HOGSEND_TEST_PLUGIN_DIR")
        .expect("run with `cargo xtask bench`")
        .into();
    let file = folder.join("libhogsend_plugin_lifecycle.so");
    // What the first use of the allocator and the loader takes is not counted.
    reload(&file, 3);
    let before = Memory::read();
    let mut times = reload(&file, RELOADS);
    let left = Memory::read().since(&before, RELOADS);
    times.sort_unstable();
    let size = std::fs::metadata(&file).map_or(0, |file| file.len());
    println!(
        "plugin_reload: a library of {:.1} MiB, {RELOADS} times changed and loaded in this process: each in {:.1} ms; \
         each leaves {:.2} MiB, of which {:.2} MiB are its own and the others pages of its file, which the \
         system takes back when it needs memory",
        size as f64 / 1_048_576.0,
        microseconds(times[RELOADS / 2]) / 1_000.0,
        left.resident,
        left.written,
    );
    let program = Path::new(env!("CARGO_BIN_EXE_hogsend"));
    drop(apart(&file, program));
    let before = Memory::read();
    for _ in 0..CHILDREN {
        drop(apart(&file, program));
    }
    let left = Memory::read().since(&before, CHILDREN);
    println!(
        "plugin_reload: the same in a child, {CHILDREN} times: each leaves {:.2} MiB in this process",
        left.resident
    );
}

/// Memory of this process in MiB (Linux).
struct Memory {
    resident: f64,
    /// Without the pages of files that nobody has written to.
    written: f64,
}

impl Memory {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or(0.0) / 1_024.0
        };
        Self {
            resident: mib("VmRSS:"),
            written: mib("RssAnon:"),
        }
    }

    /// What each of so many things added.
    fn since(&self, before: &Self, things: usize) -> Self {
        Self {
            resident: (self.resident - before.resident) / things as f64,
            written: (self.written - before.written) / things as f64,
        }
    }
}
