//! A private Postgres.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::Wanted;
use super::server::Server;
use super::{given, programs};

/// The collation of production; macOS has no `C.UTF-8`.
const LOCALE: &str = if cfg!(target_os = "macos") {
    "en_US.UTF-8"
} else {
    "C.UTF-8"
};

/// A Postgres server with its client.
pub struct Postgres {
    pub url: String,
    psql: PathBuf,
    _server: Option<Server>,
}

impl Postgres {
    pub fn start() -> anyhow::Result<Self> {
        let given = given("HOGSEND_TEST_DATABASE_URL");
        let found = programs::find(Wanted {
            postgres: given.is_none(),
            ..Wanted::default()
        })?;
        let beside = found
            .postgres
            .as_ref()
            .map(|folder| folder.join("psql"))
            .filter(|psql| psql.is_file());
        let psql = beside
            .or_else(|| programs::in_path("psql"))
            .unwrap_or_else(|| "psql".into());
        match (given, found.postgres) {
            (None, Some(folder)) => {
                let (server, url) = start(&folder, Disk::DoesNotWait)?;
                Ok(Self {
                    url,
                    psql,
                    _server: Some(server),
                })
            }
            (given, _) => Ok(Self {
                url: given.unwrap_or_default(),
                psql,
                _server: None,
            }),
        }
    }

    /// A client that stops at the first error and prints nothing else.
    pub fn psql(&self, url: &str) -> Command {
        let mut psql = Command::new(&self.psql);
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            url,
        ]);
        psql
    }
}

/// Whether the server waits until the disk has what it writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// As in production: for figures.
    Waits,
    /// For tests: they kill processes, and only the end of the machine would lose what the system holds.
    DoesNotWait,
}

/// Starts the server whose programs are in `folder`, and returns its URL.
pub fn start(folder: &Path, disk: Disk) -> anyhow::Result<(Server, String)> {
    let mut server = Server::prepare("postgres")?;
    let data = server.folder.join("data");
    let mut initdb = server.command(&folder.join("initdb"));
    initdb.args([
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--no-sync",
    ]);
    initdb
        .arg(format!("--locale={LOCALE}"))
        .arg("-D")
        .arg(&data);
    server.run(&mut initdb)?;

    let program = folder.join("postgres");
    let command = |server: &Server, port: u16| {
        let mut command = server.command(&program);
        command.arg("-D").arg(&data);
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", server.folder.display()),
            "max_connections=300".to_owned(),
            "timezone=UTC".to_owned(),
        ];
        if disk == Disk::DoesNotWait {
            settings.extend(["fsync=off".to_owned(), "full_page_writes=off".to_owned()]);
        }
        for setting in settings {
            command.args(["-c", &setting]);
        }
        command
    };
    let port = server.start(command, |_| is_ready(&data))?;
    Ok((
        server,
        format!("postgres://postgres@127.0.0.1:{port}/postgres"),
    ))
}

/// The server writes its state to line 8 of its pid file, which `pg_ctl` reads as well.
fn is_ready(data: &Path) -> bool {
    let noted = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    noted
        .lines()
        .nth(7)
        .is_some_and(|state| state.trim() == "ready")
}
