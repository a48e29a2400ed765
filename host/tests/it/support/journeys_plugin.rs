//! Journeys that only tests need, linked into the test binary like any plugin.

use hogsend_plugin_api::journey::{
    self, Condition, Ctx, Entry, Journey, Late, Op, Sent, User, Waited, days, hours, minutes,
};
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Setting, Settings, Template, export_plugin};

use super::steps_plugin;

pub struct TestJourneys(String);

impl Plugin for TestJourneys {
    fn manifest() -> Manifest {
        Manifest::new("test-journeys", "0.0.1")
            .setting(Setting::new("STEPS_URL", "where http steps go").url())
            .http_host("$STEPS_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self(settings.get("STEPS_URL").unwrap_or_default().into()))
    }
}

impl Journeys for TestJourneys {
    fn journeys(&self) -> Vec<Journey> {
        let mut all = steps_plugin::journeys(&self.0);
        all.extend([
            Journey::new("t-exit", exit)
                .trigger("t.exit")
                .exit_on("t.stop")
                .exit_on_where("t.paid", Condition::property("amount", Op::Gte, 10)),
            Journey::new("t-where", nothing)
                .trigger("t.where")
                .trigger_where(Condition::eq("plan", "pro")),
            Journey::new("t-once", nothing)
                .trigger("t.once")
                .entry(Entry::Once),
            Journey::new("t-hourly", nothing)
                .trigger("t.hourly")
                .entry(Entry::once_per(hours(1))),
            Journey::new("t-trusted", nothing)
                .trigger("t.trusted")
                .trusted(),
            Journey::new("t-relay", relaying).trigger("t.relay"),
            Journey::new("t-gather", gathering).trigger("t.gather"),
            Journey::new("t-late", nothing).trigger("t.late"),
            Journey::new("t-however-late", nothing)
                .trigger("t.late")
                .late(Late::Enrol),
            Journey::new("t-slow", exit).trigger("t.slow"),
            Journey::new("t-off", nothing)
                .trigger("t.off")
                .enabled(false),
            Journey::new("t-loop", looping).trigger("t.loop"),
            Journey::new("t-echo", nothing).trigger("t.echo"),
            Journey::new("t-abort", aborting).trigger("t.abort"),
            Journey::new("t-panic", panicking).trigger("t.panic"),
            Journey::new("t-error", erring).trigger("t.error"),
            Journey::new("t-race", racing).trigger("t.race"),
            Journey::new("t-mail", mailing).trigger("t.mail"),
            Journey::new("t-receipt", mailing)
                .trigger("t.receipt")
                .category("transactional"),
            Journey::new("t-twice", mailing).trigger("t.twice"),
            Journey::new("t-invite", inviting).trigger("t.invite"),
            Journey::new("t-await-delivery", awaiting_delivery).trigger("t.await-delivery"),
            Journey::new("t-await-click", awaiting_click).trigger("t.await-click"),
            Journey::new("t-count", counting).trigger("t.count"),
            Journey::new("t-moody", moody).trigger("t.moody"),
        ]);
        all
    }

