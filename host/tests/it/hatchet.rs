//! What holds with each engine, and what holds with Hatchet.

use std::time::Duration;

use axum::http::Method;
use hogsend::worker;
use hogsend_hatchet::stand_in::{Run, Status};
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::support::admin::{KEY, call};
use crate::support::process::until;
use crate::support::rig::Rig;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn event(rig: &Rig, name: &str, user: &str) {
    tell(
        rig,
        json!({ "name": name, "userId": user, "email": format!("{user}@example.com") }),
    )
    .await;
}

async fn tell(rig: &Rig, body: Value) {
    let answer = rig
        .server
        .call(Method::POST, "/v1/events", KEY, Some(&body));
    assert_eq!(answer.await.status, 202);
}

/// The states of the runs, by journey.
async fn runs(rig: &Rig) -> String {
    rig.server
        .text(
            "SELECT coalesce(string_agg(journey_id || ' ' || status, ', ' ORDER BY journey_id, id), '')
             FROM journey_states",
        )
        .await
}

async fn mails(rig: &Rig) -> i64 {
    rig.server
        .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
        .await
}

async fn run_id(rig: &Rig, journey: &'static str) -> String {
    let mut conn = rig.server.app.db.conn().await.unwrap();
    sqlx::query_scalar(
        "SELECT id::text FROM journey_states WHERE journey_id = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind(journey)
    .fetch_one(&mut *conn)
    .await
    .unwrap()
}

on_each_engine! {
    async fn a_run_sleeps_then_sends_its_mail_once(rig: Rig) {
        event(&rig, "t.slow", "ann").await;
        rig.settle().await;
        assert_eq!(runs(&rig).await, "t-slow waiting");
        rig.advance(DAY - HOUR).await;
        assert_eq!((mails(&rig).await, runs(&rig).await), (0, "t-slow waiting".into()));
        rig.advance(HOUR).await;
        assert_eq!((mails(&rig).await, runs(&rig).await), (1, "t-slow completed".into()));
        rig.stop().await;
    }
}

on_each_engine! {
    async fn a_wait_ends_by_its_event_or_by_its_time(rig: Rig) {
        for user in ["ann", "ben"] {
            event(&rig, "s.wait", user).await;
        }
        rig.settle().await;
        tell(&rig, json!({ "name": "s.paid", "userId": "ann",
            "eventProperties": { "plan": "pro", "amount": 7 } })).await;
        rig.settle().await;
        assert_eq!(runs(&rig).await, "s-wait completed, s-wait waiting");
        rig.advance(4 * DAY).await;
        assert_eq!(runs(&rig).await, "s-wait completed, s-wait completed");
        let nodes = "SELECT string_agg(current_node_id, ', ' ORDER BY id) FROM journey_states";
        assert_eq!(rig.server.text(nodes).await, "paid-7, timed-out");
        rig.stop().await;
    }
}

on_each_engine! {
    async fn an_exit_ends_a_run_before_its_mail(rig: Rig) {
        event(&rig, "t.exit", "ann").await;
        rig.settle().await;
        event(&rig, "t.stop", "ann").await;
        rig.advance(2 * DAY).await;
        assert_eq!((mails(&rig).await, runs(&rig).await), (0, "t-exit exited".into()));
        rig.stop().await;
    }
}

on_each_engine! {
    async fn a_failed_run_goes_on_when_it_is_retried(rig: Rig) {
        event(&rig, "t.panic", "ann").await;
        rig.settle().await;
        rig.advance(HOUR).await;
        assert_eq!(runs(&rig).await, "t-panic failed");
        let run = run_id(&rig, "t-panic").await;
        let path = format!("/dlq/{run}/retry");
        assert_eq!(call(&rig.server, Method::POST, &path, json!({})).await.status, 202);
        rig.settle().await;
        assert_eq!(runs(&rig).await, "t-panic failed");
        let failed = "SELECT count(*) FROM journey_logs WHERE action = 'failed'";
        assert_eq!(rig.server.count(failed).await, 2, "its code ran again");
        rig.stop().await;
    }
}

on_each_engine! {
    async fn what_a_pause_stopped_goes_on_after_it(rig: Rig) {
        event(&rig, "t.slow", "ann").await;
        rig.settle().await;
        call(&rig.server, Method::POST, "/pause", json!({})).await;
        event(&rig, "t.mail", "ann").await;
        rig.advance(DAY).await;
        assert_eq!((mails(&rig).await, runs(&rig).await), (0, "t-mail active, t-slow waiting".into()));
        call(&rig.server, Method::POST, "/resume", json!({})).await;
        worker::release_due(&rig.server.app).await.unwrap();
        rig.settle().await;
        assert_eq!((mails(&rig).await, runs(&rig).await), (2, "t-mail completed, t-slow completed".into()));
        rig.stop().await;
    }
}

/// The tasks of journeys.
fn tasks(rig: &Rig) -> Vec<Run> {
    let mut tasks = rig.outside().runs();
    tasks.retain(|one| one.workflow.contains("journey-"));
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_a_task_that_says_whose_it_is_and_where_it_waits() {
    let rig = Rig::hatchet().await;
    let task = sleeper(&rig).await;
    let run = run_id(&rig, "t-slow").await;
    assert_eq!(task.workflow, "journey-t-slow");
    assert_eq!(task.metadata["journey"], "t-slow");
    assert_eq!(task.metadata["run"], json!(run));
    assert!(task.metadata["contact"].is_string());
    until("its log is there", async || {
        !tasks(&rig)[0].lines.is_empty()
    })
    .await;
    let line = tasks(&rig)[0].lines[0].clone();
    assert_eq!(line, "at sleep:a-day: waits until 2026-03-03 09:00:00 UTC");

    rig.advance(DAY).await;
    until("the task is over", async || {
        tasks(&rig)[0].status == Status::Completed
    })
    .await;
    assert_eq!(
        tasks(&rig)[0].output.as_ref().unwrap()["result"],
        "completed"
    );
    assert_eq!(tasks(&rig).len(), 1, "one task for one run");
    let mail = |one: &&Run| one.workflow == "send-email";
    assert!(
        rig.outside().runs().iter().filter(mail).count() > 0,
        "mail is a task"
    );
    let health = rig
        .server
        .call(Method::GET, "/v1/health", KEY, None)
        .await
        .json();
    assert_eq!(health["components"]["engine"]["kind"], "hatchet");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_elsewhere_has_its_task_cancelled() {
    let rig = Rig::hatchet().await;
    event(&rig, "t.exit", "ann").await;
    rig.settle().await;
    event(&rig, "t.stop", "ann").await;
    until("the task is cancelled", async || {
        tasks(&rig)[0].status == Status::Cancelled
    })
    .await;
    rig.settle().await;
    assert_eq!(rig.server.count("SELECT count(*) FROM run_tasks").await, 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_cancelled_in_the_dashboard_ends_its_run() {
    let rig = Rig::hatchet().await;
    for user in ["ann", "ben"] {
        event(&rig, "t.slow", user).await;
    }
    rig.settle().await;
    until("both have a task", async || {
        rig.server
            .count("SELECT count(*) FROM run_tasks WHERE task_id IS NOT NULL")
            .await
            == 2
    })
    .await;
    let task = rig
        .server
        .text("SELECT task_id FROM run_tasks ORDER BY run_id LIMIT 1")
        .await;
    rig.outside().client().cancel(&[task]).await.unwrap();
    rig.advance(Duration::from_secs(120)).await;
    until("its run has ended", async || {
        runs(&rig).await == "t-slow exited, t-slow waiting"
    })
    .await;
    let reason = "SELECT properties->>'reason' FROM user_events WHERE name = 'journey.exited'";
    assert_eq!(rig.server.text(reason).await, "cancelled_in_hatchet");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_task_does_nothing_twice() {
    let rig = Rig::hatchet().await;
    event(&rig, "t.mail", "ann").await;
    rig.settle().await;
    until("the task is over", async || {
        tasks(&rig)
            .iter()
            .all(|one| one.status == Status::Completed)
    })
    .await;
    let id = tasks(&rig)[0].id.clone();
    rig.outside().client().replay(&[id]).await.unwrap();
    until("it ran again", async || tasks(&rig)[0].completions == 2).await;
    assert_eq!(
        (mails(&rig).await, runs(&rig).await),
        (1, "t-mail completed".into())
    );
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_began_before_hatchet_was_used_get_tasks() {
    let mut rig = Rig::hatchet_without_worker().await;
    event(&rig, "t.slow", "ann").await;
    rig.server.drain().await;
    event(&rig, "t.mail", "ben").await;
    assert_eq!(rig.server.count("SELECT count(*) FROM run_wakes").await, 0);
    rig.start_worker().await;
    rig.settle().await;
    assert_eq!(runs(&rig).await, "t-mail completed, t-slow waiting");
    assert_eq!(tasks(&rig).len(), 1, "the run that waits needs none yet");
    rig.advance(DAY).await;
    assert_eq!(runs(&rig).await, "t-mail completed, t-slow completed");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_hatchet_is_away_nothing_is_lost_and_mail_goes_out() {
    let rig = Rig::hatchet().await;
    event(&rig, "t.slow", "ann").await;
    rig.settle().await;
    rig.outside().kill();
    event(&rig, "t.mail", "ben").await;
    let mail =
        json!({ "to": "ann@example.com", "template": "t-plain", "props": { "word": "now" } });
    let answer = rig
        .server
        .call(Method::POST, "/v1/emails", KEY, Some(&mail))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    until("the mail is sent without Hatchet", async || {
        mails(&rig).await == 1
    })
    .await;
    assert_eq!(runs(&rig).await, "t-mail active, t-slow waiting");
    let health = rig
        .server
        .call(Method::GET, "/v1/health", KEY, None)
        .await
        .json();
    assert_eq!(health["components"]["engine"]["kind"], "hatchet");
    rig.outside().restart().await;
    rig.advance(DAY).await;
    assert_eq!(
        (mails(&rig).await, runs(&rig).await),
        (3, "t-mail completed, t-slow completed".into())
    );
    rig.stop().await;
}

/// A run that sleeps for a day, whose task Hatchet keeps.
async fn sleeper(rig: &Rig) -> Run {
    event(rig, "t.slow", "ann").await;
    rig.settle().await;
    let evicted = async || tasks(rig).iter().any(|one| one.evicted);
    until("the task is evicted", evicted).await;
    tasks(rig).remove(0)
}

/// Ends the sleep of a run, and moves the clock on until the run is over.
async fn outlast(rig: &Rig) {
    rig.server.clock.advance(DAY);
    rig.outside().advance(DAY);
    until("the run is over", async || {
        rig.server.clock.advance(Duration::from_secs(1));
        runs(rig).await == "t-slow completed"
    })
    .await;
    rig.settle().await;
    assert_eq!(mails(rig).await, 1);
}

/// Its start went into a connection that broke: for Hatchet the task runs as long as the worker lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_task_is_lost_gets_another_one() {
    let rig = Rig::hatchet().await;
    let lost = sleeper(&rig).await;
    rig.outside().faults(|it| it.lose_starts = 1);
    outlast(&rig).await;
    let tasks = tasks(&rig);
    assert_eq!(tasks.len(), 2);
    assert_eq!(
        (&tasks[0].id, tasks[0].status),
        (&lost.id, Status::Cancelled)
    );
    rig.stop().await;
}

/// Its wait ended while a worker evicted it that died then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_stays_evicted_is_restored() {
    let rig = Rig::hatchet().await;
    let stranded = sleeper(&rig).await;
    rig.outside().faults(|it| it.strand_evicted = 1);
    outlast(&rig).await;
    until("the task is over", async || tasks(&rig)[0].is_over()).await;
    let tasks = tasks(&rig);
    assert_eq!(tasks.len(), 1);
    assert_eq!(
        (&tasks[0].id, tasks[0].status),
        (&stranded.id, Status::Completed)
    );
    assert_eq!(rig.outside().calls("RestoreEvictedTask"), 1);
    rig.stop().await;
}

/// A worker that takes a task over goes through its past, and the last wait of that is not over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_begins_again_while_it_waits_wakes_on_time() {
    let rig = Rig::hatchet().await;
    let before = sleeper(&rig).await;
    rig.outside().client().restore(&before.id).await.unwrap();
    until("it looked at its run again", async || {
        let now = &tasks(&rig)[0];
        now.invocation > before.invocation && now.lines.len() > before.lines.len()
    })
    .await;
    rig.advance(DAY).await;
    assert_eq!(runs(&rig).await, "t-slow completed");
    rig.stop().await;
}

/// A worker with each engine: a claim decides who advances a run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_both_engines_share_the_runs_and_no_step_runs_twice() {
    let rig = Rig::hatchet().await;
    let other = rig
        .server
        .replica(&[("ADMIN_API_KEY", KEY), ("REDIS_URL", "off")])
        .await;
    let count = 40;
    for n in 0..count {
        event(&rig, "t.slow", &format!("u{n}")).await;
    }
    worker::drain(&other.app).await.unwrap();
    rig.settle().await;
    other.clock.advance(DAY);
    tokio::join!(rig.advance(DAY), async {
        worker::drain(&other.app).await.unwrap()
    });
    rig.settle().await;
    let completed = "SELECT count(*) FROM journey_states WHERE status = 'completed'";
    assert_eq!(
        (rig.server.count(completed).await, mails(&rig).await),
        (count, count)
    );
    rig.stop().await;
}

/// Moves the runs to another engine; what was done.
async fn switch(rig: &Rig, to: &str) -> String {
    let mut lines = worker::engine::switch(&rig.server.app, to, false)
        .await
        .unwrap();
    lines.swap_remove(1)
}

/// Changing the engine and back, with a run that waits all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_changes_under_a_run_that_waits() {
    let mut rig = Rig::hatchet_without_worker().await;
    event(&rig, "t.slow", "ann").await;
    rig.server.drain().await;
    assert_eq!(
        switch(&rig, "hatchet").await,
        "1 open runs have got a task in Hatchet"
    );
    assert_eq!(
        switch(&rig, "hatchet").await,
        "0 open runs have got a task in Hatchet"
    );
    rig.start_worker().await;
    until("its task waits", async || {
        tasks(&rig).iter().any(|one| one.evicted)
    })
    .await;
    rig.stop_worker().await;
    assert_eq!(
        switch(&rig, "embedded").await,
        "the tasks of 1 runs are cancelled in Hatchet"
    );
    assert_eq!(tasks(&rig)[0].status, Status::Cancelled);
    rig.server.clock.advance(DAY);
    rig.server.drain().await;
    assert_eq!(
        (mails(&rig).await, runs(&rig).await),
        (1, "t-slow completed".into())
    );
    rig.server.stop().await;
}
