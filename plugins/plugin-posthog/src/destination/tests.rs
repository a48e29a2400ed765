use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    Command, ConnectIn, Connected, HttpMethod, Settings, SetupItem, StepError,
};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::PostHog;

const KEY: &str = "phx_hush0123456789";
const SECRET: &str = "whisper-0123456789";
const URL: &str = "https://hogsend.example.com/v1/webhooks/posthog";

fn settings() -> Vec<(&'static str, &'static str)> {
    vec![
        ("POSTHOG_HOST", "https://us.posthog.com"),
        ("POSTHOG_PERSONAL_API_KEY", KEY),
        ("POSTHOG_WEBHOOK_SECRET", SECRET),
    ]
}

/// PostHog's destinations, with the requests that changed them.
#[derive(Default)]
struct Project {
    all: Vec<Value>,
    changes: Vec<Value>,
}

impl Project {
    /// Answers as PostHog does: its list does not tell the inputs.
    fn answer(&mut self, command: &Command) -> Result<Value, StepError> {
        let asked = request(command);
        let path = asked
            .url
            .strip_prefix("https://us.posthog.com/api/projects/@current/hog_functions/");
        let path = path.unwrap_or_else(|| panic!("{}", asked.url));
        let body: Value = serde_json::from_slice(asked.body.as_slice()).unwrap_or_default();
        match (asked.method, path) {
            (HttpMethod::Get, "?types=destination&limit=500") => {
                let mut all = self.all.clone();
                for one in &mut all {
                    one.as_object_mut().unwrap().remove("inputs");
                }
                response(
                    200,
                    &[],
                    json!({ "count": all.len(), "results": all }).to_string(),
                )
            }
            (HttpMethod::Post, "") => {
                let mut made = body.clone();
                made["id"] = json!(format!("id-{}", self.all.len()));
                made["template"] = json!({ "id": body["template_id"] });
                self.all.push(made.clone());
                self.changes.push(body);
                response(201, &[], made.to_string())
            }
            (by, path) => {
                let one = self
                    .all
                    .iter_mut()
                    .find(|one| path == format!("{}/", one["id"].as_str().unwrap()));
                let one = one.unwrap_or_else(|| panic!("{path}"));
                if by == HttpMethod::Patch {
                    for (name, value) in body.as_object().unwrap() {
                        one[name] = value.clone();
                    }
                    self.changes.push(body);
                }
                response(200, &[], one.to_string())
            }
        }
    }

    fn connect(&mut self, events: &[&str]) -> Connected {
        connect(&settings(), events, |command| self.answer(command))
    }
}

fn connect(
    settings: &[(&str, &str)],
    events: &[&str],
    answer: impl FnMut(&Command) -> Result<Value, StepError>,
) -> Connected {
    let settings: Settings = settings.iter().copied().collect();
    let plugin = kit::start::<PostHog>(&settings).unwrap();
    let events = events.iter().map(|name| (*name).to_owned()).collect();
    let wanted = ConnectIn::new("https://hogsend.example.com", events);
    let done = kit::call(plugin.as_ref(), method::PLUGIN_CONNECT, wanted, answer).unwrap();
    let said = format!("{done:?}");
    assert!(!said.contains(KEY) && !said.contains(SECRET), "{said}");
    done
}

