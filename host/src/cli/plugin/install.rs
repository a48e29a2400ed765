//! `hogsend plugin add`, `lock` and `remove`: the libraries in `PLUGIN_DIR` and their lock.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use hogsend_plugin_api::{Kind, Manifest};
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::check::{Values, probe};
use super::download::{Download, SIZE_MAX, shown, too_large};
use super::list::kind;
use crate::cli::{Environment, Misconfigured};
use crate::config::{Config, Mode};
use crate::plugins::lock::{self, Lock};
use crate::plugins::owner_fault;
use crate::telemetry;

const APPLY: &str = "restart the API and the worker, or send both SIGHUP, to use this";

#[derive(Args)]
pub struct Add {
    /// A file, or an https URL
    source: String,
    /// The SHA-256 that the library must have, in hex; required for a URL
    #[arg(long)]
    sha256: Option<String>,
    /// Replace a file of the same name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    download: Download,
    #[command(flatten)]
    values: Values,
}

/// Checks a library and copies it into the plugin folder.
pub async fn add(environment: &Environment, wanted: Add) -> anyhow::Result<()> {
    let (config, dir) = folder(environment)?;
    let expected = match &wanted.sha256 {
        None => None,
        Some(text) => Some(lock::sha256(text).with_context(|| {
            format!("--sha256 '{text}' is no SHA-256: it has 64 hexadecimal digits")
        })?),
    };
    let (bytes, source) = match Url::parse(&wanted.source) {
        Ok(url) if url.scheme().len() > 1 && !Path::new(&wanted.source).exists() => {
            if expected.is_none() {
                bail!(
                    "--sha256 is required for a URL: get the hash from the plugin's author, not from the same server"
                );
            }
            let source = shown(&url);
            (wanted.download.fetch(url).await?, source)
        }
        _ => (read(Path::new(&wanted.source))?, wanted.source.clone()),
    };
    let sha256 = hex::encode(Sha256::digest(&bytes));
    if let Some(expected) = expected.filter(|expected| *expected != sha256) {
        bail!(
            "{source} has the SHA-256 {sha256}, not {expected}: it is another file than you asked for, nothing was added"
        );
    }
    // The very bytes that were verified are checked and installed, under a name that is not loaded.
    let checked = dir.join(format!(".{}.checked", uuid::Uuid::new_v4().simple()));
    let checked = Temporary(checked);
    lock::replace(&checked.0, &bytes).with_context(|| cannot_write(&dir))?;
    let report = probe(&checked.0, &wanted.values).await?;
    let manifest = match &report.manifest {
        Some(manifest) if report.is_sound() => manifest,
        _ => {
            let problems: Vec<String> = report.faults().collect();
            bail!("{source} was not added:\n  {}", problems.join("\n  "));
        }
    };
    let name = name_of(&wanted.source, manifest);
    let target = dir.join(&name);
    if target.exists() && !wanted.replace {
        bail!(
            "{} exists already: give --replace to replace it",
            target.display()
        );
    }
    refuse_second(&dir, &name, manifest).await?;
    fs::rename(&checked.0, &target).with_context(|| cannot_write(&dir))?;
    // Without a lock every library of the folder is loaded: all of them are listed then.
    let mut listed = match Lock::read(&dir)? {
        Some(listed) => listed,
        None => of_folder(&dir)?,
    };
    listed.insert(&name, &sha256);
    listed.write(&dir).with_context(|| cannot_write(&dir))?;
    let kinds: Vec<&str> = manifest.kinds.iter().copied().map(kind).collect();
    println!(
        "added {}: plugin {} {} ({}), sha256 {sha256}",
        target.display(),
        manifest.id,
        manifest.version,
        kinds.join(", ")
    );
    for setting in manifest.settings.iter().filter(|one| one.required) {
        let set = environment.get(&setting.name);
        if set.is_none_or(|value| value.trim().is_empty()) {
            println!("set {}: {}", setting.name, setting.help);
        }
    }
    println!("{APPLY}");
    warn(&config, &target);
    Ok(())
}

/// Writes the lock anew.
pub fn lock(environment: &Environment) -> anyhow::Result<()> {
    let (_, dir) = folder(environment)?;
    // A lock that cannot be read is what this command is for.
    let old = Lock::read(&dir).ok().flatten().unwrap_or_default();
    let new = of_folder(&dir)?;
    for (name, hash) in new.entries() {
        match old.entries().find(|(known, _)| *known == name) {
            Some((_, known)) if known == hash => println!("unchanged  {name}"),
            Some(_) => println!("changed    {name}  sha256 {hash}"),
            None => println!("new        {name}  sha256 {hash}"),
        }
    }
    for (name, _) in old.entries() {
        if new.entries().all(|(known, _)| known != name) {
            println!("gone       {name}");
        }
    }
    new.write(&dir).with_context(|| cannot_write(&dir))?;
    println!("wrote {}", Lock::path(&dir).display());
    Ok(())
}

