//! The process that checks a library: everything that Hogsend does with one, with sample values.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hogsend_plugin_api::journey::RunStatus;
use hogsend_plugin_api::{
    Attempt, DeliveryReading, Reading, Refusal, SendOutcome, Sent, Settings, Template,
};
use uuid::Uuid;

use super::check::Values;
use super::report::{Check, Report};
use super::samples::{SECRET, garbage, sample_mail, sample_run, sample_settings, shown, webhook};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::http_client::http_client_builder;
use crate::plugins::{
    Libraries, Performer, PluginError, Problem, Registry, Search, Start, owner_fault,
    without_effect,
};
use crate::private;
use crate::purpose::ByPurpose;
use crate::templates;

/// The code of a plugin that refuses its settings.
const REFUSES: &str = "PLUGIN-011";

#[derive(Args)]
pub struct Probe {
    file: PathBuf,
    /// Where the report is written
    #[arg(long)]
    report: PathBuf,
    #[command(flatten)]
    values: Values,
}

/// The checks of one library, in their order.
struct Checking {
    report: Report,
    path: PathBuf,
}

pub async fn run(wanted: Probe) -> anyhow::Result<()> {
    limit_process();
    // Panics of the library are in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let mut checking = Checking {
        report: Report::new(wanted.file.clone()),
        path: wanted.report,
    };
    let folder = checking.path.parent().unwrap_or(Path::new(".")).to_owned();
    checking
        .all(&wanted.file, &folder, &wanted.values.set)
        .await;
    checking.report.running = None;
    checking.save();
    Ok(())
}

/// A library that takes all memory or computes for ever ends this process alone.
#[cfg(unix)]
fn limit_process() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let limit = |resource, most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        // A lower limit of the system's own stays.
        let _ = setrlimit(resource, limit);
    };
    limit(Resource::As, 8 * 1024 * 1024 * 1024);
    limit(Resource::Cpu, 90);
    limit(Resource::Fsize, 1024 * 1024 * 1024);
    limit(Resource::Core, 0);
}

#[cfg(not(unix))]
fn limit_process() {}

impl Checking {
    /// Notes that a check begins, since it may be the last.
    fn begin(&mut self, name: &str) -> Check {
        self.report.running = Some(name.to_owned());
        self.save();
        Check::new(name)
    }

    fn end(&mut self, check: Check) {
        self.report.checks.push(check);
    }

