//! The webhook destination in PostHog: what to enter, and entering it through PostHog's API
//! (`/api/projects/{id}/hog_functions/`, posthog.com/docs/api/hog-functions).

#[cfg(test)]
mod tests;

use std::time::Duration;

use hogsend_plugin_api::{ConnectIn, Connected, Host, HttpMethod, HttpResponse, SetupItem};
use serde_json::{Value, json};

use crate::api::{PrivateApi, encode};
use crate::{HOST, WEBHOOK_SECRET};

const TIMEOUT: Duration = Duration::from_secs(10);
/// PostHog's template of a webhook destination.
const TEMPLATE: &str = "template-webhook";
/// The header with the secret.
const SECRET_HEADER: &str = "x-posthog-webhook-secret";
/// What the key needs.
const SCOPE: &str = "hog_function:write";
/// Webhook destinations that are looked at one by one. A call may send sixteen requests.
const LOOKED_AT: usize = 10;
const PLACE: &str = "PostHog, Data pipelines, + New, Destination, HTTP Webhook";

/// PostHog's default body.
fn body() -> Value {
    json!({ "event": "{event}", "person": "{person}" })
}

/// What to enter by hand.
pub fn setup(has_secret: bool) -> Vec<SetupItem> {
    let secret = match has_secret {
        true => format!("{SECRET_HEADER}: the value of {WEBHOOK_SECRET}"),
        false => format!(
            "{SECRET_HEADER}: a new secret (`openssl rand -hex 24`), which you also set as {WEBHOOK_SECRET}"
        ),
    };
    [
        ("Webhook URL", "{url}/v1/webhooks/posthog"),
        ("Method", "POST"),
        ("JSON Body", &body().to_string()),
        ("Headers", "Content-Type: application/json"),
        ("Headers", &secret),
    ]
    .map(|(label, value)| SetupItem::new(label, value, PLACE))
    .into()
}

/// Makes the destination, or finds the one that sends to this URL and corrects it.
pub async fn connect(api: &PrivateApi, host: &Host, secret: &str, wanted: &ConnectIn) -> Connected {
    let url = format!("{}/v1/webhooks/posthog", wanted.url);
    match find(api, host, &url).await {
        Ok(Some(found)) => correct(api, host, secret, &url, &found).await,
        Ok(None) => make(api, host, secret, &url, wanted).await,
        Err(reason) => Connected::failed(reason),
    }
}

