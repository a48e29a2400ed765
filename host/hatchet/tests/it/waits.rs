//! Waits of durable tasks, their evictions and replays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hogsend_hatchet::{Durable, Event, Failed, Pace, Wait, Woke, Workflow};
use serde_json::{Map, Value, json};

use super::{
    config, durable, engine, object, seconds, start, until_completed, until_evicted, until_over,
    until_waiting, wall,
};

fn said(woke: Woke) -> Value {
    match woke {
        Woke::Slept => json!("slept"),
        Woke::Event(payload) => payload,
    }
}

/// Waits for so many seconds or the event `go`.
async fn wait_for(task: Durable, count: u64) -> Result<Value, Failed> {
    let wait = Wait::sleep(seconds(count)).or_event("go", wall());
    Ok(json!({ "woke": said(task.wait(&wait).await), "invocation": task.invocation() }))
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_keeps_its_handler() {
    let engine = engine();
    let hand = durable(&engine, |task| wait_for(task, 3)).await;
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "woke": "slept", "invocation": 1 }))
    );
    assert_eq!(hand.counts.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_leaves_no_handler_and_ends_a_year_later() {
    let engine = engine();
    let hand = durable(&engine, |task| wait_for(task, 31_536_000)).await;
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(hand.counts.alive(), 0);
    engine.advance(seconds(31_535_000));
    tokio::time::sleep(seconds(60)).await;
    assert!(engine.run(&id).unwrap().evicted);
    engine.advance(seconds(1000));
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "woke": "slept", "invocation": 2 }))
    );
    assert_eq!(run.retry_count, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_wakes_an_evicted_task() {
    let engine = engine();
    let hand = durable(&engine, |task| wait_for(task, 604_800)).await;
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    let event = Event::new("go", object(json!({ "n": 1 })));
    hand.client.push(&[event]).await.unwrap();
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "woke": { "n": 1 }, "invocation": 2 }))
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_pushed_before_the_wait_is_found() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        tokio::time::sleep(seconds(2)).await;
        wait_for(task, 604_800).await
    })
    .await;
    let id = hand.trigger().await;
    let event = Event::new("go", object(json!({ "early": true })));
    hand.client.push(&[event]).await.unwrap();
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "woke": { "early": true }, "invocation": 1 }))
    );
}

#[tokio::test(start_paused = true)]
async fn events_before_the_given_time_or_of_another_scope_do_not_count() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        let wait = Wait::sleep(seconds(3)).or_event("go", wall() + seconds(100));
        Ok(json!({ "woke": said(task.wait(&wait).await) }))
    })
    .await;
    let mut other = Event::new("go", object(json!({ "scope": "other" })));
    other.scope = None;
    hand.client
        .push(&[Event::new("go", object(json!({})))])
        .await
        .unwrap();
    let id = hand.trigger().await;
    until_waiting(&engine, &id, 1).await;
    hand.client.push(&[other]).await.unwrap();
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "woke": "slept" })));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sleepers_leave_nothing_in_memory() {
    let engine = engine();
    let mut small = config(Pace::default());
    small.durable_slots = 50;
    let hand = start(
        &engine,
        small,
        |task| wait_for(task, 86_400),
        |_| async { Ok(Value::Null) },
    )
    .await;
    for _ in 0..1000 {
        hand.trigger().await;
    }
    let evicted = |it: &hogsend_hatchet::stand_in::StandIn| it.runs().iter().all(|it| it.evicted);
    engine.until("all are evicted", evicted).await;
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(hand.counts.alive(), 0);
    engine.advance(seconds(86_400));
    for run in engine.runs() {
        until_completed(&engine, &run.id).await;
    }
    assert_eq!(hand.counts.begun(), 2000);
}

