//! Who may change the plugin folder and its files, and so decide what code runs.

use std::path::Path;

use super::Problem;

/// What is wrong with the owner or mode of a file or folder. Only this user and root may write to it.
#[cfg(unix)]
pub fn fault(path: &Path) -> Option<Problem> {
    use std::os::unix::fs::MetadataExt as _;

    // Unreadable paths are reported where they are read.
    let metadata = std::fs::metadata(path).ok()?;
    let us = rustix::process::geteuid().as_raw();
    let fix = judge(metadata.uid(), metadata.mode(), us)?;
    Some(Problem::of_file("PLUGIN-006", path, fix))
}

#[cfg(not(unix))]
pub fn fault(_: &Path) -> Option<Problem> {
    None
}

#[cfg(unix)]
fn judge(owner: u32, mode: u32, us: u32) -> Option<String> {
    let root = 0;
    if owner != us && owner != root {
        return Some(format!(
            "belongs to another user (number {owner}), who can replace the code that runs: `chown` it to \
             root or to the user that runs Hogsend"
        ));
    }
    let (who, fix) = match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (_, true) => ("anyone on this machine", "go-w"),
        (true, false) => ("its group", "g-w"),
        (false, false) => return None,
    };
    Some(format!("may be written by {who}: run `chmod {fix}` on it"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::judge;

    #[test]
    fn only_this_user_and_root_may_change_a_plugin() {
        for (owner, mode) in [(1000, 0o100_755), (0, 0o100_644), (1000, 0o40_700)] {
            assert_eq!(judge(owner, mode, 1000), None);
        }
        for (owner, mode, expected) in [
            (1001, 0o100_644, "another user (number 1001)"),
            (1000, 0o100_664, "its group: run `chmod g-w`"),
            (1000, 0o100_646, "anyone on this machine: run `chmod go-w`"),
            (0, 0o40_777, "anyone on this machine"),
        ] {
            let fault = judge(owner, mode, 1000).unwrap();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
