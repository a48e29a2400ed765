//! Journeys that trigger others, and failures.

use hogsend_plugin_api::journey::{Condition, Ctx, Journey, User, days, hours};
use hogsend_plugin_kit::sim::{Sim, Status};

use crate::made;

#[test]
fn journeys_trigger_journeys_until_they_are_too_deep() {
    let mut sim = Sim::new(made("echo", |_, ctx: Ctx| async move {
        ctx.trigger("echo").prop("loud", true).await?;
        Ok(())
    }))
    .journey(|| {
        Journey::new("again", |_: User, ctx: Ctx| async move {
            assert_eq!(ctx.event().properties["loud"], true);
            ctx.trigger("echo").prop("loud", true).await?;
            Ok(())
        })
        .trigger("echo")
    })
    .journey(|| {
        Journey::new("friend", |user: User, ctx: Ctx| async move {
            if user.external_id.as_deref() == Some("user-1") {
                ctx.trigger("go-friend").for_user("friend").await?;
            } else {
                ctx.checkpoint("greeted");
            }
            Ok(())
        })
        .trigger("go-friend")
    });
    sim.event("go").assert_status_of("echo", Status::Completed);
    // Each event arrives while the run that caused it is still active.
    assert_eq!(
        sim.refusals().collect::<Vec<_>>(),
        [("again", "already_active", 1)]
    );
    sim.event("go-friend").person("friend");
    sim.assert_checkpoint("greeted");

    let mut deep = Sim::new(|| {
        Journey::new("endless", |_: User, ctx: Ctx| async move {
            ctx.checkpoint(&ctx.event().name);
            Ok(())
        })
        .trigger("journey.completed")
    })
    .journey(made("first", |_, _| async { Ok(()) }));
    deep.event("go");
    assert_eq!(deep.runs().len(), 16);
    assert_eq!(
        deep.refusals().collect::<Vec<_>>(),
        [("endless", "trigger_too_deep", 1)]
    );
}

#[test]
fn a_run_may_end_itself_by_its_own_event() {
    let mut sim = Sim::new(|| {
        Journey::new("self", |_: User, ctx: Ctx| async move {
            ctx.trigger("over").await?;
            ctx.send("never").await?;
            Ok(())
        })
        .trigger("go")
        .exit_on("over")
    });
    sim.event("go")
        .advance(days(1))
        .assert_status(Status::Exited)
        .assert_mails(&[]);
}

#[test]
fn failures_name_their_place_and_can_trigger() {
    let mut sim = Sim::new(made("fails", |_, ctx: Ctx| async move {
        ctx.trigger("  ").await?;
        Ok(())
    }))
    .journey(|| {
        Journey::new("mends", |_: User, ctx: Ctx| async move {
            assert_eq!(ctx.event().text("journeyId"), Some("fails"));
            ctx.exit("seen")
        })
        .trigger("journey.failed")
        .trigger_where(Condition::eq("journeyId", "fails"))
    })
    .journey(|| {
        Journey::new("panics", |_: User, _: Ctx| async move { panic!("no luck") }).trigger("dare")
    });
    sim.event("go").assert_status_of("fails", Status::Failed);
    let reason = sim.runs()[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("(event_invalid) at plugin-api/kit/tests/sim/chains.rs:"),
        "{reason}"
    );
    sim.assert_status_of("mends", Status::Exited);
    sim.event("dare").assert_status_of("panics", Status::Failed);
    let reason = sim.runs().last().unwrap().reason.as_deref().unwrap();
    assert!(
        reason.contains("no luck") && reason.contains("chains.rs:"),
        "{reason}"
    );
}

#[test]
fn going_round_in_circles_ends() {
    let mut sim = Sim::new(made("circles", |_, ctx: Ctx| async move {
        loop {
            let naps = (0..200).map(|_| ctx.sleep(hours(0)));
            futures::future::join_all(naps).await;
        }
    }));
    sim.event("go").assert_status(Status::Failed);
}
