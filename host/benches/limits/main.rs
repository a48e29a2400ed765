//! Speed relative to the raw limit, both measured in the same run. Nothing here passes or fails;
//! run it alone on the machine: `cargo xtask bench`.

mod admin;
mod engine;
mod http;
mod ingest;
mod memory;
mod plugin_call;
mod plugin_reload;
mod render;
mod replay;

use std::time::{Duration, Instant};

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let run =
        |name: &str| wanted.is_empty() || wanted.iter().any(|arg| name.contains(arg.as_str()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if run("replay") {
        replay::bench();
    }
    if run("render") {
        render::bench();
    }
    if run("plugin_call") {
        plugin_call::bench();
    }
    if run("plugin_reload") {
        plugin_reload::bench();
    }
    if run("ingest") {
        runtime.block_on(ingest::bench());
    }
    if run("http") {
        runtime.block_on(http::bench());
    }
    if run("admin") {
        runtime.block_on(admin::bench());
    }
    if run("engine") {
        runtime.block_on(engine::bench());
    }
    if run("memory") {
        memory::bench();
    }
}

/// The median time of one call, over batches that are long enough to measure.
fn median(mut call: impl FnMut()) -> Duration {
    let mut batch = 1_u32;
    loop {
        let started = Instant::now();
        (0..batch).for_each(|_| call());
        if started.elapsed() > Duration::from_millis(2) || batch > 1 << 20 {
            break;
        }
        batch *= 2;
    }
    let mut times: Vec<Duration> = (0..61)
        .map(|_| {
            let started = Instant::now();
            (0..batch).for_each(|_| call());
            started.elapsed() / batch
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
