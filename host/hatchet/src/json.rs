//! Values as the engine's store takes them.

use serde_json::{Map, Value};

/// The text of a task's output: an object, since the engine loses others, without NUL, which its store refuses.
pub(crate) fn output(value: Value) -> String {
    let object = match value {
        Value::Object(object) => object,
        Value::Null => Map::new(),
        other => [("value".to_owned(), other)].into_iter().collect(),
    };
    let text = Value::Object(object.clone()).to_string();
    match text.contains("\\u0000") {
        true => clean(Value::Object(object)).to_string(),
        false => text,
    }
}

/// A text without NUL.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(it) => Value::String(text(&it)),
        Value::Array(all) => all.into_iter().map(clean).collect(),
        Value::Object(all) => {
            let all = all.into_iter().map(|(key, it)| (text(&key), clean(it)));
            Value::Object(all.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::output;

    #[test]
    fn an_output_is_an_object_without_nul() {
        assert_eq!(output(Value::Null), "{}");
        assert_eq!(output(json!(3)), r#"{"value":3}"#);
        assert_eq!(
            output(json!({"a\0": ["\0"]})),
            "{\"a\u{fffd}\":[\"\u{fffd}\"]}"
        );
        assert_eq!(output(json!({"a": "\\u0000"})), r#"{"a":"\\u0000"}"#);
    }
}