    fn save(&self) {
        let Ok(text) = serde_json::to_vec(&self.report) else {
            return;
        };
        let partial = self.path.with_extension("partial");
        let written = private::file(&partial)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &text))
            .and_then(|()| std::fs::rename(&partial, &self.path));
        if written.is_err() {
            std::process::exit(2);
        }
    }

    async fn all(&mut self, file: &Path, folder: &Path, given: &[(String, String)]) {
        let libraries = Libraries::unchecked();
        let copies = folder.join("copies");
        let Some(id) = self.load(file, &copies, &libraries) else {
            return;
        };
        let clock = Clock::system();
        let without = self
            .start(file, &copies, &libraries, &clock, Settings::default())
            .await;
        let sample = self.report.manifest.as_ref();
        let sample = sample.map(|manifest| sample_settings(manifest, given));
        let sample = sample.unwrap_or_default();
        let with = self.start(file, &copies, &libraries, &clock, sample).await;
        let mut check = self.begin("start");
        let manifest = self.report.manifest.as_ref();
        let required = manifest.map(|one| one.settings.iter().any(|setting| setting.required));
        for problem in without.err().unwrap_or_default() {
            if problem.code == REFUSES && required == Some(false) {
                check.fault(format!(
                    "without settings, none of which is required: {problem}"
                ));
            }
        }
        let registry = match with {
            Ok(registry) => registry,
            Err(problems) => {
                for problem in problems {
                    // A sample need not have the form that the plugin expects.
                    match problem.code {
                        REFUSES => check.note(format!(
                            "with sample settings: {problem}; give values with --set NAME=VALUE"
                        )),
                        _ => check.fault(problem.to_string()),
                    }
                }
                check.note("what it does was not checked");
                self.end(check);
                return;
            }
        };
        check.found = "starts with sample settings".into();
        self.end(check);
        self.journeys(&registry).await;
        self.event_source(&id, &registry, &clock).await;
        self.delivery(&id, &registry, &clock).await;
    }

    /// Opens the library. Returns its id, if there is a plugin to start.
    fn load(&mut self, file: &Path, copies: &Path, libraries: &Libraries) -> Option<String> {
        let mut check = self.begin("file");
        if let Some(fault) = owner_fault(file) {
            check.note(format!("production refuses it: {}", fault.message));
        }
        let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        check.found = format!("{} KiB", size.div_ceil(1024));
        let files = [file.to_owned()];
        let search = Search {
            files: &files,
            ..Search::new(copies, libraries)
        };
        let (found, problems) = search.find();
        for problem in problems {
            check.fault(problem.to_string());
        }
        let path = file.canonicalize().ok();
        let all = found.info();
        let info = all
            .iter()
            .find(|one| one.path.is_some() && one.path == path);
        self.report.sha256 = info.and_then(|one| one.sha256.clone());
        self.end(check);
        let info = info?;
        let mut check = self.begin("manifest");
        let manifest = found.manifests().chain(found.older());
        let manifest = all
            .iter()
            .zip(manifest)
            .find(|(one, _)| one.path == info.path);
        let (_, manifest) = manifest?;
        for fault in hogsend_semantics::manifest::faults(manifest) {
            check.fault(fault);
        }
        for lacks in &info.lacks {
            check.note(format!("this Hogsend lacks {lacks}"));
        }
        if manifest.kinds.is_empty() {
            check.fault("it has no kind that this Hogsend knows: name one in `export_plugin!`");
        }
        let secrets = manifest.settings.iter().filter(|one| one.secret).count();
        check.found = format!(
            "{} settings, {secrets} of them secret",
            manifest.settings.len()
        );
        let id = manifest.id.clone();
        self.report.manifest = Some(manifest.clone());
        let sound = check.faults.is_empty();
        self.end(check);
        sound.then_some(id)
    }

    /// Starts the library alone.
    async fn start(
        &mut self,
        file: &Path,
        copies: &Path,
        libraries: &Libraries,
        clock: &Clock,
        settings: Settings,
    ) -> Result<Registry, Vec<Problem>> {
        self.report.running = Some("start".into());
        self.save();
        let files = [file.to_owned()];
        let search = Search {
            files: &files,
            ..Search::new(copies, libraries)
        };
        let (mut found, problems) = search.find();
        if !problems.is_empty() {
            return Err(problems);
        }
        let id = self.report.manifest.as_ref().map(|one| one.id.clone());
        let id = id.unwrap_or_default();
        let others = found.manifests().chain(found.older());
        let others: HashSet<String> = others
            .map(|one| one.id.clone())
            .filter(|one| *one != id)
            .collect();
        found.without(&others);
        let cache = Arc::new(Cache::connect(None, clock.clone()));
        let performer = Performer::new(unconnected_client(), cache, copies.join("files"));
        let deliveries = ByPurpose::both(vec![id.clone()]);
        let start = Start {
            settings: &BTreeMap::from([(id, settings)]),
            deliveries: &deliveries,
            listening: &[],
            performer,
            clock: clock.clone(),
            in_use: None,
            is_needed: &|_, _| false,
        };
        match found.start_with(start).await {
            (registry, problems) if problems.is_empty() => Ok(registry),
            (_, problems) => Err(problems),
        }
    }

    async fn journeys(&mut self, registry: &Registry) {
        let Some(plugin) = registry.journeys().into_iter().next() else {
            return;
        };
        let catalogue = plugin.catalogue();
        let mut check = self.begin("templates");
        for template in &catalogue.templates {
            if let Some(fault) = template_fault(template) {
                check.fault(fault);
            }
        }
        check.found = format!("{} compiled and rendered", catalogue.templates.len());
        self.end(check);
        let mut check = self.begin("journeys");
        for journey in &catalogue.journeys {
            let name = format!("journey '{}' ({})", journey.id, journey.location);
            let first = plugin.advance(sample_run(journey)).await;
            let second = plugin.advance(sample_run(journey)).await;
            match (first, second) {
                (Ok(first), Ok(second)) => {
                    if first != second {
                        check.fault(format!(
                            "{name}: two calls with the same journal issue different steps: use no clock, \
                             randomness or HashMap outside of `ctx`"
                        ));
                    }
                    match first.status {
                        RunStatus::Failed { message, .. } => check.note(format!(
                            "{name}: fails for a contact and an event without properties: {message}"
                        )),
                        RunStatus::Stuck { message, .. } => {
                            check.fault(format!("{name}: {message}"));
                        }
                        RunStatus::Diverged(_) => {
                            check.fault(format!("{name}: does not fit an empty journal"));
                        }
                        _ => {}
                    }
                }
                (Err(error), _) | (_, Err(error)) => check.fault(format!("{name}: {error}")),
            }
        }
        for sentence in without_effect(catalogue) {
            check.note(sentence);
        }
        check.found = format!("{} advanced twice", catalogue.journeys.len());
        self.end(check);
    }

    async fn event_source(&mut self, id: &str, registry: &Registry, clock: &Clock) {
        let Some(source) = registry.event_source(id) else {
            return;
        };
        let mut check = self.begin("webhooks");
        if let Some(sample) = source.manifest().sample_webhook.clone() {
            let sample = sample.replace("{uuid}", &Uuid::new_v4().to_string());
            let sample = sample.replace("{now}", &clock.now().to_rfc3339());
            let webhook = webhook(sample.into_bytes(), clock);
            match (source.read(&webhook).await, source.read(&webhook).await) {
                (Ok(first), Ok(second)) if first != second => {
                    check.fault("the sample webhook is read in two ways: it must not depend on a clock or randomness");
                }
                (Ok(Ok(reading)), _) => {
                    check.found = format!("the sample is read as {}", told(&reading));
                }
                (Ok(Err(Refusal::Unauthorized { .. })), _) => {
                    check.found = "the sample is refused without its signature".into();
                }
                (Ok(Err(refusal)), _) => {
                    check.fault(format!("the sample webhook is refused: {refusal:?}"));
                }
                (Err(error), _) => check.fault(format!("the sample webhook: {error}")),
            }
        } else {
            check.note("the manifest has no sample webhook");
        }
        for body in garbage() {
            let what = shown(&body);
            match source.read(&webhook(body, clock)).await {
                Ok(Ok(Reading::Events(events))) if !events.is_empty() => {
                    check.note(format!("{} events were read from {what}", events.len()));
                }
                Ok(read) => leaks(&format!("{read:?}"), &what, &mut check),
                Err(error) => check.fault(format!("{what}: {error}")),
            }
        }
        self.end(check);
    }

    async fn delivery(&mut self, id: &str, registry: &Registry, clock: &Clock) {
        let Some(delivery) = registry.delivery(id) else {
            return;
        };
        let mut check = self.begin("delivery");
        let mail = sample_mail(clock);
        match (delivery.prepare(&mail).await, delivery.prepare(&mail).await) {
            (Ok(Ok(first)), Ok(Ok(second))) => {
                if first != second {
                    check.fault("one mail has different bytes each time: a retry must repeat the same bytes");
                }
                check.found = format!("a mail is prepared as {}", first.content_type);
                leaks(&format!("{first:?}"), "the bytes of a mail", &mut check);
                let manifest = self.report.manifest.as_ref();
                let connects = manifest.is_some_and(|one| one.blocking);
                if !connects && !delivery.is_local() {
                    let attempt = Attempt::new("sample", first, clock.now(), 1);
                    unanswered(delivery.send(attempt).await, &mut check);
                }
            }
            (Ok(Err(why)), _) | (_, Ok(Err(why))) => {
                check.fault(format!("a plain mail is refused: {why}"));
            }
            (Err(error), _) | (_, Err(error)) => check.fault(error.to_string()),
        }
        for body in garbage() {
            let what = shown(&body);
            match delivery.read_webhook(&webhook(body, clock)).await {
                Ok(Ok(DeliveryReading::Events(events))) if !events.is_empty() => {
                    check.note(format!("{} events were read from {what}", events.len()));
                }
                Ok(read) => leaks(&format!("{read:?}"), &what, &mut check),
                // Some providers' signatures need a certificate, which is not fetched here.
                Err(error) => check.fault(format!("{what}: {error}")),
            }
        }
        check.note("what it does with its provider's answers is tested by hogsend_plugin_kit::delivery::conformance");
        self.end(check);
    }
}

