//! What a call learns of its host and tells it: requests while a webhook is read, log, deadline, set-up,
//! documents.

use hogsend_plugin_api::call::{Ask, CallError, Reply, decode, encode, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{
    self, AdvanceIn, AdvanceOut, Catalogue, CatalogueIn, Ctx, Document, DocumentFault, Journey,
    RunStatus, TriggerEvent, User, days, step,
};
use hogsend_plugin_api::{
    CheckResult, Checked, EventSource, Host, HostInfo, HttpMethod, HttpRequest, Journeys, LogLevel,
    Manifest, Past, PastIn, PastPage, Plugin, Reading, Refusal, Settings, SetupItem, SourceEvent,
    StepError, Template, Webhook, export_plugin, feature,
};
use hogsend_plugin_kit as kit;
use hogsend_plugin_kit::{Run, request, response};
use serde_json::{Value, json};

struct Curious {
    host: HostInfo,
}

impl Plugin for Curious {
    fn manifest() -> Manifest {
        Manifest::new("curious", "1.0.0").needs(feature::WEBHOOK_REQUESTS)
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            host: settings.host(),
        })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        let request = HttpRequest::new(HttpMethod::Get, "https://curious.example/me");
        let key = match host.http(request).await {
            Ok(answer) if answer.status == 200 => Checked::sound("the key"),
            Ok(answer) => {
                let reason = format!("status {}", answer.status);
                Checked::faulty("the key", reason, "set CURIOUS_KEY")
            }
            Err(_) => Checked::unknown("the key"),
        };
        vec![key, Checked::not_set("the other key", "CURIOUS_OTHER_KEY")]
    }

    fn setup(&self) -> Vec<SetupItem> {
        vec![SetupItem::new(
            "Endpoint URL",
            "{url}/v1/webhooks/curious",
            "https://curious.example/hooks",
        )]
    }
}

impl EventSource for Curious {
    async fn read(&self, host: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        host.log(LogLevel::Info, "begun");
        let certificate = HttpRequest::new(HttpMethod::Get, "https://curious.example/cert");
        let certificate = host.http(certificate).await.map_err(|error| {
            host.log(LogLevel::Warn, &error.message);
            Refusal::unauthorized_because("its certificate cannot be read")
        })?;
        host.log(LogLevel::Debug, "read the certificate");
        if certificate.body != webhook.body {
            return Ok(Reading::answer(202, "text/plain", "later"));
        }
        for _ in 0..1_000 {
            host.log(LogLevel::Error, &"x".repeat(10_000));
        }
        let deadline = host.deadline().map(|at| at.timestamp()).unwrap_or_default();
        let mut event = SourceEvent::new("seen");
        event.properties.insert("deadline".into(), json!(deadline));
        event
            .properties
            .insert("host".into(), json!(self.host.version));
        Ok(Reading::Events(vec![event]))
    }

    async fn history(&self, host: &Host, past: &PastIn) -> Past {
        let url = format!(
            "https://curious.example/past?after={}",
            past.cursor.as_deref().unwrap_or("start")
        );
        match host.http(HttpRequest::new(HttpMethod::Get, url)).await {
            Ok(_) => Past::Page(PastPage::new(
                vec![SourceEvent::new("old")],
                Some("p2".into()),
            )),
            Err(error) => Past::unavailable(error.message, None),
        }
    }
}

impl Journeys for Curious {
    fn journeys(&self) -> Vec<Journey> {
        vec![Journey::new("asking", asking).source(include_str!("host.rs"))]
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }

    /// A document is a line: the id of a journey that sleeps as many days as its version says.
    fn read_documents(&self, documents: &[Document]) -> Vec<Result<Journey, DocumentFault>> {
        let read = documents.iter().map(|document| {
            let id = document.text.trim();
            if id.is_empty() {
                let fault = DocumentFault::new(&document.name, Some(1), "an id is missing");
                return Err(fault);
            }
            let length = days(u64::from(document.version));
            let code = move |_: User, ctx: Ctx| async move {
                ctx.sleep(length).await;
                Ok(())
            };
            Ok(Journey::new(id, code).document(&document.name))
        });
        read.collect()
    }
}

