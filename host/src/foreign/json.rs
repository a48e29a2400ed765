//! JSON that can be stored: sanitised and within limits.

use std::io;

use hogsend_plugin_api::Properties;
use serde::Serialize;
use serde_json::Value;

use super::bounds::{
    DEPTH_MAX, ISSUES_MAX, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, PROPERTY_NAME_MAX,
};
use super::text::{cleaned, text};
use crate::foreign::Issue;

/// Replaces characters that Postgres cannot store, in keys as well.
pub fn clean(value: &mut Value) {
    match value {
        Value::String(text) => cleaned(text),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => clean_properties(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The same for an object.
pub fn clean_properties(fields: &mut Properties) {
    if fields.keys().any(|name| name.contains('\0')) {
        let all = std::mem::take(fields).into_iter();
        *fields = all
            .map(|(mut name, item)| {
                cleaned(&mut name);
                (name, item)
            })
            .collect();
    }
    fields.values_mut().for_each(clean);
}

/// Bytes of a value as JSON text.
pub fn size(value: &impl Serialize) -> usize {
    struct Counter(usize);

    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        // A value that cannot be serialised cannot be stored.
        Err(_) => usize::MAX,
    }
}

/// Reports properties that exceed the limits of an event or a contact, with their path under `path`;
/// at most [`ISSUES_MAX`](super::ISSUES_MAX).
///
/// Takes linear time in the size of the properties: paths are built only for problems.
pub fn check(path: &str, properties: &Properties, issues: &mut Vec<Issue>) {
    if properties.len() > PROPERTIES_MAX {
        let found = properties.len();
        issues.push(Issue::new(
            path,
            format!("must have at most {PROPERTIES_MAX} properties, not {found}"),
        ));
        return;
    }
    let bytes = size(properties);
    if bytes > PROPERTIES_BYTES_MAX {
        issues.push(Issue::new(path, too_large(bytes)));
        return;
    }
    let mut walk = Walk {
        at: vec![Part::Name(path)],
        issues,
    };
    walk.fields(properties, 1);
}

fn too_large(bytes: usize) -> String {
    format!(
        "must be at most {} KiB of JSON, not {} KiB",
        PROPERTIES_BYTES_MAX / 1024,
        bytes.div_ceil(1024)
    )
}

enum Part<'a> {
    Name(&'a str),
    Place(usize),
}

/// A traversal of properties that tracks its path.
struct Walk<'a, 'i> {
    at: Vec<Part<'a>>,
    issues: &'i mut Vec<Issue>,
}

impl<'a> Walk<'a, '_> {
    fn fields(&mut self, fields: &'a Properties, depth: usize) {
        for (name, value) in fields {
            if self.is_full() {
                return;
            }
            self.at.push(Part::Name(name));
            if name.chars().nth(PROPERTY_NAME_MAX).is_some() {
                self.add(format!(
                    "the name of a property must be at most {PROPERTY_NAME_MAX} characters"
                ));
            }
            self.value(value, depth);
            self.at.pop();
        }
    }

    fn value(&mut self, value: &'a Value, depth: usize) {
        if depth > DEPTH_MAX {
            self.add(format!(
                "must not be nested more than {DEPTH_MAX} levels deep"
            ));
            return;
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    // Numbers and texts contain no further problems.
                    if !matches!(item, Value::Array(_) | Value::Object(_)) && depth < DEPTH_MAX {
                        continue;
                    }
                    if self.is_full() {
                        return;
                    }
                    self.at.push(Part::Place(index));
                    self.value(item, depth + 1);
                    self.at.pop();
                }
            }
            Value::Object(fields) => self.fields(fields, depth + 1),
            _ => {}
        }
    }

    fn is_full(&self) -> bool {
        self.issues.len() >= ISSUES_MAX
    }

    fn add(&mut self, message: String) {
        let mut path = String::new();
        for part in &self.at {
            if !path.is_empty() {
                path.push('.');
            }
            match part {
                Part::Name(name) => path.push_str(&text(name, 100)),
                Part::Place(index) => path.push_str(&index.to_string()),
            }
        }
        self.issues.push(Issue::new(&path, message));
    }
}