/// Deletes a library and its entry of the lock.
pub async fn remove(environment: &Environment, plugin: &str) -> anyhow::Result<()> {
    let (_, dir) = folder(environment)?;
    let files = libraries(&dir)?;
    let named = |file: &&PathBuf| file.file_name().is_some_and(|name| name == plugin);
    let mut found: Vec<PathBuf> = files.iter().filter(named).cloned().collect();
    if found.is_empty() {
        for file in &files {
            let report = probe(file, &Values::default()).await?;
            if report
                .manifest
                .is_some_and(|manifest| manifest.id == plugin)
            {
                found.push(file.clone());
            }
        }
    }
    let mut listed = Lock::read(&dir)?;
    let unlisted = match &mut listed {
        // A file that is gone already may still be listed.
        Some(listed) if found.is_empty() => listed.remove(plugin),
        _ => false,
    };
    match found.as_slice() {
        [] if unlisted => println!("removed {plugin} from plugins.lock; the file was gone already"),
        [] => bail!(
            "{} has no library '{plugin}', and none of a plugin with this id",
            dir.display()
        ),
        [file] => {
            fs::remove_file(file).with_context(|| cannot_write(&dir))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if let Some(listed) = &mut listed {
                listed.remove(&name);
            }
            println!("removed {}", file.display());
        }
        several => {
            let names = several.iter().filter_map(|file| file.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            bail!(
                "'{plugin}' is in several files: name one of {}",
                names.join(", ")
            );
        }
    }
    if let Some(listed) = listed {
        listed.write(&dir).with_context(|| cannot_write(&dir))?;
    }
    println!("{APPLY}");
    Ok(())
}

/// The plugin folder, made if it does not exist.
fn folder(environment: &Environment) -> anyhow::Result<(Config, PathBuf)> {
    let config = environment.config(Mode::Plugins)?;
    telemetry::init(&config);
    let dir = config.plugin_dir.clone();
    let dir = dir.context("PLUGIN_DIR is not set: it is the folder of plugin libraries")?;
    if !dir.exists() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
        builder
            .create(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
    }
    if let Some(fault) = owner_fault(&dir) {
        match config.production {
            true => return Err(Misconfigured::of(&[fault]).into()),
            false => eprintln!("{fault}"),
        }
    }
    Ok((config, dir))
}

fn warn(config: &Config, file: &Path) {
    if let Some(fault) = owner_fault(file).filter(|_| !config.production) {
        eprintln!("{fault}");
    }
}

fn cannot_write(dir: &Path) -> String {
    format!("cannot write into {}", dir.display())
}

fn libraries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let is_library = |path: &PathBuf| {
        let extension = path.extension();
        extension.is_some_and(|own| own == std::env::consts::DLL_EXTENSION)
    };
    let mut files: Vec<PathBuf> = files.filter(is_library).collect();
    files.sort();
    Ok(files)
}

/// A lock of every library in the folder.
fn of_folder(dir: &Path) -> anyhow::Result<Lock> {
    let mut lock = Lock::default();
    for file in libraries(dir)? {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{}: the name is not UTF-8", file.display()))?;
        lock.insert(name, &hex::encode(Sha256::digest(read(&file)?)));
    }
    Ok(lock)
}

/// The name of the installed file: the source's own, or one made of the plugin's id.
fn name_of(source: &str, manifest: &Manifest) -> String {
    let path = Url::parse(source).map_or_else(|_| source.to_owned(), |url| url.path().to_owned());
    let last = path.rsplit('/').next().unwrap_or_default();
    let extension = format!(".{}", std::env::consts::DLL_EXTENSION);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = last.ends_with(&extension)
        && last.len() <= 120
        && !last.starts_with('.')
        && last.chars().all(plain);
    match fits {
        true => last.to_owned(),
        false => format!("{}{extension}", manifest.id),
    }
}

/// Refuses a library whose plugin is in another file, unless they are two versions that can run side by
/// side.
async fn refuse_second(dir: &Path, name: &str, manifest: &Manifest) -> anyhow::Result<()> {
    for file in libraries(dir)? {
        if file.file_name().is_some_and(|own| own == name) {
            continue;
        }
        let report = probe(&file, &Values::default()).await?;
        let Some(other) = report.manifest.filter(|other| other.id == manifest.id) else {
            continue;
        };
        let journeys = |one: &Manifest| one.kinds.contains(&Kind::Journeys);
        if other.version == manifest.version || !journeys(&other) || !journeys(manifest) {
            let file = file.file_name().unwrap_or_default().to_string_lossy();
            bail!(
                "{file} is plugin '{}' {} already: run `hogsend plugin remove {file}` first",
                other.id,
                other.version
            );
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("{} cannot be read", file.display());
    let size = fs::metadata(file).with_context(unreadable)?.len();
    if size > SIZE_MAX {
        bail!(too_large(&file.display().to_string()));
    }
    fs::read(file).with_context(unreadable)
}

/// A file that is deleted, unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Manifest;

    use super::name_of;

    #[test]
    fn a_library_keeps_its_name_if_that_is_plain() {
        let manifest = Manifest::new("acme", "1.0.0");
        for (source, name) in [
            ("target/release/libacme.so", "libacme.so"),
            ("https://acme.com/v1/libacme-1.so?x=../y", "libacme-1.so"),
            ("https://acme.com/download/7", "acme.so"),
            ("/tmp/.hidden.so", "acme.so"),
            ("/tmp/a b.so", "acme.so"),
        ] {
            assert_eq!(name_of(source, &manifest), name, "{source}");
        }
    }
}
