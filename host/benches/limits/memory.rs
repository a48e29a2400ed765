//! Resident memory of an idle `hogsend api`.

use std::process::{Command, Stdio};
use std::time::Duration;

pub fn bench() {
    let admin = std::env::var("HOGSEND_TEST_DATABASE_URL").expect("run with `cargo xtask bench`");
    let data = std::env::temp_dir().join(format!("hogsend-bench-{}", std::process::id()));
    let start = |command: &str| {
        Command::new(env!("CARGO_BIN_EXE_hogsend"))
            .arg(command)
            .env_clear()
            .env("DATABASE_URL", &admin)
            .env("HOGSEND_DATA_DIR", &data)
            .env("PORT", "38271")
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program")
    };
    start("migrate").wait().expect("migrations");
    let mut api = start("api");
    wait(Duration::from_secs(4));
    let status = std::fs::read_to_string(format!("/proc/{}/status", api.id())).unwrap_or_default();
    let _ = api.kill();
    let _ = api.wait();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|text| text.trim().split(' ').next()?.parse::<f64>().ok());
    let own = std::fs::metadata(env!("CARGO_BIN_EXE_hogsend"))
        .map_or(0.0, |file| file.len() as f64 / 1_048_576.0);
    match resident {
        Some(kib) => println!(
            "memory: an idle api holds {:.1} MiB (the program itself is {own:.1} MiB)",
            kib / 1_024.0
        ),
        None => println!("memory: the api did not stay, or this system has no /proc"),
    }
    let _ = std::fs::remove_dir_all(data);
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
