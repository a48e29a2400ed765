//! Code of plugins that runs before there is anything to call: `manifest` and `new`.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hogsend_plugin_api::limits;

/// How long a plugin may take to load and say its manifest, and then to take its settings.
pub const START: Duration = Duration::from_secs(limits::START_SECONDS.most as u64);

/// Runs code of a plugin on a thread of its own; None where it does not return within [`START`]. Its
/// thread is lost then.
pub fn within_start<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    within(START, code)
}

fn within<T: Send + 'static>(
    deadline: Duration,
    code: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, waits) = mpsc::sync_channel(1);
    let run = move || {
        let _ = done.send(code());
    };
    thread::Builder::new()
        .name("plugin-start".into())
        .spawn(run)
        .ok()?;
    waits.recv_timeout(deadline).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{within, within_start};

    #[test]
    fn code_that_does_not_return_is_given_up() {
        assert_eq!(within_start(|| 7), Some(7));
        let (held, never) = mpsc::channel::<()>();
        let hangs = move || never.recv().is_ok();
        assert_eq!(within(Duration::from_millis(1), hangs), None);
        drop(held);
    }
}