async fn asking(_: User, ctx: Ctx) -> journey::Result {
    let known = ctx.in_segment("sleepers").await;
    if known.is_err_and(|error| error.is_not_supported()) {
        ctx.checkpoint("no segments");
    }
    if ctx.list("beta").join().await? {
        ctx.checkpoint("joined");
    }
    Ok(())
}

export_plugin!(Curious: event_source, journeys);

fn plugin() -> Box<dyn Instance> {
    let host = HostInfo::new("9.9.9", &[feature::LOG]);
    let settings = Settings::default().with_host(&host);
    kit::start::<Curious>(&settings).unwrap()
}

/// One round of reading a webhook, as an old or a new host begins it.
fn round(plugin: &dyn Instance, ask: &Ask<Webhook>) -> Reply<Result<Reading, Refusal>> {
    let output = plugin.call(method::EVENT_SOURCE_READ, &encode(ask).unwrap());
    decode(&output.unwrap()).unwrap()
}

#[test]
fn each_line_is_told_once_and_the_deadline_is_known() {
    let plugin = plugin();
    let webhook = Webhook::new(Vec::new(), "cert", kit::beginning());
    let mut ask = Ask::new(webhook, kit::beginning());
    ask.deadline_ms = Some(9_000);
    let first = round(plugin.as_ref(), &ask);
    assert_eq!((first.ask.len(), first.log.len()), (1, 1));
    assert_eq!(first.log[0].text, "begun");

    ask.logged = first.log.len() as u32;
    let state = json!({ "done": { "pos": 1, "at": kit::beginning(),
        "result": response(200, &[], "cert") } });
    let issued = hogsend_plugin_api::Step::issued(&first.ask[0]);
    let state = serde_json::from_value(state).unwrap();
    ask.steps.push(issued.with_state(state));
    let second = round(plugin.as_ref(), &ask);
    // "begun" again, one line more, and what fits of the rest.
    assert_eq!(second.log.len(), 49);
    assert_eq!(
        (second.log[0].level, second.log[0].text.as_str()),
        (LogLevel::Debug, "read the certificate")
    );
    assert_eq!(second.log[1].text.chars().count(), 1_000);
    let Some(Ok(Reading::Events(events))) = second.done else {
        panic!("{:?}", second.done);
    };
    let deadline = kit::beginning().timestamp() + 9;
    assert_eq!(events[0].properties["deadline"], deadline);
    assert_eq!(events[0].properties["host"], "9.9.9");
}

#[test]
fn a_webhook_may_be_answered_or_refused_with_a_reason() {
    let plugin = plugin();
    let read = |answer: &dyn Fn() -> Result<Value, StepError>| {
        let webhook = Webhook::new(Vec::new(), "body", kit::beginning());
        let host = |_: &_| answer();
        kit::call::<_, Result<Reading, Refusal>>(
            plugin.as_ref(),
            method::EVENT_SOURCE_READ,
            webhook,
            host,
        )
        .unwrap()
    };
    assert_eq!(
        read(&|| response(200, &[], "another")),
        Ok(Reading::answer(202, "text/plain", "later"))
    );
    assert_eq!(
        read(&|| Err(StepError::not_supported("http"))),
        Err(Refusal::unauthorized_because(
            "its certificate cannot be read"
        ))
    );
}

#[test]
fn a_plugin_says_how_it_is_set_up_and_what_to_enter() {
    let plugin = plugin();
    let check = |status| -> Vec<Checked> {
        let answer = |command: &_| {
            assert_eq!(request(command).url, "https://curious.example/me");
            response(status, &[], "")
        };
        kit::call(plugin.as_ref(), method::PLUGIN_CHECK, (), answer).unwrap()
    };
    assert_eq!(check(200)[0], Checked::sound("the key"));
    let faulty = &check(401)[0].result;
    assert!(matches!(faulty, CheckResult::Faulty { fix, .. } if fix == "set CURIOUS_KEY"));
    let setup: Vec<SetupItem> = kit::ask(plugin.as_ref(), method::PLUGIN_SETUP, &()).unwrap();
    assert_eq!(setup[0].value, "{url}/v1/webhooks/curious");
    let wire = serde_json::to_value(&setup[0]).unwrap();
    assert_eq!(wire["where"], "https://curious.example/hooks");
}