/// The destination that sends to this URL.
async fn find(api: &PrivateApi, host: &Host, url: &str) -> Result<Option<Value>, String> {
    let all = ask(
        api,
        host,
        HttpMethod::Get,
        "hog_functions/?types=destination&limit=500",
        None,
    );
    let all = all.await?;
    let all = all["results"].as_array().cloned().unwrap_or_default();
    let is_webhook = |one: &&Value| {
        let template = one["template"]["id"]
            .as_str()
            .or(one["template_id"].as_str());
        template == Some(TEMPLATE)
    };
    let mut candidates: Vec<&Value> = all.iter().filter(is_webhook).collect();
    // The list does not tell the inputs, so the likely ones come first.
    candidates.sort_by_key(|one| one["name"] != "Hogsend");
    for one in candidates.into_iter().take(LOOKED_AT) {
        let Some(id) = one["id"].as_str() else {
            continue;
        };
        let path = format!("hog_functions/{}/", encode(id));
        let found = ask(api, host, HttpMethod::Get, &path, None).await?;
        let own = found["inputs"]["url"]["value"].as_str();
        if own.is_some_and(|own| own.trim_end_matches('/') == url) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The inputs of the destination, as PostHog keeps them.
fn inputs(secret: &str, url: &str) -> Value {
    json!({
        "url": { "value": url },
        "method": { "value": "POST" },
        "body": { "value": body() },
        "headers": { "value": { "Content-Type": "application/json", SECRET_HEADER: secret } },
    })
}

async fn make(
    api: &PrivateApi,
    host: &Host,
    secret: &str,
    url: &str,
    wanted: &ConnectIn,
) -> Connected {
    let events = wanted.events.iter().enumerate();
    let events: Vec<Value> = events
        .map(|(at, name)| json!({ "id": name, "name": name, "type": "events", "order": at }))
        .collect();
    let mut new = json!({
        "type": "destination",
        "template_id": TEMPLATE,
        "name": "Hogsend",
        "description": format!("Sends events to {url}"),
        "enabled": true,
        "inputs": inputs(secret, url),
    });
    if !events.is_empty() {
        new["filters"] = json!({ "source": "events", "events": events });
    }
    let made = ask(api, host, HttpMethod::Post, "hog_functions/", Some(&new)).await;
    match made {
        Ok(made) => Connected::made(named(&made, url)),
        Err(reason) => Connected::failed(reason),
    }
}

/// Corrects what a destination sends. Its filters are its owner's business.
async fn correct(
    api: &PrivateApi,
    host: &Host,
    secret: &str,
    url: &str,
    found: &Value,
) -> Connected {
    let what = named(found, url);
    let right = inputs(secret, url);
    let own = &found["inputs"];
    let header = own["headers"]["value"].as_object().and_then(|all| {
        let mut all = all.iter();
        all.find(|(name, _)| name.eq_ignore_ascii_case(SECRET_HEADER))
    });
    let mut wrong = Vec::new();
    if header.is_none_or(|(_, value)| value != secret) {
        wrong.push("the secret");
    }
    if own["body"]["value"] != right["body"]["value"] {
        wrong.push("the body");
    }
    if own["method"]["value"]
        .as_str()
        .is_some_and(|method| method != "POST")
    {
        wrong.push("the method");
    }
    if found["enabled"] == false {
        wrong.push("that it was off");
    }
    if wrong.is_empty() {
        return Connected::found(what);
    }
    let mut inputs = own.clone();
    for (name, input) in right.as_object().into_iter().flatten() {
        inputs[name] = input.clone();
    }
    let change = json!({ "inputs": inputs, "enabled": true });
    let path = format!(
        "hog_functions/{}/",
        encode(found["id"].as_str().unwrap_or_default())
    );
    match ask(api, host, HttpMethod::Patch, &path, Some(&change)).await {
        Ok(_) => Connected::corrected(format!("{what}: {}", wrong.join(", "))),
        Err(reason) => Connected::failed(reason),
    }
}

fn named(one: &Value, url: &str) -> String {
    let name = one["name"].as_str().unwrap_or("Hogsend");
    format!("the destination '{name}' in PostHog's Data pipelines, to {url}")
}

/// Sends a request and reads its answer, or says what went wrong.
async fn ask(
    api: &PrivateApi,
    host: &Host,
    method: HttpMethod,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let sent = api.send(host, method, path, body, TIMEOUT).await;
    let answer = sent.map_err(|error| error.message)?;
    match answer.status {
        200..300 => answer.json().map_err(|_| {
            format!("PostHog's answer is not that of its API: check that {HOST} is a PostHog")
        }),
        429 => Err("PostHog's rate limit is reached: try again in a minute".into()),
        status => Err(api
            .refusal(status, SCOPE)
            .unwrap_or_else(|| refused(&answer, status))),
    }
}

/// What PostHog says of a request that it refuses, without the field's value.
fn refused(answer: &HttpResponse, status: u16) -> String {
    let said: Option<Value> = answer.json().ok();
    let said = said.as_ref();
    let code = said.and_then(|said| said["code"].as_str());
    let field = said.and_then(|said| said["attr"].as_str());
    match (code, field) {
        (Some(code), Some(field)) => {
            format!("PostHog refused it with {status}: {code} of {field}. Enter it by hand")
        }
        (Some(code), None) => format!("PostHog refused it with {status}: {code}. Enter it by hand"),
        _ => format!("PostHog answered {status}: try again, or enter it by hand"),
    }
}
