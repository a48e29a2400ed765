//! One private server: its folder, its process, and the keeper that cleans up both.
//!
//! The keeper is a shell that waits for the end of its input. However this process ends, Ctrl-C and
//! SIGKILL included, the pipe closes, so the keeper also cleans up where `Drop` does not run.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::account::Account;
use crate::cargo::cannot_run;

/// Reads process ids; the last one counts, and an empty one means none. `$1` is the folder.
const KEEPER: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -INT "$pid"
    tries=0
    while [ "$tries" -lt 100 ] && kill -0 "$pid"; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -KILL "$pid"
fi
rm -rf "$1"
"#;

const START_WITHIN: Duration = Duration::from_secs(60);

pub struct Server {
    name: &'static str,
    pub folder: PathBuf,
    pub account: Account,
    keeper: Child,
    process: Option<Child>,
}

impl Server {
    /// A server in its own empty folder, without a process yet.
    pub fn prepare(name: &'static str) -> anyhow::Result<Self> {
        let account = Account::unprivileged()?;
        let folder = fresh_folder(name)?;
        account.own(&folder)?;
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .current_dir("/");
        keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let keeper = keeper.spawn().with_context(|| cannot_run(&keeper))?;
        Ok(Self {
            name,
            folder,
            account,
            keeper,
            process: None,
        })
    }

    /// A command in the server's folder and under its account.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.account.command(program);
        // Its own process group, so that Ctrl-C reaches the tests first and the servers last.
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Runs a command to its end. The error contains its output.
    pub fn run(&mut self, command: &mut Command) -> anyhow::Result<()> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| cannot_run(command))?;
        self.keep(Some(&child))?;
        let output = child.wait_with_output()?;
        self.keep(None)?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!(
                "{} failed:\n{}",
                command.get_program().display(),
                String::from_utf8_lossy(&said)
            );
        }
        Ok(())
    }

    /// Starts the process on a free port and waits until it is ready.
    pub fn start(
        &mut self,
        command: impl Fn(&Self, u16) -> Command,
        is_ready: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<u16> {
        // Another process may take the port before the server does.
        for _ in 0..3 {
            let port = free_port()?;
            let command = command(self, port);
            if self.started(command, &is_ready)? {
                return Ok(port);
            }
        }
        bail!("{} does not start. Its log:\n{}", self.name, self.log());
    }

    /// Starts the process and waits until it is ready; false where it ended instead.
    fn started(
        &mut self,
        mut command: Command,
        is_ready: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        let log = File::create(self.folder.join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| cannot_run(&command))?;
        self.keep(Some(&process))?;
        self.process = Some(process);
        let deadline = Instant::now() + START_WITHIN;
        while self.ended()?.is_none() {
            if is_ready(self) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is not ready in time. Its log:\n{}",
                    self.name,
                    self.log()
                );
            }
            pause(Duration::from_millis(20));
        }
        Ok(false)
    }

    /// How the process ended, once it has. After that its id may belong to another process, so the
    /// keeper must forget it.
    fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let status = process.try_wait()?;
        if status.is_some() {
            self.process = None;
            self.keep(None)?;
        }
        Ok(status)
    }

    /// Fails where the process has ended unexpectedly.
    pub fn still_there(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended: {status}. Its log:\n{}", self.name, self.log());
        }
        Ok(())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Sends the keeper the id of the process to end.
    fn keep(&mut self, process: Option<&Child>) -> anyhow::Result<()> {
        let line = process
            .map(|process| process.id().to_string())
            .unwrap_or_default();
        let Some(pipe) = &mut self.keeper.stdin else {
            return Ok(());
        };
        writeln!(pipe, "{line}").with_context(|| format!("the keeper of {} is gone", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Some(process) = &mut self.process {
            // The keeper ends the process, first with SIGINT and then with SIGKILL. This code kills it
            // only where the keeper itself was killed.
            while let Ok(None) = process.try_wait() {
                if !matches!(self.keeper.try_wait(), Ok(None)) {
                    let _ = process.kill();
                }
                pause(Duration::from_millis(20));
            }
        }
        let _ = self.keeper.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder that no other account can read.
fn fresh_folder(name: &str) -> anyhow::Result<PathBuf> {
    for attempt in 0..100 {
        let unique = format!("hogsend-{name}-{}-{attempt}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot create {}", folder.display()));
            }
        }
    }
    bail!(
        "{} is full of folders of earlier runs",
        std::env::temp_dir().display()
    );
}

/// A port that is free at the moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[expect(
    clippy::disallowed_methods,
    reason = "waiting for another process; nothing else runs here"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