/// A property that was dropped, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfit {
    /// Shortened if it is long.
    pub name: String,
    pub reason: String,
}

impl Unfit {
    pub fn new(name: &str, reason: impl Into<String>) -> Self {
        Self {
            name: text(name, 100),
            reason: reason.into(),
        }
    }
}

/// Sanitises properties and removes those that do not fit.
pub fn fit(properties: &mut Properties) -> Vec<Unfit> {
    clean_properties(properties);
    let mut unfit = Vec::new();
    let mut issues = Vec::new();
    let mut bytes = 2;
    for (name, value) in std::mem::take(properties) {
        let one = Properties::from_iter([(name, value)]);
        check("", &one, &mut issues);
        // Without its braces but with a comma, as the property counts among the others.
        let after = bytes + size(&one) - 1;
        let reason = match issues.pop() {
            Some(issue) => Some(issue.message),
            None if properties.len() >= PROPERTIES_MAX => {
                Some(format!("is one of more than {PROPERTIES_MAX} properties"))
            }
            None if after > PROPERTIES_BYTES_MAX => Some(format!(
                "makes more than {} KiB with the others",
                PROPERTIES_BYTES_MAX / 1024
            )),
            None => None,
        };
        match reason {
            Some(reason) => {
                let name = one.keys().next().map(String::as_str).unwrap_or_default();
                unfit.push(Unfit::new(name, reason));
                issues.clear();
            }
            None => {
                properties.extend(one);
                bytes = after;
            }
        }
    }
    unfit
}