#[test]
fn a_destination_is_made_once_and_found_afterwards() {
    let mut project = Project::default();
    let made = project.connect(&["signed_up", "plan_upgraded"]);
    let Connected::Made { what, .. } = made else {
        panic!("{made:?}")
    };
    assert!(what.contains(URL), "{what}");
    let new = &project.changes[0];
    assert_eq!(new["type"], "destination");
    assert_eq!(new["template_id"], "template-webhook");
    assert_eq!(new["inputs"]["url"]["value"], URL);
    assert_eq!(
        new["inputs"]["headers"]["value"]["x-posthog-webhook-secret"],
        SECRET
    );
    assert_eq!(
        new["inputs"]["body"]["value"],
        json!({ "event": "{event}", "person": "{person}" })
    );
    let names: Vec<_> = new["filters"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert_eq!(names, ["signed_up", "plan_upgraded"]);
    let found = project.connect(&[]);
    assert!(matches!(found, Connected::Found { .. }), "{found:?}");
    assert_eq!(project.changes.len(), 1);
}

#[test]
fn a_destination_made_by_hand_is_found_by_its_url_and_corrected() {
    let mut project = Project {
        all: vec![
            json!({ "id": "a", "name": "Slack", "template": { "id": "template-slack" }, "inputs": {} }),
            json!({ "id": "b", "name": "Other", "template": { "id": "template-webhook" }, "enabled": true,
                    "inputs": { "url": { "value": "https://other.example.com" } } }),
            json!({ "id": "c", "name": "Ours", "template": { "id": "template-webhook" }, "enabled": true,
                    "filters": { "events": [{ "id": "signed_up" }] },
                    "inputs": {
                        "url": { "value": URL }, "method": { "value": "POST" }, "debug": { "value": true },
                        "body": { "value": { "event": "{event}", "person": "{person}" } },
                        "headers": { "value": { "X-PostHog-Webhook-Secret": "an earlier secret" } } } }),
        ],
        ..Project::default()
    };
    let corrected = project.connect(&["other"]);
    let Connected::Corrected { what, .. } = corrected else {
        panic!("{corrected:?}")
    };
    assert!(
        what.contains("'Ours'") && what.ends_with(": the secret"),
        "{what}"
    );
    let ours = &project.all[2];
    assert_eq!(
        ours["inputs"]["headers"]["value"]["x-posthog-webhook-secret"],
        SECRET
    );
    assert_eq!(ours["inputs"]["debug"]["value"], true);
    assert_eq!(ours["filters"]["events"][0]["id"], "signed_up");
    let found = project.connect(&[]);
    assert!(matches!(found, Connected::Found { .. }), "{found:?}");
    assert_eq!(project.changes.len(), 1);
}

#[test]
fn a_missing_setting_and_a_refusal_are_named() {
    let never = |asked: &Command| -> Result<Value, StepError> { panic!("asked {asked:?}") };
    for (number, missing) in [
        (0, "POSTHOG_HOST"),
        (1, "POSTHOG_PERSONAL_API_KEY"),
        (2, "POSTHOG_WEBHOOK_SECRET"),
    ] {
        let done = connect(&settings()[..number], &[], never);
        assert_eq!(done, Connected::not_set(missing));
    }
    for (status, body, word) in [
        (403, "", "hog_function:write"),
        (429, "", "minute"),
        (
            400,
            r#"{"code":"invalid_input","attr":"inputs__url","detail":"phx_hush0123456789"}"#,
            "inputs__url",
        ),
        (500, "", "500"),
        (200, "<html>", "POSTHOG_HOST"),
    ] {
        let done = connect(&settings(), &[], |_| response(status, &[], body));
        let Connected::Failed { reason, .. } = done else {
            panic!("{done:?}")
        };
        assert!(reason.contains(word), "{status}: {reason}");
    }
}

#[test]
fn what_to_enter_by_hand_names_the_secret_and_does_not_show_it() {
    let items = |settings: &[(&str, &str)]| -> Vec<SetupItem> {
        let settings: Settings = settings.iter().copied().collect();
        let plugin = kit::start::<PostHog>(&settings).unwrap();
        kit::ask(plugin.as_ref(), method::PLUGIN_SETUP, &()).unwrap()
    };
    let all = items(&settings());
    assert_eq!(all[0].value, "{url}/v1/webhooks/posthog");
    assert!(
        all.iter()
            .any(|it| it.value == r#"{"event":"{event}","person":"{person}"}"#)
    );
    let said = format!("{all:?}");
    assert!(
        said.contains("the value of POSTHOG_WEBHOOK_SECRET") && !said.contains(SECRET),
        "{said}"
    );
    assert!(format!("{:?}", items(&[])).contains("openssl rand"));
}
