//! `cargo xtask examples`: plugins as others write them.
//!
//! Makes a plugin of each kind with `hogsend plugin new`, then tests and builds those and the crates in
//! `examples/`, each as a crate of its own, and lets the host load all of them. They share the target
//! folder and the versions of the workspace, so that few crates compile a second time and none is
//! downloaded.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use super::test::build_all;
use crate::cargo::{DEV_PROFILE, cannot_run, cargo, root, run, target_dir};

/// The kinds of `hogsend plugin new`.
const KINDS: [&str; 4] = ["delivery", "source", "analytics", "journeys"];
/// The plugins in `examples/`, with their ids.
const EXAMPLES: [(&str, &str); 4] = [
    ("json-mail", "json-mail"),
    ("github", "github"),
    ("http-collector", "http-collector"),
    ("trial", "trial"),
];
/// The binary in `examples/` that links two of them.
const OWN_HOST: &str = "own-host";
/// A plugin outside the workspace.
struct Plugin {
    folder: PathBuf,
    id: String,
    library: String,
}

/// With `--built` the host's binary is there already.
pub fn examples(args: &[String]) -> anyhow::Result<ExitCode> {
    match args {
        [] => build_all()?,
        [built] if built == "--built" => {}
        _ => bail!("`cargo xtask examples` takes no arguments but --built"),
    }
    check()?;
    Ok(ExitCode::SUCCESS)
}

/// The checks, with the binary of the host built.
pub fn check() -> anyhow::Result<()> {
    let work = target_dir()?.join("examples");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot empty {}", work.display()))?;
    }
    let (new, libraries) = (work.join("new"), work.join("plugins"));
    for folder in [&new, &libraries] {
        fs::create_dir_all(folder)?;
    }
    are_formatted()?;
    let mut plugins = Vec::new();
    for kind in KINDS {
        plugins.push(make(kind, &new)?);
    }
    for (folder, id) in EXAMPLES {
        plugins.push(Plugin {
            folder: root().join("examples").join(folder),
            id: id.to_owned(),
            library: format!("libhogsend_example_{}.so", folder.replace('-', "_")),
        });
    }
    for plugin in &plugins {
        println!("==> {}", plugin.folder.display());
        run(own("test", &plugin.folder)?.arg("--quiet"))?;
        run(own("build", &plugin.folder)?.arg("--quiet"))?;
        let built = target_dir()?.join("debug").join(&plugin.library);
        fs::copy(&built, libraries.join(&plugin.library))
            .with_context(|| format!("cannot copy {}", built.display()))?;
    }
    are_loaded(&plugins, &libraries, &work)?;
    println!("==> {OWN_HOST}");
    run(own("check", &root().join("examples").join(OWN_HOST))?.arg("--quiet"))
}

/// Makes a plugin of this kind.
fn make(kind: &str, folder: &Path) -> anyhow::Result<Plugin> {
    let id = format!("acme-{kind}");
    let mut command = host()?;
    command
        .args(["plugin", "new", &id, "--kind", kind, "--api-path"])
        .arg(root())
        .current_dir(folder);
    run(&mut command)?;
    Ok(Plugin {
        folder: folder.join(&id),
        library: format!("libhogsend_plugin_{}.so", id.replace('-', "_")),
        id,
    })
}

/// A cargo command for a crate of its own.
fn own(task: &str, folder: &Path) -> anyhow::Result<Command> {
    // The versions of the workspace, which are there already; cargo removes what the crate does not use.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let mut command = cargo(&[task])?;
    command.args(DEV_PROFILE).current_dir(folder);
    Ok(command)
}

/// The host loads every library, and has the journeys in them.
fn are_loaded(plugins: &[Plugin], libraries: &Path, work: &Path) -> anyhow::Result<()> {
    let said = |args: &[&str]| -> anyhow::Result<String> {
        let mut command = host()?;
        command
            .args(args)
            .env_clear()
            .env("PLUGIN_DIR", libraries)
            .env("HOGSEND_DATA_DIR", work.join("data"))
            .env("TRIAL_UPGRADE_URL", "https://app.example.com/upgrade")
            .current_dir(work);
        let output = command.output().with_context(|| cannot_run(&command))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("`hogsend {}` failed: {text}{why}", args.join(" "));
        }
        Ok(text)
    };
    let listed = said(&["plugin", "list"])?;
    for Plugin { id, .. } in plugins {
        let start = format!("{id} ");
        let loaded = |line: &str| line.starts_with(&start) && line.contains("loaded from");
        if !listed.lines().any(loaded) {
            bail!("the host does not load '{id}':\n{listed}");
        }
    }
    let journeys = said(&["journeys", "list"])?;
    for journey in ["acme-journeys-welcome", "trial"] {
        if !journeys.contains(journey) {
            bail!("the host lacks the journey '{journey}':\n{journeys}");
        }
    }
    println!("the host loads {} plugins", plugins.len());
    Ok(())
}

fn host() -> anyhow::Result<Command> {
    Ok(Command::new(target_dir()?.join("debug").join("hogsend")))
}

/// `cargo fmt` does not see files outside the workspace.
fn are_formatted() -> anyhow::Result<()> {
    let mut command = Command::new("rustfmt");
    command.args(["--check", "--edition", "2024"]);
    let mut folders = vec![
        root().join("examples"),
        root().join("host/plugin-templates"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && path.file_name() != Some(OsStr::new("target")) {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("rs")) {
                command.arg(path);
            }
        }
    }
    run(&mut command)
}
