//! The plugin under test, and what every plugin promises.

use std::cell::RefCell;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::export::{self, Exported, Instance};
use hogsend_plugin_api::{
    CheckResult, Checked, Command, HttpError, HttpErrorKind, HttpRequest, HttpResponse, Manifest,
    Settings, SetupItem, StepError, ask,
};
use hogsend_semantics::hosts::AllowList;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::call::talk;
use crate::promise::{Promise, Verdict};
use crate::request;

/// What every plugin promises.
pub const PROMISES: [Promise; 6] = [
    Promise::new(
        "manifest",
        "The manifest breaks no rule of Hogsend: it has an id and a semantic version, describes each setting once, and refers only to settings that it declares.",
    ),
    Promise::new("starts", "It starts with the settings of the test."),
    Promise::new(
        "missing-settings",
        "Where a setting is missing it starts all the same, or refuses with a message that names the setting. A delivery plugin may name it for each mail.",
    ),
    Promise::new(
        "set-up",
        "`check` answers whatever the vendor answers, with a reason and a fix for what is faulty. `setup` has a label, a value and a place for each item.",
    ),
    Promise::new(
        "secrets",
        "No URL, result, error or line of the log contains a secret setting, even where the vendor repeats it.",
    ),
    Promise::new(
        "named-hosts",
        "It sends requests only to hosts that the manifest names.",
    ),
];

type Make<'a> = dyn Fn(&Settings) -> Result<Box<dyn Instance>, CallError> + 'a;

/// How a vendor answers a request.
pub(crate) type Answer<'a> = &'a dyn Fn(&HttpRequest) -> Result<HttpResponse, HttpError>;

/// The plugin under test.
pub(crate) struct Subject<'a> {
    pub manifest: Manifest,
    pub settings: Settings,
    pub verdict: Verdict,
    make: Box<Make<'a>>,
    secrets: Vec<Secret>,
    allowed: AllowList,
}

struct Secret {
    beginning: String,
    /// The setting is the URL to ask.
    is_url: bool,
}

/// A call with its requests.
pub(crate) struct Called<T> {
    pub value: T,
    pub asked: Vec<HttpRequest>,
}

impl<'a> Subject<'a> {
    /// A plugin. `kind` is what the report calls such a plugin.
    pub fn of<P: Exported>(settings: &Settings, kind: &'static str, own: &[Promise]) -> Self {
        let make = |settings: &Settings| export::create::<P>(settings);
        Self::new(export::manifest::<P>(), make, settings, kind, own)
    }

    /// A described event source.
    pub fn described(
        source: &'a Described,
        settings: &Settings,
        kind: &'static str,
        own: &[Promise],
    ) -> Self {
        let make = |settings: &Settings| source.create(settings);
        Self::new(source.manifest.clone(), make, settings, kind, own)
    }

    fn new(
        manifest: Manifest,
        make: impl Fn(&Settings) -> Result<Box<dyn Instance>, CallError> + 'a,
        settings: &Settings,
        kind: &'static str,
        own: &[Promise],
    ) -> Self {
        let settings = with_defaults(&manifest, settings);
        let secret = manifest.settings.iter().filter(|setting| setting.secret);
        let secrets = secret
            .filter_map(|setting| settings.get(&setting.name))
            .filter_map(Secret::of)
            .collect();
        Self {
            verdict: Verdict::new(&manifest.id, kind, &[&PROMISES, own]),
            allowed: AllowList::new(&manifest.http_hosts, &settings),
            settings,
            make: Box::new(make),
            secrets,
            manifest,
        }
    }

    /// A new instance with other settings, and the defaults of those that are missing.
    pub fn make(&self, settings: &Settings) -> Result<Box<dyn Instance>, CallError> {
        (self.make)(&with_defaults(&self.manifest, settings))
    }

    /// A new instance with the settings of the test.
    ///
    /// # Panics
    ///
    /// The plugin refuses them; [`begin`](Self::begin) reports that.
    pub fn start(&self) -> Box<dyn Instance> {
        self.make(&self.settings)
            .unwrap_or_else(|error| panic!("a plugin starts with the settings given: {error}"))
    }

    /// Checks what every plugin promises. Returns an instance unless the plugin does not start.
    pub fn begin(&self) -> Option<Box<dyn Instance>> {
        self.verdict.check("manifest", || self.manifest_is_sound());
        let plugin = match self.make(&self.settings) {
            Ok(plugin) => plugin,
            Err(error) => {
                self.verdict
                    .note("starts", format!("it refuses the settings: {error}"));
                return None;
            }
        };
        self.verdict
            .check("set-up", || self.set_up_answers(plugin.as_ref()));
        Some(plugin)
    }

    /// Without any one setting the plugin starts, or names it. Not for a delivery plugin, which may also
    /// name it for each mail.
    pub fn missing_settings_are_named(&self) {
        for setting in &self.manifest.settings {
            let mut settings = self.settings.clone();
            settings.remove(&setting.name);
            if let Err(error) = self.make(&settings) {
                self.holds_no_secret("the refusal of settings", &error.message);
                assert!(
                    error.code == CallError::BAD_SETTINGS && error.message.contains(&setting.name),
                    "without {} a plugin starts, or refuses in a message that names it: '{error}'",
                    setting.name
                );
            }
        }
    }

    fn manifest_is_sound(&self) {
        let manifest = &self.manifest;
        let faults = hogsend_semantics::manifest::faults(manifest);
        assert!(
            faults.is_empty(),
            "the host refuses the manifest: {}",
            faults.join("; ")
        );
        for (name, _) in self.settings.iter() {
            assert!(
                manifest.settings.iter().any(|setting| setting.name == name),
                "the test gives the setting {name}, so the manifest declares it: the host passes no others"
            );
        }
    }