/// Its requests fail: nobody is to be asked with sample values.
fn unconnected_client() -> reqwest::Client {
    let nowhere = reqwest::Proxy::all("http://127.0.0.1:9").expect("a proxy's URL");
    let client = http_client_builder().proxy(nowhere).build();
    client.expect("a client with a TLS provider installed can be built")
}

/// The outcome of an attempt whose requests got no answer.
fn unanswered(sent: Result<Sent, PluginError>, check: &mut Check) {
    let outcome = match sent {
        Ok(sent) => sent.outcome,
        Err(error) => return check.fault(format!("an attempt without an answer: {error}")),
    };
    leaks(
        &format!("{outcome:?}"),
        "an attempt without an answer",
        check,
    );
    if matches!(
        outcome,
        SendOutcome::Accepted { .. } | SendOutcome::Rejected { .. }
    ) {
        check.fault(
            "an attempt to which the provider did not answer must end as Retry or Unknown, not as \
             Accepted or Rejected",
        );
    }
}

/// Whether an answer contains a secret.
fn leaks(answer: &str, to: &str, check: &mut Check) {
    if answer.contains(SECRET) {
        check.fault(format!("{to}: the answer contains a secret setting"));
    }
}

fn template_fault(template: &Template) -> Option<String> {
    let key = &template.key;
    let tried = hogsend_render::syntax(template);
    let tried =
        tried.and_then(|()| templates::try_out(template, None, templates::category(template)));
    let line = |line: Option<usize>| line.map_or_else(String::new, |line| format!(", line {line}"));
    let error = tried.err()?;
    Some(format!(
        "template '{key}', {}{}: {}",
        error.part,
        line(error.line),
        error.why
    ))
}

fn told(reading: &Reading) -> String {
    match reading {
        Reading::Events(events) => {
            let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
            match names.as_slice() {
                [] => "no event".into(),
                names => names.join(", "),
            }
        }
        Reading::Skipped { reason, .. } => format!("nothing to store ({reason})"),
        _ => "an answer".into(),
    }
}
