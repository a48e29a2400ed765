//! The built program, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `hogsend`; killed when dropped.
pub struct Process {
    child: Child,
    pub port: u16,
}

/// The binary under test.
pub fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_hogsend").into()
}

/// A port nobody listens on just now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What a worker process needs beside its provider. Nobody listens where its Redis should be.
pub fn worker_variables<'a>(
    database_url: &'a str,
    data: &'a std::path::Path,
    lease_seconds: &'a str,
) -> [(&'a str, &'a str); 5] {
    [
        ("DATABASE_URL", database_url),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("HOGSEND_DATA_DIR", data.to_str().expect("a plain path")),
        (
            "BETTER_AUTH_SECRET",
            "a secret of tests, long enough for all",
        ),
        ("WORKER_LEASE_SECONDS", lease_seconds),
    ]
}

/// What `hogsend <arguments>` says and ends with, in an empty folder, with these variables alone.
pub fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

impl Process {
    /// Starts `hogsend <command>` with nothing of this environment but what is given.
    pub fn start(command: &str, port: u16, variables: &[(&str, &str)]) -> Self {
        Self::start_with(&[command], port, variables)
    }

    /// Like [`start`](Self::start), with a file for what it logs.
    pub fn start_logged(command: &str, port: u16, variables: &[(&str, &str)], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        Self::spawn(&[command], port, variables, log.into())
    }

    /// Like [`start`](Self::start), with further arguments.
    pub fn start_with(arguments: &[&str], port: u16, variables: &[(&str, &str)]) -> Self {
        let log = if std::env::var_os("HOGSEND_TEST_LOG").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        };
        Self::spawn(arguments, port, variables, log)
    }

    fn spawn(arguments: &[&str], port: u16, variables: &[(&str, &str)], log: Stdio) -> Self {
        let child = Command::new(binary())
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("PORT", port.to_string())
            .envs(variables.iter().copied())
            // No `.env` of the checkout.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// The most memory the process ever had, in bytes, where the system tells (Linux).
    pub fn peak_memory(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// SIGKILL: no warning, no clean-up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended by itself.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it has ended with status 0.
    pub fn succeeded(&mut self) -> bool {
        let ended = self.child.try_wait().unwrap();
        ended.is_some_and(|status| status.success())
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.ask_to_end();
        self.wait()
    }

    /// SIGTERM.
    pub fn ask_to_end(&self) {
        self.signal("-TERM");
    }

    /// SIGHUP, which asks for a reload.
    pub fn ask_to_reload(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code, once the process ends by itself.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            pause(20);
        }
        panic!("the process did not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Polls until `check` says yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("waited in vain until {what}");
}
