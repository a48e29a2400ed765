//! What is lost on the way, and the engine's own faults: each would leave a task that nobody continues.

use hogsend_hatchet::stand_in::Status;
use hogsend_hatchet::{Durable, Event, Failed, Pace, Wait};
use serde_json::{Value, json};

use super::{
    config, durable, engine, object, seconds, start, until_completed, until_evicted, until_over,
    until_waiting, wall,
};

async fn two_short_waits(task: Durable) -> Result<Value, Failed> {
    task.wait(&Wait::sleep(seconds(2))).await;
    task.wait(&Wait::sleep(seconds(4)).or_event("go", wall()))
        .await;
    Ok(json!({ "invocation": task.invocation() }))
}

/// The engine holds back the second end of an invocation on a new stream until the first went out on it.
#[tokio::test(start_paused = true)]
async fn after_a_reconnect_a_second_wait_gets_its_end() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 2).await;
    engine.end_durable_streams();
    let run = until_completed(&engine, &id).await;
    // Not restarted, and not given up by the engine after a minute.
    assert_eq!(run.output, Some(json!({ "invocation": 1 })));
    assert_eq!(hand.counts.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_two_reconnects_too() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 2).await;
    engine.end_durable_streams();
    tokio::time::sleep(seconds(2)).await;
    engine.end_durable_streams();
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 1 })));
    assert_eq!(hand.counts.begun(), 1);
}

/// The end of the wait comes before the eviction and the worker does not hear of it.
#[tokio::test(start_paused = true)]
async fn a_task_evicted_after_its_wait_was_over_is_restored() {
    let engine = engine();
    // Without the poll nothing tells of the end, since the new stream has no route.
    let pace = Pace {
        status: seconds(100_000),
        ..Pace::default()
    };
    let handler = |task: Durable| async move {
        task.wait(&Wait::sleep(seconds(3600)).or_event("go", wall()))
            .await;
        Ok(json!({ "invocation": task.invocation() }))
    };
    let hand = start(&engine, config(pace), handler, |_| async {
        Ok(Value::Null)
    })
    .await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 1).await;
    engine.end_durable_streams();
    let event = Event::new("go", object(json!({})));
    hand.client.push(&[event]).await.unwrap();
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 2 })));
    assert_eq!(engine.calls("RestoreEvictedTask"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_restarts_the_task_from_its_log() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    engine.faults(|it| it.lose_answers = 1);
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 2 })));
    // The lost request is in the log once.
    assert_eq!(run.entries.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_cut_off_by_the_end_of_the_stream_restarts_the_task() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    engine.faults(|it| it.lose_answers = 1);
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 1).await;
    let before = tokio::time::Instant::now();
    engine.end_durable_streams();
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 2 })));
    assert_eq!(run.entries.len(), 2);
    // It did not wait for the missing answer.
    assert!(before.elapsed() < seconds(20));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_never_answered_fail_the_task() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    engine.faults(|it| it.lose_answers = 100);
    let id = hand.trigger().await;
    let run = until_over(&engine, &id).await;
    assert_eq!(run.status, Status::Failed);
    assert!(run.error.unwrap().contains("did not answer 3 requests"));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_without_an_answer_restarts_the_task() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        task.wait(&Wait::sleep(seconds(3600))).await;
        Ok(json!({ "invocation": task.invocation() }))
    })
    .await;
    engine.faults(|it| it.lose_eviction_answers = 1);
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    // The wait ends while nobody knows of the eviction.
    tokio::time::sleep(seconds(40)).await;
    engine.advance(seconds(3600));
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.entries.len(), 1);
    assert_eq!(hand.counts.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_eviction_leaves_the_handler_alone() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        task.wait(&Wait::sleep(seconds(20))).await;
        Ok(json!({ "invocation": task.invocation() }))
    })
    .await;
    engine.faults(|it| it.refuse_evictions = 1);
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 1 })));
    assert_eq!(hand.counts.begun(), 1);
}

