//! `hogsend plugin …`: checking, adding, locking and removing libraries.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::plugins::library;
use crate::support::process::run;

/// A folder to work in, with a plugin folder in it.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("plugins")).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.path().join("plugins"), mode).unwrap();
        Self(place)
    }

    pub fn plugins(&self) -> PathBuf {
        self.0.path().join("plugins")
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        self.run_with(arguments, &[])
    }

    /// Runs the program with further variables.
    pub fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> (bool, String) {
        let own = [("PLUGIN_DIR", "plugins"), ("HOGSEND_DATA_DIR", "data")];
        let variables = [&own[..], more].concat();
        let (code, said) = run(self.0.path(), arguments, &variables);
        (code == Some(0), said)
    }
}

/// A library of C with a plugin header's name, and this code.
fn hostile(folder: &Path, code: &str) -> PathBuf {
    let (source, library) = (folder.join("hostile.c"), folder.join("hostile.so"));
    let code = format!("#include <stdlib.h>\nvoid *hogsend_plugin_header_v1__x;\n{code}\n");
    fs::write(&source, code).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    assert!(built.unwrap().success());
    library
}

#[test]
fn a_library_is_checked_in_a_process_of_its_own() {
    let place = Place::new();
    for (plugin, expected) in [
        ("lifecycle", "16 compiled and rendered"),
        ("posthog", "the sample is read as user.created"),
        ("postmark", "a mail is prepared as application/json"),
        ("ses", "give values with --set NAME=VALUE"),
        ("slack", "starts with sample settings"),
    ] {
        let file = library(plugin);
        let (sound, said) = place.run(&["plugin", "check", file.to_str().unwrap()]);
        assert!(sound && said.contains("nothing to fix"), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let file = library("ses");
    let check = [
        "plugin",
        "check",
        file.to_str().unwrap(),
        "--set",
        "SES_REGION=eu-west-1",
    ];
    let (sound, said) = place.run(&check);
    assert!(sound && said.contains("ok    delivery"), "{said}");
    let file = library("lifecycle");
    let (_, said) = place.run(&["plugin", "check", file.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["manifest"]["id"], "lifecycle");
    let names = report["checks"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["file", "manifest", "start", "templates", "journeys"]
    );

    let attribute = "__attribute__((constructor)) static void begin(void)";
    for (code, expected) in [
        ("{ abort(); }", "signal 6"),
        ("{ *(volatile int *)0 = 1; }", "signal 11"),
        ("{ exit(0); }", "ended early"),
        ("{ exit(3); }", "exit code 3"),
    ] {
        let file = hostile(place.0.path(), &format!("{attribute} {code}"));
        let (sound, said) = place.run(&["plugin", "check", file.to_str().unwrap()]);
        assert!(
            !sound && said.contains(expected) && said.contains("FAIL  file"),
            "{said}"
        );
    }
    let (sound, said) = place.run(&["plugin", "check", "/no/such/file.so"]);
    assert!(!sound && said.contains("PLUGIN-001"), "{said}");
    // `plugins` is the former name of the command.
    assert!(place.run(&["plugins", "list"]).0);
}

#[test]
fn a_library_is_added_locked_and_removed() {
    let place = Place::new();
    let slack = library("slack");
    let slack = slack.to_str().unwrap();
    let installed = place.plugins().join("libhogsend_plugin_slack.so");
    let zeros = "0".repeat(64);
    for (arguments, expected) in [
        (
            &["plugin", "add", slack, "--sha256", &zeros] as &[&str],
            "nothing was added",
        ),
        (
            &["plugin", "add", slack, "--sha256", "7"],
            "64 hexadecimal digits",
        ),
        (
            &["plugin", "add", "http://acme.test/x.so", "--sha256", &zeros],
            "not https",
        ),
        (
            &["plugin", "add", "https://acme.test/x.so"],
            "--sha256 is required",
        ),
        (&["plugin", "add", "/bin/true"], "PLUGIN-002"),
        (&["plugin", "remove", "acme"], "no library 'acme'"),
    ] {
        let (done, said) = place.run(arguments);
        assert!(!done && said.contains(expected), "{expected}: {said}");
        assert_eq!(fs::read_dir(place.plugins()).unwrap().count(), 0, "{said}");
    }
    let (done, said) = place.run(&["plugin", "add", slack]);
    assert!(done && said.contains("plugin slack"), "{said}");
    let mode = fs::metadata(&installed).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let lock = || fs::read_to_string(place.plugins().join("plugins.lock")).unwrap();
    assert!(
        lock().contains("  libhogsend_plugin_slack.so\n"),
        "{}",
        lock()
    );
    let (done, said) = place.run(&["plugin", "add", slack]);
    assert!(!done && said.contains("--replace"), "{said}");
    assert!(place.run(&["plugin", "add", slack, "--replace"]).0);
    let renamed = place.0.path().join("another.so");
    fs::copy(slack, &renamed).unwrap();
    let (done, said) = place.run(&["plugin", "add", renamed.to_str().unwrap()]);
    assert!(!done && said.contains("is plugin 'slack'"), "{said}");

    // One that was copied by hand is refused until it is approved.
    fs::copy(library("postmark"), place.plugins().join("postmark.so")).unwrap();
    let (done, said) = place.run(&["plugin", "list"]);
    assert!(
        !done && said.contains("PLUGIN-012") && said.contains("hogsend plugin lock"),
        "{said}"
    );
    let (done, said) = place.run(&["plugin", "lock"]);
    assert!(done && said.contains("new        postmark.so"), "{said}");
    assert!(place.run(&["plugin", "list"]).0);

    assert!(place.run(&["plugin", "remove", "slack"]).0);
    assert!(place.run(&["plugin", "remove", "postmark.so"]).0);
    assert!(!lock().contains(".so"), "{}", lock());
    assert_eq!(fs::read_dir(place.plugins()).unwrap().count(), 1);
}
