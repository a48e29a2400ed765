//! Every answer of every test is held against the OpenAPI document.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use axum::http::{Method, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::Answer;

static DOCUMENT: OnceLock<Value> = OnceLock::new();

type Key = (String, String);
static VALIDATORS: OnceLock<Mutex<HashMap<Key, Option<Arc<Validator>>>>> = OnceLock::new();

/// Panics where an answer is not one the document tells of.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let document = DOCUMENT
        .get_or_init(|| serde_json::to_value(hogsend::http::document()).expect("plain values"));
    let Some((template, operation)) = operation(document, method, path) else {
        return;
    };
    let status = answer.status.as_u16().to_string();
    let name = format!("{method} {template} {status}");
    let responses = &operation["responses"];
    // Of what a plugin composes, the document tells only that it may come.
    let composed = responses["default"].is_object();
    let told = &responses[&status];
    // What the tests themselves break: the database is gone, or a handler panics.
    let broken = answer.status.is_server_error();
    assert!(
        told.is_object() || composed || broken || status == "405",
        "{name} is not in the document: {}",
        answer.text()
    );
    let told = resolved(document, told);
    let kind = answer.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    if answer.body.is_empty() || method == Method::HEAD || broken || status == "405" {
        return;
    }
    let content = &told["content"][kind];
    if composed && !content.is_object() {
        return;
    }
    assert!(
        content.is_object(),
        "{name} is not told to be '{kind}': {}",
        answer.text()
    );
    if kind != "application/json" {
        return;
    }
    let validators = VALIDATORS.get_or_init(Mutex::default);
    let key = (name.clone(), kind.to_owned());
    let validator = {
        let mut all = validators.lock().unwrap();
        all.entry(key)
            .or_insert_with(|| {
                let schema = content.get("schema")?;
                let whole = json!({ "allOf": [schema], "components": document["components"] });
                let validator = jsonschema::draft202012::options().build(&whole);
                Some(Arc::new(validator.expect("a schema of the document")))
            })
            .clone()
    };
    let Some(validator) = validator else { return };
    let body = answer.json();
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {}\n{body}", errors.join("\n"));
}

/// The path of the document that this one is of, the most literal one first.
fn operation<'a>(document: &'a Value, method: &Method, path: &str) -> Option<(&'a str, &'a Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let method = match *method {
        Method::HEAD => "get".to_owned(),
        _ => method.as_str().to_ascii_lowercase(),
    };
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len()
            && wanted
                .iter()
                .zip(&parts)
                .all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let mut found: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
    found.sort_by_key(|template| template.matches('{').count());
    let template = found.first()?;
    let operation = paths[*template].get(&method)?;
    Some((template, operation))
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(pointer) => document
            .pointer(pointer.trim_start_matches('#'))
            .expect("a reference of the document"),
        None => value,
    }
}
