//! A call through a loaded plugin and through one in a child process, against the same call through the
//! linked one; what a plugin takes of time to start and of memory. The limit of a call of a child is a
//! message that another process returns as it is.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hogsend::plugins::bench::{Apart, Direct, apart, direct};
use hogsend_plugin_api::Webhook;
use hogsend_plugin_api::call::{Ask, method};
use serde_json::json;

use crate::{median, microseconds};

/// Times a child is started.
const STARTS: usize = 9;

pub fn bench() {
    let folder: PathBuf = std::env::var_os("HOGSEND_TEST_PLUGIN_DIR")
        .expect("run with `cargo xtask bench`")
        .into();
    let file = folder.join("libhogsend_plugin_posthog.so");
    let before = memory("self");
    let Direct {
        linked,
        loaded,
        loading,
    } = direct("posthog", &file);
    let grown = memory("self") - before;
    let program = Path::new(env!("CARGO_BIN_EXE_hogsend"));
    let mut starts: Vec<Duration> = (0..STARTS)
        .map(|_| apart(&file, program).starting)
        .collect();
    starts.sort_unstable();
    let Apart { call, process, .. } = apart(&file, program);

    let body = json!({
        "event": { "uuid": "0190", "event": "page.viewed", "distinct_id": "u", "timestamp": "2026-03-01T10:00:00Z",
                   "properties": { "text": "x".repeat(1_500) } },
        "person": { "properties": { "email": "a@b.co", "name": "A" } }
    });
    let headers = vec![("content-type".into(), "application/json".into())];
    let at = chrono::DateTime::UNIX_EPOCH;
    let ask = Ask::new(Webhook::new(headers, body.to_string(), at), at);
    let input = serde_json::to_vec(&ask).expect("JSON");
    let expected = linked(method::EVENT_SOURCE_READ, &input);
    for other in [&loaded, &call] {
        assert_eq!(other(method::EVENT_SOURCE_READ, &input), expected);
    }
    let by_link = median(|| drop(linked(method::EVENT_SOURCE_READ, &input)));
    let by_load = median(|| drop(loaded(method::EVENT_SOURCE_READ, &input)));
    let by_child = median(|| drop(call(method::EVENT_SOURCE_READ, &input)));
    let limit = echo(&input);
    println!(
        "plugin_call: a {} byte webhook: linked {:.2} µs, loaded {:.2} µs (ratio {:.2}), in a child {:.1} µs; \
         the same bytes to `cat` and back {:.1} µs (child against linked and that: {:.2})",
        input.len(),
        microseconds(by_link),
        microseconds(by_load),
        ratio(by_load, by_link),
        microseconds(by_child),
        microseconds(limit),
        ratio(by_child, by_link + limit),
    );
    // An unknown method: measures the call overhead alone.
    let by_link = median(|| drop(linked(9_999, b"null")));
    let by_load = median(|| drop(loaded(9_999, b"null")));
    let by_child = median(|| drop(call(9_999, b"null")));
    println!(
        "plugin_call: an unknown method: linked {:.3} µs, loaded {:.3} µs, in a child {:.1} µs",
        microseconds(by_link),
        microseconds(by_load),
        microseconds(by_child),
    );
    let size = std::fs::metadata(&file).map_or(0, |file| file.len());
    println!(
        "plugin_call: the library has {:.1} MiB; opened and started in {:.1} ms, in a child, also a new one \
         after an end, in {:.1} ms; resident memory grows by {:.1} MiB, a child has {:.1} MiB of its own",
        size as f64 / 1_048_576.0,
        microseconds(loading) / 1_000.0,
        microseconds(starts[STARTS / 2]) / 1_000.0,
        grown,
        memory(&process.to_string()),
    );
}

fn ratio(time: Duration, limit: Duration) -> f64 {
    time.as_secs_f64() / limit.as_secs_f64()
}

/// The time in which `cat` returns these bytes.
fn echo(bytes: &[u8]) -> Duration {
    let mut cat = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat");
    let mut input = cat.stdin.take().expect("a pipe");
    let mut output = cat.stdout.take().expect("a pipe");
    let mut back = vec![0; bytes.len()];
    let time = median(|| {
        input.write_all(bytes).expect("cat reads");
        output.read_exact(&mut back).expect("cat writes");
    });
    drop(input);
    let _ = cat.wait();
    time
}

/// Megabytes of memory that a process shares with no other (Linux).
fn memory(process: &str) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
    let rollup = rollup.unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.sum::<f64>() / 1_024.0
}