    fn set_up_answers(&self, plugin: &dyn Instance) {
        let refused = |request: &HttpRequest| {
            // A vendor may repeat what it received.
            let given: Vec<&str> = request
                .headers
                .iter()
                .map(|(_, value)| value.as_str())
                .collect();
            Ok(HttpResponse::new(401, &[], given.join(" ")))
        };
        let answers: [Answer<'_>; 5] = [
            &|_| Ok(HttpResponse::new(200, &[], "{}")),
            &refused,
            &|_| Ok(HttpResponse::new(500, &[], "<html>")),
            &|_| Err(HttpError::new(HttpErrorKind::Lost, "no answer")),
            &|_| Err(HttpError::new(HttpErrorKind::Refused, "not allowed")),
        ];
        for answer in answers {
            let called = self.call::<_, Vec<Checked>>(plugin, method::PLUGIN_CHECK, &(), answer);
            let checked = match called.value {
                Err(error) if error.code == CallError::NO_METHOD => return,
                checked => checked.unwrap_or_else(|error| panic!("`check` answers: {error}")),
            };
            for one in checked {
                assert!(!one.what.trim().is_empty(), "a check says what it checked");
                if let CheckResult::Faulty { reason, fix, .. } = &one.result {
                    assert!(
                        !reason.trim().is_empty() && !fix.trim().is_empty(),
                        "a faulty '{}' has a reason and a fix",
                        one.what
                    );
                }
            }
        }
        let items: Vec<SetupItem> = crate::ask(plugin, method::PLUGIN_SETUP, &())
            .unwrap_or_else(|error| panic!("`setup` answers: {error}"));
        self.holds_no_secret("`setup`", &items);
        for item in items {
            assert!(
                [&item.label, &item.value, &item.place]
                    .iter()
                    .all(|text| !text.trim().is_empty()),
                "an item of `setup` has a label, a value and a place: {item:?}"
            );
        }
    }

    /// Calls a method. Requests other than HTTP get null as their answer, so caches are empty.
    pub fn call<I: Serialize, T: DeserializeOwned + std::fmt::Debug>(
        &self,
        plugin: &dyn Instance,
        number: u32,
        input: &I,
        answer: Answer<'_>,
    ) -> Called<Result<T, CallError>> {
        self.call_with_cache(plugin, number, input, answer, &Value::Null)
    }

    /// As [`call`](Self::call), with a value that every key has in the cache.
    pub fn call_with_cache<I: Serialize, T: DeserializeOwned + std::fmt::Debug>(
        &self,
        plugin: &dyn Instance,
        number: u32,
        input: &I,
        answer: Answer<'_>,
        cached: &Value,
    ) -> Called<Result<T, CallError>> {
        let asked = RefCell::new(Vec::new());
        let perform = |command: &Command| -> Result<Value, StepError> {
            match command.kind.as_str() {
                ask::HTTP => {
                    let request = request(command);
                    self.is_to_a_named_host(&request);
                    let answered = answer(&request).map_err(HttpError::into_step_error);
                    asked.borrow_mut().push(request);
                    answered.map(|response| json!(response))
                }
                ask::CACHE_GET => Ok(cached.clone()),
                _ => Ok(Value::Null),
            }
        };
        let talked = talk::<_, T>(plugin, number, input, perform);
        self.holds_no_secret("a line of the log", &talked.log);
        self.holds_no_secret("the result of a call", &talked.value);
        Called {
            value: talked.value,
            asked: asked.into_inner(),
        }
    }

    fn is_to_a_named_host(&self, request: &HttpRequest) {
        let url = &request.url;
        match url::Url::parse(url) {
            Ok(parsed) if self.allowed.allows(&parsed) => {}
            Ok(parsed) => self.verdict.note(
                "named-hosts",
                format!(
                    "it asks {}, which no `.http_host(…)` of the manifest allows",
                    parsed.origin().ascii_serialization()
                ),
            ),
            Err(error) => self.verdict.note(
                "named-hosts",
                format!("it asks '{url}', which is no URL: {error}"),
            ),
        }
        let secrets = self.secrets.iter().filter(|secret| !secret.is_url);
        if secrets.into_iter().any(|secret| secret.is_in(url)) {
            self.verdict
                .note("secrets", "a URL contains a secret setting".into());
        }
    }

    /// Notes a secret in what the plugin says, or its beginning, which a cut text could leave.
    pub fn holds_no_secret(&self, what: &str, said: &impl std::fmt::Debug) {
        let said = format!("{said:?}");
        if self.secrets.iter().any(|secret| secret.is_in(&said)) {
            self.verdict
                .note("secrets", format!("{what} contains a secret setting"));
        }
    }
}

/// The settings, and the defaults of those that are missing, as the host fills them in.
fn with_defaults(manifest: &Manifest, settings: &Settings) -> Settings {
    let mut all = settings.clone();
    for setting in &manifest.settings {
        if let (None, Some(value)) = (all.get(&setting.name), &setting.default) {
            all.insert(&setting.name, value);
        }
    }
    all
}

impl Secret {
    /// The first 8 characters; of a URL those after its host. `None` where these say nothing.
    fn of(value: &str) -> Option<Self> {
        let path = value
            .split_once("://")
            .map(|(_, rest)| rest.split_once('/'));
        let own = match path {
            Some(rest) => rest?.1,
            None => value,
        };
        let beginning: String = own.chars().take(8).collect();
        (!beginning.is_empty()).then_some(Self {
            beginning,
            is_url: path.is_some(),
        })
    }

    fn is_in(&self, text: &str) -> bool {
        text.contains(&self.beginning)
    }
}
