//! Catches panics, so that none unwinds from a plugin into the host.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// `Some` while a guarded call runs on this thread; holds where the last panic happened.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// A caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    pub message: String,
    /// `src/lib.rs:12:5`, where known.
    pub location: Option<String>,
}

/// Runs `f` and turns a panic into an error.
///
/// It wraps the panic hook once, so that a guarded panic is reported by the error and not on standard
/// error. A loaded library has its own standard library and so its own hook.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    HOOK.call_once(|| {
        let outer = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let guarded = LOCATION.with_borrow_mut(|slot| {
                slot.as_mut().is_some_and(|text| {
                    *text = info.location().map(ToString::to_string).unwrap_or_default();
                    true
                })
            });
            if !guarded {
                outer(info);
            }
        }));
    });
    let outer = LOCATION.replace(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    let location = LOCATION.replace(outer);
    result.map_err(|payload| {
        let message = message(payload.as_ref());
        // The payload's own drop may panic as well, outside any guard.
        std::mem::forget(payload);
        Panicked {
            message,
            location: location.filter(|text| !text.is_empty()),
        }
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

#[cfg(test)]
mod tests {
    use super::catch;

    #[test]
    fn a_panic_becomes_its_message_and_place() {
        let caught = catch(|| panic!("boom {}", 7)).unwrap_err();
        assert_eq!(caught.message, "boom 7");
        assert!(caught.location.unwrap().contains("guard.rs"));
    }
}