    fn templates(&self) -> Vec<Template> {
        let body = "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ props.word }}</mj-text>\
                    </mj-column></mj-section></mj-body></mjml>";
        let links = "<mjml><mj-body><mj-section><mj-column>\
                     <mj-button href=\"https://shop.test/go?a=1&amp;b=2#top\">Go</mj-button>\
                     <mj-text><a href=\"https://shop.test/s?q={{ props.word }}&amp;copy=1\">Search</a> \
                     <a href=\"https://shop.test/grün?größe=日本\">Green</a> \
                     <a data-track=\"false\" href=\"https://shop.test/plain\">Plain</a> \
                     <a href=\"mailto:help@shop.test\">Help</a> \
                     <a href=\"{{ unsubscribe_url }}\">Leave</a></mj-text>\
                     </mj-column></mj-section></mj-body></mjml>";
        let template = |key: &str, mjml: &str| Template::new(key, "Plain {{ props.word }}", mjml);
        vec![template("t-plain", body), template("t-links", links)]
    }
}

export_plugin!(TestJourneys: journeys, event_source);

async fn nothing(_: User, _: Ctx) -> journey::Result {
    Ok(())
}

async fn relaying(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("t.trusted").await?;
    Ok(())
}

/// Reads events, mails a word of each, and passes them on.
async fn gathering(_: User, ctx: Ctx) -> journey::Result {
    let read = match ctx.event().text("by") {
        Some("digest") => ctx.digest(hours(1)).await?.events,
        Some("history") => {
            ctx.sleep(hours(1)).await;
            ctx.history().events("t.told").within(hours(2)).await?
        }
        _ => {
            let told = ctx.wait_for("t.told").timeout(hours(1)).await;
            told.event().into_iter().collect()
        }
    };
    for event in &read {
        let word = event.text("word").unwrap_or("none").to_owned();
        ctx.send("t-plain").prop("word", word.clone()).await?;
        let noted = [("email".to_owned(), word.into())];
        ctx.identify(noted.into_iter().collect()).await?;
    }
    ctx.trigger("t.trusted").await?;
    Ok(())
}

async fn exit(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(days(1)).label("a-day").await;
    ctx.send("t-plain").prop("word", "late").await?;
    Ok(())
}

/// Triggers itself for ever; the host puts an end to it.
async fn looping(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("t.loop").await?;
    Ok(())
}

/// Ends the whole process, where that is one of its own.
async fn aborting(_: User, ctx: Ctx) -> journey::Result {
    if ctx.event().text("fatal").is_some() && std::env::var_os("HOGSEND_CRASH_DATABASE").is_some() {
        std::process::abort();
    }
    ctx.sleep(days(2)).await;
    Ok(())
}

async fn panicking(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(minutes(1)).await;
    panic!("the author erred");
}

async fn erring(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("no-such-template").await?;
    Ok(())
}

/// Two waits at once; the shorter one wins and the other is cancelled.
async fn racing(_: User, ctx: Ctx) -> journey::Result {
    tokio::select! {
        () = ctx.sleep(days(3)).label("long") => ctx.checkpoint("long-won"),
        () = ctx.sleep(hours(2)).label("short") => ctx.checkpoint("short-won"),
    }
    ctx.sleep(hours(1)).await;
    Ok(())
}

/// One mail, and a mark of how it ended.
async fn mailing(_: User, ctx: Ctx) -> journey::Result {
    let word = ctx.event().text("word").unwrap_or("world").to_owned();
    let mut send = ctx.send("t-plain").prop("word", word);
    if let Some(category) = ctx.event().text("category") {
        send = send.category(category);
    }
    if let Some(useful) = ctx.event().text("usefulMinutes") {
        send = send.not_after(minutes(useful.parse().unwrap()));
    }
    match send.await? {
        Sent::Sent { .. } => ctx.checkpoint("was-sent"),
        Sent::Skipped { reason, .. } => ctx.checkpoint(&format!("skipped-{reason}")),
        Sent::Failed { .. } => ctx.checkpoint("failed"),
        other => ctx.checkpoint(&format!("{other:?}")),
    }
    Ok(())
}

/// Writes to somebody else.
async fn inviting(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("t-plain").to("canary@example.com").await?;
    Ok(())
}

/// Goes on when its mail was delivered.
async fn awaiting_delivery(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("t-plain").await?;
    match ctx.wait_for("email.delivered").timeout(days(1)).await {
        Waited::Event(_) => ctx.checkpoint("delivered"),
        Waited::TimedOut => ctx.checkpoint("lost"),
    }
    Ok(())
}

/// Goes on when a link in its mail was followed.
async fn awaiting_click(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("t-links").prop("word", "a%20b%26c").await?;
    match ctx.wait_for("email.clicked").timeout(days(1)).await {
        Waited::Event(click) => {
            ctx.checkpoint(&format!("clicked {}", click.text("url").unwrap_or("-")));
        }
        Waited::TimedOut => ctx.checkpoint("never-clicked"),
    }
    Ok(())
}

/// Sees an event it triggered itself.
async fn counting(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("t.counted").prop("by", "t-count").await?;
    let seen = ctx
        .history()
        .has_event("t.counted")
        .within(hours(1))
        .await?;
    ctx.checkpoint(&format!("saw-{}", seen.count));
    Ok(())
}

/// What this journey does can be switched: a stand-in for code that changed under a run.
async fn moody(user: User, ctx: Ctx) -> journey::Result {
    let changed = MOODS
        .lock()
        .unwrap()
        .contains(&user.external_id.unwrap_or_default());
    if changed {
        ctx.send("t-plain").await?;
    } else {
        ctx.sleep(hours(1)).label("calm").await;
    }
    Ok(())
}

/// People for whom the code of `t-moody` has changed.
pub static MOODS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
