//! Heartbeats, streams, restarts of the engine and of workers.

use hogsend_hatchet::stand_in::StandIn;
use hogsend_hatchet::{Durable, Failed, Pace, Standing, Wait};
use serde_json::{Value, json};

use super::{
    config, durable, engine, seconds, start, until_completed, until_evicted, until_waiting, wall,
};

async fn wait_briefly(task: Durable) -> Result<Value, Failed> {
    let now: u64 = task.memo("one", 1).await?;
    task.wait(&Wait::sleep(seconds(4)).or_event("go", wall()))
        .await;
    Ok(json!({ "now": now, "invocation": task.invocation(), "retries": task.retry_count }))
}

async fn listens(engine: &StandIn) {
    engine
        .until("a worker listens", |it| it.listeners() > 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_outlives_the_engine_with_the_same_id() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 2).await;
    engine.kill();
    tokio::time::sleep(seconds(20)).await;
    let away = hand.client.connection().borrow().clone();
    assert!(away.away_for().unwrap() > seconds(10));
    engine.restart().await;
    let run = until_completed(&engine, &id).await;
    // The wait went on where it was: nothing was assigned anew.
    assert_eq!(
        run.output,
        Some(json!({ "now": 1, "invocation": 1, "retries": 0 }))
    );
    engine
        .until("it listens again", |it| it.listeners() == 1)
        .await;
    assert_eq!(engine.calls("Register"), 1);
    let state = hand.client.connection().borrow().clone();
    assert_eq!(state.standing, Standing::Up);
    assert_eq!(state.away_for(), None);
    assert!(state.heartbeat.is_some());
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_new_runs_wait_for_the_engine_and_are_not_lost() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    engine.kill();
    engine.restart().await;
    listens(&engine).await;
    let before = tokio::time::Instant::now();
    let id = loop {
        let trigger = hogsend_hatchet::Trigger::new("journey", serde_json::Map::new());
        match hand.client.trigger(&trigger).await {
            Ok(triggered) => break triggered.id().to_owned(),
            Err(error) => assert!(error.is_away(), "{error}"),
        }
    };
    until_completed(&engine, &id).await;
    assert!(before.elapsed() > seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_the_engine_takes_for_dead_listens_again() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    engine.mark_workers_inactive();
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.retry_count, 0);
    assert_eq!(engine.calls("Register"), 1);
    assert_eq!(engine.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_tasks_that_ends_is_opened_again() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    engine.end_listeners();
    let id = hand.trigger().await;
    until_completed(&engine, &id).await;
    assert_eq!(engine.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_the_engine_forgot_registers_again() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    let before = hand.client.connection().borrow().worker.clone();
    engine.forget_workers();
    engine
        .until("it is registered", |it| it.calls("Register") == 2)
        .await;
    let id = hand.trigger().await;
    until_completed(&engine, &id).await;
    assert_eq!(engine.calls("Register"), 2);
    assert_ne!(hand.client.connection().borrow().worker, before);
}

#[tokio::test(start_paused = true)]
async fn a_worker_starts_although_no_task_comes() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    tokio::time::sleep(seconds(60)).await;
    // Headers of the stream of tasks came never, and nothing waited for them.
    assert!(engine.calls("Heartbeat") >= 14);
    assert_eq!(engine.calls("ListenV2"), 1);
    assert_eq!(engine.workers(), ["worker"]);
    assert!(hand.client.connection().borrow().heartbeat.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_without_an_answer_does_not_stop_the_next() {
    let engine = engine();
    let hand = durable(&engine, wait_briefly).await;
    engine.faults(|it| it.swallow_heartbeats = 1);
    let beats = engine.calls("Heartbeat");
    engine
        .until("it beats on", |it| it.calls("Heartbeat") >= beats + 3)
        .await;
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.retry_count, 0);
}

#[tokio::test(start_paused = true)]
async fn another_worker_continues_what_a_killed_one_had() {
    let engine = engine();
    let first = durable(&engine, |task| async move {
        let now: u64 = task.memo("one", 7).await?;
        task.wait(&Wait::sleep(seconds(2))).await;
        tokio::time::sleep(seconds(1_000_000)).await;
        Ok(json!({ "now": now }))
    })
    .await;
    let id = first.trigger().await;
    until_waiting(&engine, &id, 2).await;
    tokio::time::sleep(seconds(4)).await;
    let counts = first.counts.clone();
    first.kill().await;
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(counts.alive(), 0);
    let second = durable(&engine, |task| async move {
        let now: u64 = task.memo("one", 8).await?;
        task.wait(&Wait::sleep(seconds(2))).await;
        Ok(json!({ "now": now, "invocation": task.invocation(), "retries": task.retry_count }))
    })
    .await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "now": 7, "invocation": 2, "retries": 1 }))
    );
    assert_eq!(second.counts.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_task_does_not_notice_that_its_worker_dies() {
    let engine = engine();
    let wait = |task: Durable| async move {
        task.wait(&Wait::sleep(seconds(3600))).await;
        Ok(json!({ "invocation": task.invocation(), "retries": task.retry_count }))
    };
    let first = durable(&engine, wait).await;
    let id = first.trigger().await;
    until_evicted(&engine, &id).await;
    first.kill().await;
    let _second = durable(&engine, wait).await;
    engine.advance(seconds(3600));
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 2, "retries": 0 })));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_gives_its_waiting_tasks_to_others_at_once() {
    let engine = engine();
    let first = durable(&engine, wait_briefly).await;
    let id = first.trigger().await;
    until_waiting(&engine, &id, 2).await;
    let second = durable(&engine, wait_briefly).await;
    let before = tokio::time::Instant::now();
    first.stop().await;
    // One evicted, before its wait was over.
    assert!(before.elapsed() < seconds(4), "{:?}", before.elapsed());
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "now": 1, "invocation": 2, "retries": 0 }))
    );
    assert_eq!(second.counts.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_lets_running_tasks_end_and_lives_meanwhile() {
    let engine = engine();
    let pace = Pace {
        drain: seconds(120),
        ..Pace::default()
    };
    let hand = start(
        &engine,
        config(pace),
        |_| async { Ok(Value::Null) },
        |_| async {
            tokio::time::sleep(seconds(60)).await;
            Ok(json!({ "sent": true }))
        },
    )
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    engine
        .until("it runs", |it| it.run(&id).unwrap().worker.is_some())
        .await;
    let relistened = engine.calls("ListenV2");
    let beats = engine.calls("Heartbeat");
    hand.stop().await;
    let run = engine.run(&id).unwrap();
    assert_eq!(
        (run.output, run.retry_count),
        (Some(json!({ "sent": true })), 0)
    );
    // The engine refuses heartbeats of a worker that has unsubscribed, which must not make it listen again.
    assert_eq!(engine.calls("ListenV2"), relistened);
    assert!(engine.calls("Heartbeat") > beats + 10);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_ends_when_its_tasks_do_not() {
    let engine = engine();
    let hand = start(
        &engine,
        config(Pace::default()),
        |_| async { Ok(Value::Null) },
        |_| std::future::pending(),
    )
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    engine
        .until("it runs", |it| it.run(&id).unwrap().worker.is_some())
        .await;
    let counts = hand.counts.clone();
    let before = tokio::time::Instant::now();
    hand.stop().await;
    assert_eq!(before.elapsed().as_secs() / 5, 6);
    assert_eq!(counts.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_for_an_engine_that_is_not_up_yet() {
    let engine = engine();
    engine.kill();
    let client = engine.client();
    let script = super::Script {
        durable: wait_briefly,
        normal: |_| async { Ok(Value::Null) },
        counts: super::Counts::default(),
    };
    let worker = hogsend_hatchet::Worker::new(client, config(Pace::default()), script).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let run = tokio::spawn(worker.run(stop.clone()));
    tokio::time::sleep(seconds(60)).await;
    assert!(!run.is_finished());
    engine.restart().await;
    listens(&engine).await;
    stop.cancel();
    run.await.unwrap().unwrap();
}

/// The engine acknowledges the eviction of an attempt that it does not know, and makes none.
#[tokio::test(start_paused = true)]
async fn a_task_of_a_killed_worker_can_be_evicted_by_the_next() {
    let engine = engine();
    let wait = |task: Durable| async move {
        task.wait(&Wait::sleep(seconds(4))).await;
        task.wait(&Wait::sleep(seconds(3600))).await;
        Ok(json!({ "retries": task.retry_count }))
    };
    let first = durable(&engine, wait).await;
    let id = first.trigger().await;
    until_waiting(&engine, &id, 1).await;
    first.kill().await;
    let second = durable(&engine, wait).await;
    until_evicted(&engine, &id).await;
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(second.counts.alive(), 0);
    engine.advance(seconds(3600));
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "retries": 1 })));
}
