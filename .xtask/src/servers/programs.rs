//! Finds the servers' programs, and installs them on a bare Debian machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use super::account::is_root;
use crate::cargo::run;

/// Which servers are needed.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    pub postgres: bool,
    pub redis: bool,
    pub smtp: bool,
}

/// The programs that were found.
pub struct Programs {
    /// The folder of `initdb` and `postgres`.
    pub postgres: Option<PathBuf>,
    pub redis: Option<PathBuf>,
    pub smtp: Option<Mailer>,
}

/// The path of Exim. `openssl`, which creates its certificate, is also installed.
pub struct Mailer(pub PathBuf);

pub fn find(wanted: Wanted) -> anyhow::Result<Programs> {
    let look = || Programs {
        postgres: postgres_folder().filter(|_| wanted.postgres),
        redis: in_path("redis-server").filter(|_| wanted.redis),
        smtp: mailer().filter(|_| wanted.smtp),
    };
    let missing = |found: &Programs| {
        let mut packages = Vec::new();
        if wanted.postgres && found.postgres.is_none() {
            packages.push("postgresql");
        }
        // A test runs README's commands unchanged.
        if wanted.postgres && in_path("curl").is_none() {
            packages.push("curl");
        }
        if wanted.redis && found.redis.is_none() {
            packages.push("redis-server");
        }
        if wanted.smtp && found.smtp.is_none() {
            packages.extend(["exim4-daemon-light", "openssl"]);
        }
        packages
    };
    let mut found = look();
    let packages = missing(&found);
    if !packages.is_empty() && is_root()? && in_path("apt-get").is_some() {
        install(&packages)?;
        found = look();
    }
    let packages = missing(&found);
    if !packages.is_empty() {
        bail!(
            "the tests need {}, which is not installed here:\n  \
             Debian, Ubuntu  sudo apt-get install postgresql redis-server exim4-daemon-light openssl curl\n  \
             Fedora          sudo dnf install postgresql-server valkey-compat-redis exim openssl curl\n  \
             macOS           brew install postgresql@17 redis exim openssl curl\n\
             The tests start and stop private servers. To use running ones, set \
             HOGSEND_TEST_DATABASE_URL, HOGSEND_TEST_REDIS_URL and HOGSEND_TEST_SMTP.",
            packages.join(" and ")
        );
    }
    Ok(found)
}

/// Exim's usual folder is often not in the PATH of an ordinary account.
fn mailer() -> Option<Mailer> {
    in_path("openssl")?;
    let usual = ["/usr/sbin/exim4", "/usr/sbin/exim"].map(PathBuf::from);
    let known = usual.into_iter().find(|path| path.is_file());
    known.or_else(|| in_path("exim")).map(Mailer)
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    eprintln!("installing {} with apt-get", packages.join(" and "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    run(apt().args(["update", "-qq"]))?;
    run(apt()
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages))
}

/// Debian installs each version in its own folder outside PATH; Homebrew does so for some versions.
fn postgres_folder() -> Option<PathBuf> {
    let mut folders = Vec::new();
    for parent in ["/usr/lib/postgresql", "/usr"] {
        folders.extend(versions(Path::new(parent)));
    }
    folders.extend(path_folders());
    folders.extend(homebrew());
    folders.extend(pg_config());
    let whole = |folder: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    folders.into_iter().find(whole)
}

/// `17/bin` or `pgsql-17/bin` under the folder, highest version first.
fn versions(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix("pgsql-").unwrap_or(&name).parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn homebrew() -> Vec<PathBuf> {
    let versions = (14..=18).rev();
    let roots = ["/opt/homebrew/opt", "/usr/local/opt"];
    let folder = |root, version| PathBuf::from(format!("{root}/postgresql@{version}/bin"));
    versions
        .flat_map(|version| roots.map(|root| folder(root, version)))
        .collect()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

pub fn in_path(program: &str) -> Option<PathBuf> {
    path_folders()
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}
