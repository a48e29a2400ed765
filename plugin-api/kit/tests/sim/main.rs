//! Results of steps and guards in the simulator.

mod chains;
mod mails;

use chrono::TimeDelta;
use hogsend_plugin_api::journey::{
    self, Condition, Ctx, Entry, Journey, Op, User, Waited, Weekday, days, hours, minutes,
};
use hogsend_plugin_api::{HttpMethod, HttpRequest, Properties, Trust};
use hogsend_plugin_kit::sim::{Arrival, Policy, Sim, Status, Tz};
use hogsend_plugin_kit::{beginning, response};
use serde_json::json;

/// A journey that only performs these steps.
fn made<F, R>(id: &'static str, run: F) -> impl Fn() -> Journey
where
    F: Fn(User, Ctx) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = journey::Result> + 'static,
{
    move || Journey::new(id, run).trigger("go")
}

fn trial() -> Journey {
    Journey::new("trial-upgrade", upgrade)
        .trigger("trial.started")
        .entry(Entry::Once)
        .suppress(days(1))
        .exit_on("subscription.cancelled")
        .exit_on_where("user.deleted", Condition::eq("hard", true))
}

async fn upgrade(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(days(3)).label("usage-check").await;
    let used = ctx.history().has_event("usage.milestone").within(days(3));
    if used.await?.found {
        ctx.send("usage-milestone").prop("plan", "pro").await?;
    }
    match ctx
        .wait_for("subscription.created")
        .timeout(days(4))
        .where_(Condition::eq("plan", "pro"))
        .await
    {
        Waited::Event(_) => ctx.checkpoint("converted"),
        Waited::TimedOut => {
            ctx.send("trial-expiring").await?;
        }
    }
    Ok(())
}

#[test]
fn a_trial_that_is_used_and_paid_for() {
    Sim::new(trial)
        .event("trial.started")
        .advance(days(2))
        .event("usage.milestone")
        .assert_not_sent("usage-milestone")
        .advance(days(1))
        .assert_sent("usage-milestone")
        .event_with("subscription.created", json!({ "plan": "free" }))
        .assert_status(Status::Waiting)
        .event_with("subscription.created", json!({ "plan": "pro" }))
        .assert_checkpoint("converted")
        .assert_status(Status::Completed)
        .advance(days(30))
        .assert_not_sent("trial-expiring");
}

#[test]
fn a_trial_that_runs_out() {
    let mut sim = Sim::new(trial);
    sim.event("trial.started").advance(days(7));
    sim.assert_mails(&["trial-expiring"]);
    assert_eq!(
        sim.sends()[0].sent_at(),
        Some(beginning() + TimeDelta::days(7))
    );
    let lines: Vec<String> = sim
        .timeline()
        .iter()
        .map(|entry| entry.what.to_string())
        .collect();
    assert_eq!(
        lines,
        [
            "event trial.started",
            "enters",
            "sleep 'usage-check' until 2026-01-04 00:00",
            "sleep 'usage-check' done",
            "history.has_event = {\"count\":0,\"found\":false,\"last_at\":null}",
            "wait_for until 2026-01-08 00:00",
            "wait_for = \"timed_out\"",
            "sent trial-expiring to user-1@example.com",
            "completed",
            "event journey.completed (from a journey)",
        ]
    );
}

#[test]
fn exits_end_a_run_at_once_and_for_good() {
    let mut sim = Sim::new(trial);
    sim.event("trial.started")
        .event_with("user.deleted", json!({ "hard": false }))
        .assert_status(Status::Waiting)
        .event_with("user.deleted", json!({ "hard": true }))
        .assert_status(Status::Exited)
        .advance(days(100))
        .assert_status(Status::Exited)
        .assert_mails(&[])
        .event("trial.started");
    assert_eq!(
        sim.refusals().collect::<Vec<_>>(),
        [("trial-upgrade", "already_entered_once", 1)]
    );
    assert!(sim.trace().contains("\"name\":\"journey.exited\""));
}

#[test]
fn guards_refuse_with_their_reasons() {
    let waiting = |ctx: Ctx| async move {
        ctx.sleep(days(2)).await;
        Ok(())
    };
    let journey = move |id: &str| Journey::new(id, move |_: User, ctx: Ctx| waiting(ctx));
    let mut sim = Sim::new(move || journey("off").trigger("a").enabled(false))
        .journey(move || journey("switched").trigger("b"))
        .journey(move || {
            let pro = Condition::property("contact.plan", Op::Eq, "pro");
            journey("pro").trigger("c").trigger_where(pro)
        })
        .journey(move || {
            journey("daily")
                .trigger("d")
                .entry(Entry::once_per(days(7)))
        })
        .journey(move || journey("news").trigger("e").category("news"))
        .disable("switched");
    sim.event("a").event("b").event("c");
    sim.set_contact(json!({ "plan": "pro" })).event("c");
    sim.event("d").advance(days(3)).event("d");
    sim.advance(days(4)).event("d").event("d");
    sim.unsubscribe("news").event("e");
    sim.event("c").event("c");
    let refusals: Vec<_> = sim.refusals().collect();
    assert_eq!(
        refusals,
        [
            ("daily", "period_not_elapsed", 2),
            ("news", "user_unsubscribed", 1),
            ("off", "journey_disabled", 1),
            ("pro", "already_active", 1),
            ("pro", "trigger_conditions_not_met", 1),
            ("switched", "journey_disabled_by_admin", 1),
        ]
    );
    sim.assert_not_entered("off").assert_not_entered("news");
    sim.assert_status_of("daily", Status::Waiting);
}

#[test]
fn a_journey_of_63_days() {
    let began = std::time::Instant::now();
    let mut sim = Sim::new(made("weekly", |_, ctx: Ctx| async move {
        for week in 1..=9 {
            ctx.sleep(days(7)).await;
            ctx.send("digest").prop("week", week).await?;
        }
        Ok(())
    }));
    sim.event("go")
        .advance(days(63))
        .assert_status(Status::Completed);
    assert_eq!(sim.sends().len(), 9);
    assert!(began.elapsed() < std::time::Duration::from_millis(500));
}

#[test]
fn the_clock_on_the_wall_is_the_persons() {
    let mut sim = Sim::new(made("morning", |_, ctx: Ctx| async move {
        let at = ctx.when().next(Weekday::Mon).at(9, 0).await?;
        ctx.sleep_until(at).await;
        ctx.send("monday").await?;
        Ok(())
    }))
    .policy(Policy {
        default_zone: Tz::America__New_York,
        ..Policy::default()
    });
    sim.event("go");
    sim.person("tokyo")
        .set_contact(json!({ "timezone": "Asia/Tokyo" }))
        .event("go");
    sim.person("berlin")
        .set_contact(json!({ "timezone": "Asia/Tokyo" }))
        .set_analytics(json!({ "$geoip_time_zone": "Europe/Berlin" }))
        .event("go");
    sim.advance(days(7));
    let sent: Vec<_> = sim
        .sends()
        .iter()
        .map(|mail| (&*mail.person, mail.sent_at().unwrap().to_rfc3339()))
        .collect();
    // The 5th of January 2026 is a Monday.
    let expected = [
        ("tokyo", "2026-01-05T00:00:00+00:00"),
        ("berlin", "2026-01-05T08:00:00+00:00"),
        ("user-1", "2026-01-05T14:00:00+00:00"),
    ];
    assert_eq!(sent, expected.map(|(who, at)| (who, at.to_owned())));
}

#[test]
fn waits_count_what_comes_later_or_within_the_lookback() {
    let waits = |back: std::time::Duration| {
        move |_: User, ctx: Ctx| async move {
            ctx.sleep(hours(1)).await;
            let came = ctx.wait_for("go").timeout(hours(2)).lookback(back).await;
            ctx.checkpoint(if came.event().is_some() {
                "came"
            } else {
                "timed out"
            });
            Ok(())
        }
    };
    let mut none = Sim::new(made("none", waits(hours(0))));
    none.event("go").advance(hours(2)).event("other");
    none.person("other").event("go");
    none.person("user-1")
        .advance(hours(1))
        .assert_checkpoint("timed out");
    let mut back = Sim::new(made("back", waits(hours(1))));
    back.event("go").advance(hours(1)).assert_checkpoint("came");
    // Its own trigger, at the same instant, does not satisfy the wait.
    let mut at_once = Sim::new(made("at-once", |_, ctx: Ctx| async move {
        let came = ctx.wait_for("go").timeout(hours(2)).await;
        assert_eq!(came, Waited::TimedOut);
        Ok(())
    }));
    at_once
        .event("go")
        .advance(hours(2))
        .assert_status(Status::Completed);
}

#[test]
fn a_wait_counts_what_came_since_the_step_before_it_ended() {
    let mut own = Sim::new(made("own", |_, ctx: Ctx| async move {
        ctx.trigger("mine").await?;
        let mine = ctx.wait_for("mine").timeout(days(1)).await.event();
        assert!(mine.is_some());
        ctx.trigger("mine").await?;
        assert_eq!(ctx.history().has_event("mine").await?.count, 2);
        let mine = ctx.wait_for("mine").timeout(days(1)).await.event();
        assert!(mine.is_none(), "it came before the question");
        Ok(())
    }));
    own.event("go")
        .advance(days(1))
        .assert_status(Status::Completed);
    let mut late = Sim::new(made("late", |_, ctx: Ctx| async move {
        let first = ctx.wait_for("paid").timeout(days(9)).await.event();
        assert!(first.is_some());
        Ok(())
    }));
    late.event("go").late_event("paid", days(90));
    late.assert_status(Status::Completed);
}

#[test]
fn untrusted_late_and_historical_events_do_what_they_may() {
    let strict = || {
        Journey::new("strict", |_, ctx: Ctx| async move {
            ctx.wait_for("paid").timeout(days(9)).await;
            Ok(())
        })
        .trigger("go")
        .trusted()
        .exit_on("stop")
    };
    let mut sim = Sim::new(strict);
    sim.untrusted_event("go").assert_not_entered("strict");
    sim.late_event("go", hours(25)).assert_not_entered("strict");
    let past = || Arrival {
        historical: true,
        ..Arrival::default()
    };
    sim.event_as("go", Properties::new(), past())
        .assert_not_entered("strict");
    sim.late_event("go", hours(24));
    for name in ["paid", "stop"] {
        sim.event_as(name, Properties::new(), past());
    }
    sim.assert_status(Status::Waiting);
    sim.untrusted_event("paid").assert_status(Status::Completed);
    let refused: Vec<_> = sim
        .refusals()
        .map(|(_, reason, count)| (reason, count))
        .collect();
    assert_eq!(refused, [("late_event", 1), ("untrusted_event", 1)]);
}

#[test]
fn what_a_run_triggers_after_it_read_a_stranger_is_not_trusted() {
    let relays = || {
        Journey::new("relays", |_, ctx: Ctx| async move {
            ctx.wait_for("paid").timeout(days(9)).await;
            ctx.trigger("granted").await?;
            Ok(())
        })
        .trigger("go")
    };
    let strict = || {
        Journey::new("strict", |_, _| async { Ok(()) })
            .trigger("granted")
            .trusted()
    };
    let mut sim = Sim::new(relays).journey(strict);
    sim.person("ann").event("go").untrusted_event("paid");
    sim.assert_not_entered("strict");
    sim.person("bob").event("go").event("paid");
    sim.assert_status_of("strict", Status::Completed);
}

#[test]
fn people_are_told_apart_as_the_host_tells_them_apart() {
    let greets = || {
        Journey::new("greets", |_, ctx: Ctx| async move {
            ctx.wait_for("paid").timeout(days(9)).await;
            Ok(())
        })
        .trigger("go")
    };
    // One mailbox in two spellings, and the id that turns out to belong to it.
    let mut sim = Sim::new(greets);
    for (id, email) in [
        (None, Some("U@ex.test")),
        (None, Some("u@EX.test")),
        (Some("u"), Some("u@ex.test")),
        (Some("u"), None),
        (Some("u"), Some("u@other.test")),
    ] {
        sim.named(id, email).event("go");
    }
    assert_eq!(sim.runs().len(), 1);
    sim.event("paid").assert_status(Status::Completed);
    // Two accounts with one mailbox are two people.
    let mut family = Sim::new(greets);
    family.named(Some("a"), Some("u@ex.test")).event("go");
    family.named(Some("b"), Some("u@ex.test")).event("go");
    assert_eq!(family.runs().len(), 2);
    // Two people who turn out to be the same continue with one run.
    let mut two = Sim::new(greets);
    two.named(Some("a"), None).event("go");
    two.named(None, Some("a@ex.test")).event("go");
    two.named(Some("a"), Some("a@ex.test"));
    let ends: Vec<_> = two
        .runs()
        .iter()
        .map(|run| (run.status, run.reason.as_deref()))
        .collect();
    assert_eq!(
        ends,
        [(Status::Waiting, None), (Status::Exited, Some("merged"))]
    );
    two.event("paid");
    assert_eq!(two.runs()[0].status, Status::Completed);
    // An untrusted source changes no address and merges no known people.
    let mut strange = Sim::new(greets);
    strange.named(Some("ann"), Some("ann@ex.test"));
    strange.named(None, Some("eve@ex.test")).event("go");
    strange.named_by(Some("ann"), Some("eve@ex.test"), Trust::Untrusted);
    strange.event("go");
    assert_eq!(strange.runs().len(), 2);
}

#[test]
fn races_cancel_their_losers() {
    let mut sim = Sim::new(made("race", |_, ctx: Ctx| async move {
        let paid = ctx.wait_for("paid").timeout(days(9));
        let nudge = ctx.sleep(days(2));
        futures::pin_mut!(paid, nudge);
        match futures::future::select(paid, nudge).await {
            futures::future::Either::Left(_) => ctx.checkpoint("paid"),
            futures::future::Either::Right(_) => {
                ctx.send("nudge").await?;
            }
        }
        ctx.sleep(days(30)).await;
        Ok(())
    }));
    sim.event("go").advance(days(1)).event("paid");
    sim.advance(days(9))
        .assert_checkpoint("paid")
        .assert_mails(&[]);
    sim.person("late")
        .event("go")
        .advance(days(9))
        .event("paid");
    sim.advance(days(60))
        .assert_mails(&["nudge"])
        .assert_status(Status::Completed);
}

#[test]
fn the_past_is_answered() {
    let mut sim = Sim::new(made("asks", |_, ctx: Ctx| async move {
        let history = ctx.history();
        ctx.trigger("mine").prop("n", 1).await?;
        let mine = history.has_event("mine").await?;
        assert_eq!((mine.found, mine.count), (true, 1), "its own events count");
        let visits = history.events("visit").within(days(2)).await?;
        let pages: Vec<_> = visits.iter().map(|one| one.text("page").unwrap()).collect();
        assert_eq!(pages, ["three", "two"]);
        let past = history.journey("asks").await?;
        assert!(past.active);
        ctx.checkpoint(&format!("{} {}", past.entered, past.completed));
        ctx.send("survey").await?;
        ctx.sleep(hours(1)).await;
        let mail = history.email("survey").await?;
        ctx.checkpoint(&format!("{} {} {}", mail.sent, mail.opened, mail.clicked));
        Ok(())
    }));
    sim.event_with("visit", json!({ "page": "one" }))
        .advance(days(3));
    sim.event_with("visit", json!({ "page": "two" }))
        .advance(hours(1));
    sim.event_with("visit", json!({ "page": "three" }));
    sim.event("go")
        .assert_checkpoint("1 0")
        .open("survey")
        .advance(hours(1));
    sim.assert_checkpoint("1 true false")
        .assert_status(Status::Completed);
}

#[test]
fn what_a_journey_keeps_outlives_its_runs() {
    let mut sim = Sim::new(made("keeps", |_, ctx: Ctx| async move {
        let name = ctx.event().text("name").unwrap_or_default().to_owned();
        let first: String = ctx
            .once("first", async { Ok::<_, journey::Error>(name) })
            .await?;
        let goes_on = ctx.throttle(2, days(1)).await?;
        ctx.checkpoint(&format!("{first} {goes_on}"));
        let mut seen = Properties::new();
        seen.insert("seen".into(), json!(true));
        ctx.identify(seen).await?;
        ctx.capture("kept", Properties::new()).await?;
        let contact = ctx.contact().await?.unwrap();
        assert_eq!(contact.properties["seen"], true);
        assert_eq!(ctx.person().await?["score"], 7);
        Ok(())
    }));
    sim.set_analytics(json!({ "score": 7 }));
    for name in ["a", "b", "c"] {
        sim.event_with("go", json!({ "name": name }));
    }
    sim.assert_status(Status::Completed);
    let labels: Vec<_> = sim
        .runs()
        .iter()
        .flat_map(|run| run.checkpoints.clone())
        .collect();
    assert_eq!(labels, ["a true", "a true", "a false"]);
}

#[test]
fn digests_gather() {
    let mut sim = Sim::new(made("digest", |_, ctx: Ctx| async move {
        let all = ctx.digest(hours(1)).await?;
        ctx.checkpoint(&format!("{} {}", all.count, all.events.len()));
        Ok(())
    }));
    sim.event("go").advance(minutes(30)).event("go").event("go");
    sim.advance(minutes(30))
        .assert_checkpoint("3 3")
        .event("go")
        .advance(hours(1))
        .assert_checkpoint("1 1");
    assert_eq!(
        sim.refusals().collect::<Vec<_>>(),
        [("digest", "already_active", 2)]
    );
}

#[test]
fn requests_are_answered_by_the_script_alone() {
    let mut sim = Sim::new(made("asks", |_, ctx: Ctx| async move {
        let request = HttpRequest::new(HttpMethod::Get, "https://api.example.com/a");
        let label = match ctx.http(request).await {
            Ok(answer) => answer.status.to_string(),
            Err(error) => error.code,
        };
        ctx.checkpoint(&label);
        Ok(())
    }));
    sim.event("go").assert_checkpoint("http_unscripted");
    sim.http("https://api.example.com/", response(404, &[], ""))
        .http("https://api.example.com/", response(200, &[], ""));
    sim.event("go").event("go").event("go");
    let labels: Vec<_> = sim
        .runs()
        .iter()
        .flat_map(|run| run.checkpoints.clone())
        .collect();
    assert_eq!(labels, ["http_unscripted", "404", "200", "200"]);
}

#[test]
fn variants_stay_with_the_person_and_patches_are_taken() {
    let mut sim = Sim::new(made("arms", |_, ctx: Ctx| async move {
        assert!(ctx.patched("new"));
        let arm = ctx.variant("subject", &["a", "b"]).await?;
        ctx.checkpoint(&arm);
        ctx.sleep(days(1)).await;
        Ok(())
    }));
    for n in 0..200 {
        sim.person(&n.to_string()).event("go");
    }
    sim.advance(days(1));
    sim.person("7").event("go").advance(days(1));
    let arms = |person: &str| -> Vec<_> {
        let runs = sim.runs().iter().filter(|run| &*run.person == person);
        runs.flat_map(|run| run.checkpoints.clone()).collect()
    };
    assert_eq!(arms("7").len(), 2);
    assert_eq!(arms("7")[0], arms("7")[1]);
    let first = sim.runs().iter().filter(|run| run.checkpoints[0] == "a");
    assert!((60..140).contains(&first.count()));
    assert!(sim.runs().iter().all(|run| run.status == Status::Completed));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let played = |seed: u64| {
        let mut sim = Sim::new(made("random", |_, ctx: Ctx| async move {
            ctx.checkpoint(&ctx.random().to_string());
            ctx.send("one").await?;
            ctx.sleep(hours(3)).await;
            Ok(())
        }))
        .seed(seed);
        for n in 0..20 {
            sim.person(&n.to_string()).event("go").advance(hours(1));
        }
        sim.trace()
    };
    assert_eq!(played(1), played(1));
    assert_ne!(played(1), played(2));
}

#[test]
#[should_panic(expected = "no mail 'welcome' went out")]
fn a_failed_expectation_shows_what_happened() {
    Sim::new(trial)
        .event("trial.started")
        .assert_sent("welcome");
}