#[test]
fn the_past_is_read_page_by_page() {
    let plugin = plugin();
    let past = PastIn::new(kit::beginning(), Some("p1".into()));
    let read: Past = kit::call(
        plugin.as_ref(),
        method::EVENT_SOURCE_HISTORY,
        past,
        |asked| {
            assert!(request(asked).url.ends_with("after=p1"));
            response(200, &[], "")
        },
    )
    .unwrap();
    let page = PastPage::new(vec![SourceEvent::new("old")], Some("p2".into()));
    assert_eq!(read, Past::Page(page));
}

#[test]
fn a_method_that_a_plugin_has_not_is_named_as_such() {
    let plugin = plugin();
    for number in [0, 3, 103, 200, 303, 402, u32::MAX] {
        let error = plugin.call(number, b"null").unwrap_err();
        assert_eq!(error.code, CallError::NO_METHOD, "{number}");
    }
}

#[test]
fn steps_that_a_host_does_not_know_are_errors_with_a_code() {
    let plugin = plugin();
    let event = TriggerEvent::new("x", Default::default());
    let mut run = Run::begin(plugin.as_ref(), "asking", kit::user(), event);
    run.answer(step::SEGMENT, Err(StepError::not_supported(step::SEGMENT)));
    assert_eq!(run.checkpoints(), ["no segments"]);
    assert_eq!(
        run.open()[0].args,
        json!({ "list": "beta", "member": true })
    );
    run.answer(step::LIST, Ok(json!(true)));
    assert_eq!(run.checkpoints(), ["no segments", "joined"]);
    assert_eq!(run.status(), &RunStatus::Completed);
}

#[test]
fn journeys_of_documents_are_listed_and_runs_keep_the_document_they_began_with() {
    let plugin = plugin();
    let list = |documents| -> Catalogue {
        let input = CatalogueIn::new(documents);
        kit::ask(plugin.as_ref(), method::JOURNEYS_CATALOGUE, &input).unwrap()
    };
    let document = |version| Document::new("a.txt", version, "sleeper\n");
    let catalogue = list(vec![document(2), Document::new("b.txt", 1, "")]);
    let ids: Vec<_> = catalogue.journeys.iter().map(|one| &one.id).collect();
    assert_eq!(ids, ["asking", "sleeper"]);
    assert_eq!(catalogue.journeys[1].document.as_deref(), Some("a.txt"));
    let source = catalogue.journeys[0].source.as_deref().unwrap();
    assert!(source.starts_with("//! What a call learns"));
    assert_eq!(
        (&*catalogue.faults[0].document, catalogue.faults[0].line),
        ("b.txt", Some(1))
    );

    let sleeps = |own: Option<Document>| -> Result<Value, CallError> {
        let event = TriggerEvent::new("x", Default::default());
        let id = uuid::Uuid::nil();
        let mut run = AdvanceIn::new("sleeper", id, kit::beginning(), kit::user(), event);
        run.document = own;
        let output = plugin.call(method::JOURNEYS_ADVANCE, &encode(&run)?)?;
        let out: AdvanceOut = decode(&output)?;
        Ok(out.commands[0].args["ms"].clone())
    };
    let day = 86_400_000_u64;
    assert_eq!(sleeps(None).unwrap(), 2 * day);
    assert_eq!(sleeps(Some(document(1))).unwrap(), day);
    // As hosts of the drafts ask; the documents are gone.
    let catalogue: Catalogue = kit::ask(plugin.as_ref(), method::JOURNEYS_CATALOGUE, &()).unwrap();
    assert_eq!(catalogue.journeys.len(), 1);
    assert!(sleeps(None).is_err());
    assert_eq!(sleeps(Some(document(3))).unwrap(), 3 * day);
}
