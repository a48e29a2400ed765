//! Code of plugins that runs before there is anything to call: `manifest` and `new`.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hogsend_plugin_api::limits;

/// How long a plugin may take to load and say its manifest, and then to take its settings.
pub const START: Duration = Duration::from_secs(limits::START_SECONDS.most as u64);

/// Why code of a plugin has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreturned {
    /// It did not return in time. Its thread is lost.
    Late(Duration),
    Panicked,
    /// The system gave no thread for it.
    NotRun,
}

impl Unreturned {
    /// The code of the refusal, for a manifest.
    pub fn code(self) -> &'static str {
        match self {
            Self::Late(_) => "PLUGIN-022",
            Self::Panicked | Self::NotRun => "PLUGIN-009",
        }
    }

    /// A sentence about the plugin, which was to do this: `take its settings`.
    pub fn message(self, what: &str) -> String {
        match self {
            Self::Late(deadline) => {
                format!("it did not {what} within {} seconds", deadline.as_secs())
            }
            Self::Panicked => format!("it panicked when it was to {what}"),
            Self::NotRun => format!("it could not {what}, because the system has no thread left"),
        }
    }
}

/// Runs code of a plugin on a thread of its own.
pub fn within_start<T: Send + 'static>(
    code: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unreturned> {
    within(START, code)
}

/// Like [`within_start`], with another deadline.
pub fn within<T: Send + 'static>(
    deadline: Duration,
    code: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unreturned> {
    let (done, waits) = mpsc::sync_channel(1);
    let run = move || {
        let _ = done.send(code());
    };
    thread::Builder::new()
        .name("plugin-start".into())
        .spawn(run)
        .map_err(|_| Unreturned::NotRun)?;
    waits.recv_timeout(deadline).map_err(|fault| match fault {
        RecvTimeoutError::Timeout => Unreturned::Late(deadline),
        RecvTimeoutError::Disconnected => Unreturned::Panicked,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Unreturned, within, within_start};

    #[test]
    fn code_that_does_not_return_is_given_up() {
        assert_eq!(within_start(|| 7), Ok(7));
        let (held, never) = mpsc::channel::<()>();
        let hangs = move || never.recv().is_ok();
        let deadline = Duration::from_millis(1);
        assert_eq!(within(deadline, hangs), Err(Unreturned::Late(deadline)));
        drop(held);
        let panics = || -> u8 { panic!("of a test") };
        assert_eq!(within_start(panics), Err(Unreturned::Panicked));
    }
}
