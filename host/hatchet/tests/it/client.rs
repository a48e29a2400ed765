//! Calls that need no worker.

use hogsend_hatchet::{Event, NameProblem, RunStatus, Trigger, Triggered, Wait, Workflow};
use serde_json::{Value, json};

use super::{config, durable, engine, object, seconds, start, until_completed, until_evicted};

#[tokio::test(start_paused = true)]
async fn triggers_with_one_key_start_one_run() {
    let engine = engine();
    let client = engine.client();
    let once = Workflow {
        once_per_key: Some(seconds(3600)),
        ..Workflow::durable("once")
    };
    client.put_workflow(&once).await.unwrap();
    let trigger = Trigger::new("once", object(json!({}))).key("run-1");
    let first = client.trigger(&trigger).await.unwrap();
    let Triggered::Started(id) = first else {
        panic!("{first:?}");
    };
    assert_eq!(
        client.trigger(&trigger).await.unwrap(),
        Triggered::Already(id.clone())
    );
    let other = Trigger::new("once", object(json!({}))).key("run-2");
    let without = Trigger::new("once", object(json!({})));
    assert!(matches!(
        client.trigger(&without).await.unwrap(),
        Triggered::Started(_)
    ));
    let all = client
        .trigger_many(&[trigger.clone(), other])
        .await
        .unwrap();
    assert_eq!(all[0], Triggered::Already(id));
    assert_eq!(engine.runs().len(), 3);
    engine.advance(seconds(3601));
    assert!(matches!(
        client.trigger(&trigger).await.unwrap(),
        Triggered::Started(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn many_triggers_start_their_runs_in_order() {
    let engine = engine();
    let client = engine.client();
    client
        .put_workflow(&Workflow::durable("journey"))
        .await
        .unwrap();
    let trigger = |n: usize| Trigger::new("journey", object(json!({ "n": n })));
    let triggers: Vec<_> = (0..1500).map(trigger).collect();
    let started = client.trigger_many(&triggers).await.unwrap();
    assert_eq!(started.len(), 1500);
    for (n, started) in started.iter().enumerate() {
        assert_eq!(engine.run(started.id()).unwrap().input, json!({ "n": n }));
    }
    assert_eq!(engine.calls("BulkTriggerWorkflow"), 2);
}

#[tokio::test(start_paused = true)]
async fn events_are_pushed_in_calls_that_the_engine_takes() {
    let engine = engine();
    let client = engine.client();
    client.push(&[]).await.unwrap();
    assert_eq!(engine.calls("BulkPush"), 0);
    let event = |n: usize| Event::new(format!("key {n}"), object(json!({ "n": n })));
    let events: Vec<_> = (0..2500).map(event).collect();
    client.push(&events).await.unwrap();
    assert_eq!(engine.calls("BulkPush"), 3);
    let keys: Vec<_> = engine.events().into_iter().map(|it| it.key).collect();
    assert_eq!(keys.len(), 2500);
    assert_eq!(
        (keys[0].as_str(), keys[2499].as_str()),
        ("key 0", "key 2499")
    );
    let large = object(json!({ "text": "x".repeat(1 << 20) }));
    let events: Vec<_> = (0..10)
        .map(|_| Event::new("large", large.clone()))
        .collect();
    client.push(&events).await.unwrap();
    assert_eq!(engine.events().len(), 2510);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_fails_midway_says_how_far_it_came() {
    let engine = engine();
    let client = engine.client();
    let mut events: Vec<_> = (0..1001)
        .map(|_| Event::new("fine", object(json!({}))))
        .collect();
    events.push(Event::new("bad", object(json!({ "nul": "\0" }))));
    let failed = client.push(&events).await.unwrap_err();
    assert_eq!(failed.pushed, 1000);
    assert!(!failed.error.is_transient());
    assert!(failed.to_string().contains("1000 events before it"));
}

#[tokio::test(start_paused = true)]
async fn an_event_starts_runs_of_the_workflows_that_name_it() {
    let engine = engine();
    let mut config = config(hogsend_hatchet::Pace::default());
    config.workflows[1].events = vec!["mail.due".to_owned()];
    let hand = start(
        &engine,
        config,
        |_| async { Ok(Value::Null) },
        |task| async move { Ok(json!({ "key": task.event_key, "input": task.input })) },
    )
    .await;
    let event = Event::new("mail.due", object(json!({ "n": 1 })));
    hand.client.push(&[event]).await.unwrap();
    let id = engine.runs()[0].id.clone();
    let run = until_completed(&engine, &id).await;
    assert_eq!(
        run.output,
        Some(json!({ "key": "mail.due", "input": { "n": 1 } }))
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_asked_about() {
    let engine = engine();
    let hand = durable(&engine, |task| async move {
        task.wait(&Wait::sleep(seconds(3600))).await;
        Ok(json!({ "ok": true }))
    })
    .await;
    assert_eq!(
        hand.client
            .run("00000000-0000-0000-0000-00000000ffff")
            .await
            .unwrap(),
        None
    );
    let id = hand.trigger().await;
    until_evicted(&engine, &id).await;
    let run = hand.client.run(&id).await.unwrap().unwrap();
    assert_eq!(run.status, RunStatus::Evicted);
    // Restored before its time, it waits on.
    hand.client.restore(&id).await.unwrap();
    engine
        .until("it runs again", |it| it.run(&id).unwrap().invocation == 2)
        .await;
    until_evicted(&engine, &id).await;
    engine.advance(seconds(3600));
    until_completed(&engine, &id).await;
    let run = hand.client.run(&id).await.unwrap().unwrap();
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!((run.output, run.error), (Some(json!({ "ok": true })), None));
}

#[tokio::test(start_paused = true)]
async fn names_that_the_engine_would_lose_are_not_sent() {
    let engine = engine();
    let client = engine.client();
    let wrong = Trigger::new("day one", object(json!({})));
    let error = client.trigger(&wrong).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'day one' cannot be a name in Hatchet"),
        "{error}"
    );
    assert_eq!(engine.calls("TriggerWorkflowRun"), 0);
    let mut config = config(hogsend_hatchet::Pace::default());
    config.workflows.push(Workflow::normal("MAIL"));
    let script = super::Script {
        durable: |_| async { Ok(Value::Null) },
        normal: |_| async { Ok(Value::Null) },
        counts: super::Counts::default(),
    };
    let refused = hogsend_hatchet::Worker::new(client, config, script).err();
    let name = "mail".to_owned();
    assert_eq!(refused, Some(NameProblem::Twice { name }));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_workflow_is_taken_and_runs_nothing() {
    let engine = engine();
    let client = engine.client();
    let trigger = Trigger::new("unknown", object(json!({})));
    let id = client.trigger(&trigger).await.unwrap().id().to_owned();
    assert_eq!(client.run(&id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_called_away() {
    let engine = engine();
    let client = engine.client();
    client.version().await.unwrap();
    engine.kill();
    let trigger = Trigger::new("journey", object(json!({})));
    let error = client.trigger(&trigger).await.unwrap_err();
    assert!(error.is_away() && error.is_transient(), "{error:?}");
    assert!(
        error.to_string().contains("HATCHET_CLIENT_HOST_PORT"),
        "{error}"
    );
    tokio::time::sleep(seconds(11)).await;
    let away = client.connection().borrow().away_for();
    assert!(away.unwrap() >= seconds(11));
}
