//! Normal tasks, and what the engine is told of their ends.

use hogsend_hatchet::stand_in::Status;
use hogsend_hatchet::{Failed, Normal, Pace, Trigger, Wait, WorkerConfig, Workflow};
use serde_json::{Value, json};

use super::{Hand, config, durable, engine, object, seconds, start, until_completed, until_over};

async fn mails<N, NF>(
    engine: &hogsend_hatchet::stand_in::StandIn,
    config: WorkerConfig,
    normal: N,
) -> Hand
where
    N: Fn(Normal) -> NF + Send + Sync + 'static,
    NF: Future<Output = Result<Value, Failed>> + Send + 'static,
{
    start(engine, config, |_| async { Ok(Value::Null) }, normal).await
}

fn retried(retries: u16) -> WorkerConfig {
    let mut config = config(Pace::default());
    config.workflows[1] = Workflow {
        retries,
        timeout: seconds(30),
        ..Workflow::normal("mail")
    };
    config
}

#[tokio::test(start_paused = true)]
async fn a_task_sees_what_it_was_triggered_with() {
    let engine = engine();
    let hand = mails(&engine, config(Pace::default()), |task| async move {
        task.log("on it");
        Ok(json!({
            "workflow": task.workflow,
            "input": task.input,
            "tag": task.metadata["tag"],
            "retries": task.retry_count,
        }))
    })
    .await;
    // The engine knows no capitals.
    let trigger = Trigger::new("Mail", object(json!({ "to": "a" }))).metadata("tag", "x");
    let id = hand.client.trigger(&trigger).await.unwrap().id().to_owned();
    let run = until_completed(&engine, &id).await;
    let expected = json!({ "workflow": "mail", "input": { "to": "a" }, "tag": "x", "retries": 0 });
    assert_eq!(run.output, Some(expected));
    engine
        .until("its line is there", |it| {
            it.run(&id).unwrap().lines == ["on it"]
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_no_object_becomes_one() {
    let engine = engine();
    let hand = mails(&engine, config(Pace::default()), |_| async {
        Ok(json!("done"))
    })
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "value": "done" })));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_as_often_as_the_workflow_says() {
    let engine = engine();
    let hand = mails(&engine, retried(2), |task| async move {
        match task.retry_count {
            2 => Ok(json!({})),
            count => Err(Failed::transient(format!("attempt {count}"))),
        }
    })
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.retry_count, 2);
    assert_eq!(hand.counts.begun(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_tried_again() {
    let engine = engine();
    let hand = mails(&engine, retried(2), |_| async {
        Err(Failed::permanent("no such\0thing"))
    })
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    let run = until_over(&engine, &id).await;
    assert_eq!(run.status, Status::Failed);
    assert_eq!(run.error.as_deref(), Some("no such\u{fffd}thing"));
    assert_eq!(hand.counts.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_task_alone() {
    let engine = engine();
    let hand = mails(&engine, config(Pace::default()), |task| async move {
        assert!(task.input["fine"] == true, "boom");
        Ok(json!({}))
    })
    .await;
    let bad = hand.trigger_of("mail", json!({ "fine": false })).await;
    let good = hand.trigger_of("mail", json!({ "fine": true })).await;
    let run = until_over(&engine, &bad).await;
    assert_eq!(run.status, Status::Failed);
    assert_eq!(run.error.as_deref(), Some("the handler panicked: boom"));
    until_completed(&engine, &good).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_dropped_without_a_word() {
    let engine = engine();
    let hand = mails(&engine, config(Pace::default()), |_| std::future::pending()).await;
    let id = hand.trigger_of("mail", json!({})).await;
    engine
        .until("it runs", |it| it.run(&id).unwrap().worker.is_some())
        .await;
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(hand.counts.alive(), 1);
    let reports = engine.calls("SendStepActionEvent");
    hand.client.cancel(std::slice::from_ref(&id)).await.unwrap();
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(hand.counts.alive(), 0);
    assert_eq!(engine.run(&id).unwrap().status, Status::Cancelled);
    assert_eq!(engine.calls("SendStepActionEvent"), reports);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_durable_task_can_be_replayed_and_keeps_its_log() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        let first: i32 = task.memo("first", task.invocation()).await?;
        task.wait(&Wait::sleep(seconds(3600))).await;
        Ok(json!({ "first": first, "invocation": task.invocation() }))
    })
    .await;
    let id = hand.trigger().await;
    super::until_evicted(&engine, &id).await;
    hand.client.cancel(std::slice::from_ref(&id)).await.unwrap();
    assert_eq!(engine.run(&id).unwrap().status, Status::Cancelled);
    hand.client.replay(std::slice::from_ref(&id)).await.unwrap();
    super::until_evicted(&engine, &id).await;
    engine.advance(seconds(3600));
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "first": 1, "invocation": 3 })));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_replaced_by_the_next() {
    let engine = engine();
    let hand = mails(&engine, retried(1), |task| async move {
        if task.retry_count == 0 {
            std::future::pending::<()>().await;
        }
        Ok(json!({ "retries": task.retry_count }))
    })
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    let run = until_completed(&engine, &id).await;
    assert_eq!(run.output, Some(json!({ "retries": 1 })));
    assert_eq!(hand.counts.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_can_ask_for_more_time() {
    let engine = engine();
    let hand = mails(&engine, retried(0), |task| async move {
        task.extend(seconds(100)).await.unwrap();
        tokio::time::sleep(seconds(60)).await;
        Ok(json!({}))
    })
    .await;
    let id = hand.trigger_of("mail", json!({})).await;
    until_completed(&engine, &id).await;
}

#[tokio::test(start_paused = true)]
async fn durable_tasks_may_take_a_year_and_wait_a_month_for_a_worker() {
    let engine = engine();
    let _hand = durable(&engine, |_| async { Ok(Value::Null) }).await;
    assert_eq!(engine.timeout_of("journey").as_deref(), Some("31536000s"));
    assert_eq!(engine.workflows(), ["journey", "mail"]);
}
