//! Promises of plugins, and which of them one breaks.
//!
//! A promise is checked by code that panics. The panic is caught and noted, so that the test reports
//! every broken promise at once.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// Something Hogsend relies on in every plugin of a kind. `docs/reference/plugins.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its name in the report of a failed test.
    pub name: &'static str,
    /// What a plugin does.
    pub text: &'static str,
}

impl Promise {
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text }
    }
}

/// The promises a plugin breaks.
pub(crate) struct Verdict {
    plugin: String,
    kind: &'static str,
    promises: Vec<Promise>,
    broken: RefCell<Vec<(&'static str, String)>>,
}

impl Verdict {
    /// No promise is broken yet. `kind` is what the report calls such a plugin.
    pub fn new(plugin: &str, kind: &'static str, promises: &[&[Promise]]) -> Self {
        Self {
            plugin: plugin.to_owned(),
            kind,
            promises: promises.concat(),
            broken: RefCell::default(),
        }
    }

    /// Runs the check of a promise, which panics where the promise is broken.
    pub fn check(&self, promise: &'static str, check: impl FnOnce()) {
        if let Err(message) = catch(check) {
            self.note(promise, message);
        }
    }

    /// Notes a broken promise, once.
    pub fn note(&self, promise: &'static str, message: String) {
        let known = self.promises.iter().any(|known| known.name == promise);
        assert!(known, "'{promise}' is not among the promises");
        let mut broken = self.broken.borrow_mut();
        if !broken.contains(&(promise, message.clone())) {
            broken.push((promise, message));
        }
    }

    /// Reports every broken promise.
    ///
    /// # Panics
    ///
    /// A promise is broken.
    pub fn end(self) {
        let broken = self.broken.into_inner();
        if broken.is_empty() {
            return;
        }
        let mut names: Vec<&str> = broken.iter().map(|(name, _)| *name).collect();
        names.dedup();
        let promises = match names.len() {
            1 => "a promise".to_owned(),
            several => format!("{several} promises"),
        };
        let mut report = format!(
            "'{}' breaks {promises} of {} (docs/reference/plugins.md lists all):",
            self.plugin, self.kind
        );
        for (name, message) in &broken {
            report += &format!("\n- {name}: {message}");
        }
        panic!("{report}");
    }
}

thread_local! {
    /// `Some` while a check runs on this thread; holds where its last panic happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs the code and returns the message of its panic. The panic prints nothing: the report has it.
fn catch(code: impl FnOnce()) -> Result<(), String> {
    HOOK.call_once(|| {
        let outer = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string);
            let caught = PLACE.with_borrow_mut(|slot| {
                let caught = slot.is_some();
                if caught {
                    *slot = Some(place.unwrap_or_default());
                }
                caught
            });
            if !caught {
                outer(info);
            }
        }));
    });
    let outer = PLACE.replace(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    let place = PLACE.replace(outer).unwrap_or_default();
    result.map_err(|payload| {
        let message = message(payload.as_ref());
        // A panic outside the kit is one of the test's own functions.
        match place.contains("kit/src/") || place.is_empty() {
            true => message,
            false => format!("{message} ({place})"),
        }
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    // `assert_eq!` writes the two sides on lines of their own.
    let lines = text.unwrap_or("a panic without a message").lines();
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Promise, Verdict, catch};

    const BOTH: [Promise; 2] = [Promise::new("one", "One."), Promise::new("two", "Two.")];

    #[test]
    fn every_broken_promise_is_in_the_report() {
        let verdict = Verdict::new("acme", "every plugin", &[&BOTH]);
        verdict.check("one", || assert_eq!(1, 2, "the first is kept"));
        verdict.check("two", || {});
        verdict.note("two", "a secret is in a log line".into());
        verdict.note("two", "a secret is in a log line".into());
        let report = catch(|| verdict.end()).unwrap_err();
        let (head, rest) = report.split_once(" (docs").unwrap();
        assert_eq!(head, "'acme' breaks 2 promises of every plugin");
        assert!(rest.contains("- one: assertion `left == right` failed: the first is kept"));
        assert_eq!(rest.matches("- two: a secret is in a log line").count(), 1);
    }

    #[test]
    fn kept_promises_end_well() {
        let verdict = Verdict::new("acme", "every plugin", &[&BOTH]);
        verdict.check("one", || {});
        verdict.end();
    }
}
