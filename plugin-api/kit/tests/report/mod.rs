//! Reads the report of a conformance test.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hogsend_plugin_kit::Promise;

/// The names of the promises that a check finds broken, and its report.
fn broken(check: impl FnOnce()) -> (BTreeSet<String>, String) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(check)) else {
        return (BTreeSet::new(), String::new());
    };
    let report = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    let lines = report.lines().filter_map(|line| line.strip_prefix("- "));
    let names = lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned()));
    (names.collect(), report)
}

/// Each fault breaks its promise, and every promise has a fault that breaks it. An entry is the fault, the
/// promise and words of the report.
pub fn every_promise_is_checked(
    promises: &[&[Promise]],
    faults: &[(&str, &str, &str)],
    check: impl Fn(&str),
) {
    for (fault, promise, words) in faults {
        let (names, report) = broken(|| check(fault));
        assert!(
            names.contains(*promise) && report.contains(words),
            "a plugin that {fault} breaks '{promise}' ({words}): {report}"
        );
    }
    for Promise { name, .. } in promises.concat() {
        assert!(
            faults.iter().any(|(_, promise, _)| *promise == name),
            "no fault breaks '{name}'"
        );
    }
}