#[tokio::test(start_paused = true)]
async fn a_memo_keeps_its_first_value_through_replays() {
    let engine = engine();
    let clock = Arc::new(AtomicU64::new(100));
    let hand = durable(&engine, move |task| {
        let now = clock.fetch_add(1, Ordering::SeqCst);
        async move {
            let first: Value = task.memo("now", json!({ "b": now, "a": 1 })).await?;
            task.wait(&Wait::sleep(seconds(3600))).await;
            let second: u64 = task.memo("later", now).await?;
            Ok(json!({ "first": first, "second": second }))
        }
    })
    .await;
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    engine.advance(seconds(3600));
    let run = until_completed(&engine, &id).await;
    let expected = json!({ "first": { "a": 1, "b": 100 }, "second": 101 });
    assert_eq!(run.output, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn several_waits_are_replayed_in_order() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        let mut woken = Vec::new();
        for day in 0..5_u64 {
            let wait = Wait::sleep(seconds(86_400)).or_event(format!("day {day}"), wall());
            woken.push(said(task.wait(&wait).await));
        }
        Ok(json!({ "woken": woken, "invocation": task.invocation() }))
    })
    .await;
    let id = hand.trigger().await;
    for day in 0..5 {
        until_waiting(&engine, &id, day + 1).await;
        until_evicted(&engine, &id).await;
        match day % 2 {
            0 => engine.advance(seconds(86_400)),
            _ => {
                let event = Event::new(format!("day {day}"), object(json!({ "day": day })));
                hand.client.push(&[event]).await.unwrap();
            }
        }
    }
    let run = until_completed(&engine, &id).await;
    let woken = json!(["slept", { "day": 1 }, "slept", { "day": 3 }, "slept"]);
    assert_eq!(run.output, Some(json!({ "woken": woken, "invocation": 6 })));
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_asks_otherwise_fails_for_good() {
    let engine = engine();
    let mut retried = config(Pace::default());
    retried.workflows[0] = Workflow {
        retries: 5,
        ..Workflow::durable("journey")
    };
    let handler = |task: Durable| async move {
        let wait = Wait::sleep(seconds(3600 * u64::from(task.invocation().unsigned_abs())));
        task.wait(&wait).await;
        Ok(Value::Null)
    };
    let hand = start(&engine, retried, handler, |_| async { Ok(Value::Null) }).await;
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    engine.advance(seconds(3600));
    let run = until_over(&engine, &id).await;
    let error = run.error.unwrap();
    assert!(
        error.contains("sleep(3600s)") && error.contains("sleep(7200s)"),
        "{error}"
    );
    assert_eq!(run.invocation, 2);
    assert_eq!(hand.counts.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_waits_at_once_end_by_themselves() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        let long = Wait::sleep(seconds(7200)).or_event("go", wall());
        let short = Wait::sleep(seconds(3600));
        let (long, short) = tokio::join!(task.wait(&long), task.wait(&short));
        Ok(json!({ "long": said(long), "short": said(short) }))
    })
    .await;
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    engine.advance(seconds(3600));
    until_evicted(&engine, &id).await;
    let event = Event::new("go", object(json!({})));
    hand.client.push(&[event]).await.unwrap();
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "long": {}, "short": "slept" })));
}

#[tokio::test(start_paused = true)]
async fn an_event_counts_by_what_it_says_and_not_by_the_engines_clock() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        let mut woke = Vec::new();
        for after in ["1", "2"] {
            // Whatever was pushed in the last hours counts.
            let wait = Wait::sleep(seconds(60)).or_event("go", wall() - seconds(10_000));
            woke.push(said(task.wait(&wait.after("at", after)).await));
        }
        Ok(json!({ "woke": woke }))
    })
    .await;
    for at in ["1", "2"] {
        let payload = Map::from_iter([("at".to_owned(), json!(at))]);
        hand.client
            .push(&[Event::new("go", payload)])
            .await
            .unwrap();
    }
    let id = hand.trigger().await;
    let run = until_completed(&engine, &id).await;
    let woke = json!([{ "at": "2" }, "slept"]);
    assert_eq!(run.output, Some(json!({ "woke": woke })));
}