/// Merges `patch` into properties, removing those that are null, within the limits. Existing
/// properties are kept; properties that do not fit in addition are returned.
///
/// `patch` itself must already be within the limits.
pub fn merge(properties: &mut Properties, patch: Properties) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    let mut bytes = size(properties);
    let entry = |name: &str, value: &Value| size(&name) + size(value) + 2;
    for (name, value) in patch {
        let before = properties.get(&name);
        let frees = before.map_or(0, |value| entry(&name, value));
        if value.is_null() {
            if properties.remove(&name).is_some() {
                bytes = bytes.saturating_sub(frees);
            }
            continue;
        }
        let takes = entry(&name, &value);
        let after = (bytes + takes).saturating_sub(frees);
        if before.is_none() && properties.len() >= PROPERTIES_MAX {
            let reason = format!("the contact has {PROPERTIES_MAX} properties already");
            unfit.push(Unfit::new(&name, reason));
        } else if after > PROPERTIES_BYTES_MAX && takes > frees {
            let reason = format!(
                "with it the contact would have more than {} KiB of properties",
                PROPERTIES_BYTES_MAX / 1024
            );
            unfit.push(Unfit::new(&name, reason));
        } else {
            properties.insert(name, value);
            bytes = after;
        }
    }
    unfit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Properties, check, clean, fit, merge, size};
    use crate::foreign::{
        DEPTH_MAX, ISSUES_MAX, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, PROPERTY_NAME_MAX,
    };

    fn properties(value: Value) -> Properties {
        value.as_object().unwrap().clone()
    }

    fn problems(value: Value) -> Vec<String> {
        let mut issues = Vec::new();
        check("p", &properties(value), &mut issues);
        issues.iter().map(ToString::to_string).collect()
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([{ "d": inner }]))
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_path() {
        let long = "n".repeat(PROPERTY_NAME_MAX + 1);
        assert_eq!(problems(json!({ "a": [{ "b": ["c", 1, null] }] })), [""; 0]);
        let found = problems(json!({ "a": [0, { long: 1 }] }));
        assert!(found[0].starts_with("p.a.1.nnn") && found[0].contains("500 characters"));
        let found = problems(json!({ "x": nested(20) }));
        assert!(
            found[0].starts_with("p.x.0.d.0.d") && found[0].contains("32 levels"),
            "{found:?}"
        );
        let many: Properties = (0..=PROPERTIES_MAX)
            .map(|n| (n.to_string(), json!(n)))
            .collect();
        assert!(problems(Value::Object(many))[0].contains("at most 1000 properties, not 1001"));
        let found = problems(json!({ "x": "y".repeat(300 * 1024) }));
        assert!(
            found[0].contains("256 KiB") && found[0].contains("301 KiB"),
            "{found:?}"
        );
    }

    #[test]
    fn no_more_problems_are_told_than_anybody_reads() {
        let deep = nested(DEPTH_MAX);
        let many: Vec<_> = (0..500).map(|_| deep.clone()).collect();
        let found = problems(json!({ "x": many }));
        assert_eq!(found.len(), ISSUES_MAX);
        assert!(found.iter().all(|one| one.len() < 500));
    }

    #[test]
    fn the_cost_grows_with_the_size_and_not_with_its_square() {
        // Half a megabyte of name above very many values.
        let name = "n".repeat(120 * 1024);
        let zeros = vec![json!(0); 60_000];
        let value = properties(json!({ name: zeros }));
        let begun = std::time::Instant::now();
        let mut issues = Vec::new();
        for _ in 0..10 {
            issues.clear();
            check("p", &value, &mut issues);
        }
        assert_eq!(issues.len(), 1);
        // A quadratic algorithm would take minutes for each.
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn a_merge_keeps_what_is_there_and_names_what_does_not_fit() {
        let mut all: Properties = (0..PROPERTIES_MAX - 1)
            .map(|n| (n.to_string(), json!(n)))
            .collect();
        let unfit = merge(
            &mut all,
            properties(json!({ "x": 1, "y": 2, "0": "changed", "1": null })),
        );
        // Property 1 was removed, so both new ones fit.
        assert_eq!(
            (unfit.len(), all.len(), &all["0"]),
            (0, PROPERTIES_MAX, &json!("changed"))
        );
        let unfit = merge(&mut all, properties(json!({ "z": 1, "x": 3 })));
        assert_eq!(
            (unfit.len(), unfit[0].name.as_str(), &all["x"]),
            (1, "z", &json!(3))
        );

        let mut all = properties(json!({ "big": "b".repeat(200 * 1024) }));
        let unfit = merge(
            &mut all,
            properties(json!({ "more": "m".repeat(100 * 1024), "small": 1 })),
        );
        assert_eq!((unfit[0].name.as_str(), all.len()), ("more", 2));
        assert!(
            merge(
                &mut all,
                properties(json!({ "big": "less", "more": "m".repeat(100 * 1024) }))
            )
            .is_empty()
        );
    }

    #[test]
    fn a_contact_that_is_too_large_already_can_shrink() {
        let mut all: Properties = (0..3 * PROPERTIES_MAX)
            .map(|n| (n.to_string(), json!("x".repeat(200))))
            .collect();
        let patch = properties(json!({ "0": "y", "1": null, "2": "z".repeat(300), "new": 1 }));
        let unfit = merge(&mut all, patch);
        let names: Vec<_> = unfit.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["2", "new"]);
        assert_eq!((&all["0"], all.get("1")), (&json!("y"), None));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::collection::vec(any::<char>(), 0..20)
                .prop_map(|all| Value::from(all.into_iter().collect::<String>())),
            (0_usize..300_000).prop_map(|length| Value::from("\0x".repeat(length / 2))),
        ];
        let name = prop::collection::vec(prop_oneof![Just('\0'), any::<char>()], 0..8)
            .prop_map(|all| all.into_iter().collect::<String>());
        leaf.prop_recursive(40, 200, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..8)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_made_to_fit_fits(all in prop::collection::vec((any::<String>(), value()), 0..20)) {
            let mut properties: Properties = all.into_iter().collect();
            let given = properties.len();
            let unfit = fit(&mut properties);
            let mut issues = Vec::new();
            check("p", &properties, &mut issues);
            prop_assert!(issues.is_empty(), "{issues:?}");
            prop_assert!(size(&properties) <= PROPERTIES_BYTES_MAX);
            prop_assert!(properties.len() + unfit.len() <= given);
            prop_assert!(!json!(properties).to_string().contains("\\u0000"));
            let mut again = Value::Object(properties.clone());
            clean(&mut again);
            prop_assert_eq!(again, Value::Object(properties));
        }
    }
}