/// The engine takes the current invocation away and requeues nothing.
#[tokio::test(start_paused = true)]
async fn a_task_that_the_engine_gives_up_is_restarted() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 2).await;
    engine.stall(&id);
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 2 })));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_another_worker_has_is_left_to_it() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        task.wait(&Wait::sleep(seconds(4))).await;
        Ok(json!({}))
    })
    .await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 1).await;
    engine.take_over(&id);
    tokio::time::sleep(seconds(20)).await;
    assert_eq!(hand.counts.alive(), 0);
    let run = engine.run(&id).unwrap();
    assert_eq!(run.status, Status::Running);
    assert_eq!(run.worker.as_deref(), Some("another"));
    assert_eq!(run.invocation, 2);
    assert_eq!(engine.calls("RestoreEvictedTask"), 0);
}

#[tokio::test(start_paused = true)]
async fn ends_of_other_invocations_mean_nothing() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        let woke = task
            .wait(&Wait::sleep(seconds(4)).or_event("go", wall()))
            .await;
        Ok(json!({ "woke": format!("{woke:?}") }))
    })
    .await;
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 1).await;
    engine.send_late_end(&id, 7, 1);
    engine.send_late_end("00000000-0000-0000-0000-00000000ffff", 1, 1);
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "woke": "Slept" })));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_before_anybody_waits_is_kept() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        // The end of the first arrives while the handler is busy elsewhere.
        let first = Wait::sleep(seconds(1));
        let first = task.wait(&first);
        tokio::pin!(first);
        let busy = tokio::time::timeout(seconds(0), &mut first).await;
        assert!(busy.is_err());
        tokio::time::sleep(seconds(4)).await;
        first.await;
        Ok(json!({ "invocation": task.invocation() }))
    })
    .await;
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 1 })));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_task_is_repeated_until_it_is_recorded() {
    let engine = engine();
    let hand = durable(&engine, |_| async { Ok(json!({ "done": true })) }).await;
    engine.faults(|it| it.lose_ends = 5);
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "done": true })));
    assert_eq!(hand.counts.begun(), 1);
}

/// The engine takes such a task for running as long as its worker lives.
#[tokio::test(start_paused = true)]
async fn a_task_whose_start_was_lost_goes_on_when_it_is_cancelled_and_replayed() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    engine.faults(|it| it.lose_starts = 1);
    let id = hand.trigger().await;
    tokio::time::sleep(seconds(300)).await;
    let run = engine.run(&id).unwrap();
    assert_eq!((run.status, run.evicted), (Status::Running, false));
    assert_eq!(hand.counts.begun(), 0);
    let ids = [id.clone()];
    hand.client.cancel(&ids).await.unwrap();
    hand.client.replay(&ids).await.unwrap();
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "invocation": 2 })));
}

/// Streams that are open and carry nothing.
#[tokio::test(start_paused = true)]
async fn a_deaf_stream_is_opened_anew() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    engine.mute_durable_streams();
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.entries.len(), 2);
    assert_eq!(engine.durable_streams(), 1);
    assert_eq!(hand.counts.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_connection_is_noticed_and_replaced() {
    let engine = engine();
    let hand = durable(&engine, two_short_waits).await;
    engine.freeze_connections();
    let other = engine.client();
    let trigger = hogsend_hatchet::Trigger::new("journey", object(json!({})));
    let id = other.trigger(&trigger).await.unwrap().id().to_owned();
    let run = until_completed(&engine, &id).await;
    assert!(run.completions == 1);
    assert_eq!(hand.counts.alive(), 0);
}

/// A replay whose ends come later than the worker keeps a handler for them.
#[tokio::test(start_paused = true)]
async fn a_slow_engine_does_not_keep_a_task_from_going_on() {
    let engine = engine();
    let pace = Pace {
        status: seconds(10),
        ..Pace::default()
    };
    let handler = |task: Durable| async move {
        task.wait(&Wait::sleep(seconds(3600))).await;
        Ok(json!({}))
    };
    let hand = start(&engine, config(pace), handler, |_| async {
        Ok(Value::Null)
    })
    .await;
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    engine.faults(|it| it.late_ends = 1000);
    // Away from the worker's own questions.
    tokio::time::sleep(seconds(6)).await;
    engine.advance(seconds(3600));
    until_completed(&engine, &id).await;
    assert!(hand.counts.begun() <= 6, "{}", hand.counts.begun());
}
