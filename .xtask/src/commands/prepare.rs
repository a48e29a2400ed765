//! `cargo xtask prepare`: compiles the host against a real database, so that the query macros write
//! their data to `.sqlx/` and other builds need no database.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::cargo::{self, cargo, run};
use crate::servers::Postgres;

pub fn prepare(args: &[String]) -> anyhow::Result<ExitCode> {
    let check = match args {
        [] => false,
        [only] if only == "--check" => true,
        _ => bail!("`prepare` accepts no argument except --check"),
    };
    let postgres = Postgres::start()?;
    // Written elsewhere first: a failed run leaves the committed files unchanged.
    let fresh = cargo::target_dir()?.join("sqlx-prepare");
    empty(&fresh)?;
    let database = Database::create(&postgres)?;
    database.migrate(&cargo::root().join("migrations"))?;
    let checked = compile(&database.url, &fresh);
    database.remove();
    checked?;

    let committed = cargo::root().join(".sqlx");
    let facts = read(&fresh)?;
    if facts.is_empty() {
        bail!("no query macro wrote its data to {}", fresh.display());
    }
    if check {
        return compare(&read(&committed)?, &facts);
    }
    empty(&committed)?;
    for (name, text) in &facts {
        fs::write(committed.join(name), text)?;
    }
    println!("{} queries in .sqlx/", facts.len());
    Ok(ExitCode::SUCCESS)
}

/// A temporary database.
struct Database<'a> {
    postgres: &'a Postgres,
    name: String,
    url: String,
}

impl<'a> Database<'a> {
    fn create(postgres: &'a Postgres) -> anyhow::Result<Self> {
        let name = format!("hogsend_prepare_{}", std::process::id());
        let url = with_database(&postgres.url, &name)?;
        let create = format!("CREATE DATABASE {name}");
        run(postgres.psql(&postgres.url).args(["-c", &create]))?;
        Ok(Self {
            postgres,
            name,
            url,
        })
    }

    /// Applies the files in the order of their names, like `hogsend migrate`.
    fn migrate(&self, folder: &Path) -> anyhow::Result<()> {
        for (name, text) in read(folder)?
            .iter()
            .filter(|(name, _)| name.ends_with(".sql"))
        {
            let mut psql = self.postgres.psql(&self.url);
            if !text.starts_with(b"-- no-transaction") {
                psql.arg("--single-transaction");
            }
            run(psql.arg("-f").arg(folder.join(name)))
                .with_context(|| format!("migration {name}"))?;
        }
        Ok(())
    }

    /// Drops the database, so that nothing is left behind on a shared server.
    fn remove(self) {
        let drop = format!("DROP DATABASE {}", self.name);
        if let Err(error) = run(self.postgres.psql(&self.postgres.url).args(["-c", &drop])) {
            eprintln!("cannot drop the database {}: {error:#}", self.name);
        }
    }
}

fn compile(database_url: &str, facts: &Path) -> anyhow::Result<()> {
    // Cargo does not know that the macros read a database: only a changed source makes them run.
    run(Command::new("touch").arg(cargo::root().join("host/src/lib.rs")))?;
    // The whole workspace, so that clippy can reuse the compiled dependencies.
    let mut check = cargo(&["check", "--workspace", "--all-targets"])?;
    check
        .env("DATABASE_URL", database_url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", facts);
    run(&mut check)
}

fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let after_scheme = base.find("://").context("the database URL has no scheme")? + 3;
    let server = match base[after_scheme..].find('/') {
        Some(slash) => &base[..after_scheme + slash],
        None => base,
    };
    Ok(match query {
        Some(query) => format!("{server}/{name}?{query}"),
        None => format!("{server}/{name}"),
    })
}

fn compare(
    committed: &BTreeMap<String, Vec<u8>>,
    fresh: &BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<ExitCode> {
    let mut differences = 0;
    for name in committed
        .keys()
        .chain(fresh.keys().filter(|name| !committed.contains_key(*name)))
    {
        let what = match (committed.get(name), fresh.get(name)) {
            (Some(_), None) => "has no query any longer",
            (None, Some(_)) => "is missing",
            (Some(old), Some(new)) if old != new => "is out of date",
            _ => continue,
        };
        eprintln!(".sqlx/{name} {what}");
        differences += 1;
    }
    if differences > 0 {
        bail!("differences: {differences}; `cargo xtask prepare` rewrites the files");
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of a folder by name; empty where the folder does not exist.
fn read(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let path: PathBuf = entry?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str())
                && path.is_file()
            {
                files.insert(name.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

fn empty(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_of_a_url_is_replaced_and_its_options_stay() {
        let of = |url| with_database(url, "new").unwrap();
        assert_eq!(
            of("postgres://postgres@127.0.0.1:5/postgres"),
            "postgres://postgres@127.0.0.1:5/new"
        );
        assert_eq!(of("postgres://a:b@host"), "postgres://a:b@host/new");
        assert_eq!(
            of("postgres://host/old?sslmode=disable"),
            "postgres://host/new?sslmode=disable"
        );
        assert!(with_database("host/old", "new").is_err());
    }
}
