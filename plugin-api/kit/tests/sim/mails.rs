//! Mails that are sent, delayed or skipped.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::{Ctx, Journey, Sent, User, days, hours};
use hogsend_plugin_kit::sim::{Outcome, Policy, Sim, Status};

use crate::made;

#[test]
fn mails_are_skipped_with_the_reason() {
    fn plain() -> Journey {
        Journey::new("plain", |_: User, ctx: Ctx| async move {
            let sent = ctx.send("letter").await?;
            ctx.checkpoint(match &sent {
                Sent::Sent { .. } => "sent",
                Sent::Skipped { reason, .. } | Sent::Failed { reason, .. } => reason,
                other => panic!("{other:?}"),
            });
            ctx.send("receipt").category("transactional").await?;
            Ok(())
        })
        .trigger("go")
        .suppress(days(1))
    }
    let mut sim = Sim::new(plain);
    sim.person("nowhere")
        .set_email(None)
        .event("go")
        .assert_checkpoint("no_address");
    sim.person("ada").event("go").assert_checkpoint("sent");
    // The last mail was the receipt.
    sim.advance(hours(23))
        .event("go")
        .assert_checkpoint("journey_suppressed");
    sim.advance(hours(24)).event("go");
    sim.assert_mails(&["letter", "receipt", "receipt", "letter", "receipt"]);
    sim.person("refused")
        .fail_send("letter", "no such mailbox")
        .event("go")
        .assert_checkpoint("no such mailbox");
    sim.person("held")
        .skip("letter", "test_mode")
        .event("go")
        .assert_checkpoint("test_mode");
    sim.person("gone")
        .event("go")
        .assert_mails(&["receipt"])
        .unsubscribe("all")
        .event("go")
        .assert_mails(&["receipt"]);
}

#[test]
fn unsubscribing_ends_no_run_but_its_mails() {
    let mut sim = Sim::new(made("series", |_, ctx: Ctx| async move {
        for _ in 0..3 {
            let wanted = ctx.guard().is_subscribed().await?;
            let sent = ctx.send("part").await?;
            assert_eq!(wanted, sent.is_sent());
            ctx.sleep(days(1)).await;
        }
        Ok(())
    }));
    sim.event("go").unsubscribe("journey").advance(days(1));
    sim.resubscribe("journey").advance(days(5));
    sim.assert_mails(&["part", "part"])
        .assert_status(Status::Completed);
    let skipped = sim.mails().iter().map(|mail| &mail.outcome).nth(1);
    assert_eq!(skipped, Some(&Outcome::Skipped("user_unsubscribed".into())));
}

#[test]
fn caps_and_windows_hold_mail_back() {
    let mut sim = Sim::new(made("chatty", |_, ctx: Ctx| async move {
        for _ in 0..6 {
            ctx.send("chat").await?;
            ctx.sleep(hours(6)).await;
        }
        Ok(())
    }))
    .policy(Policy {
        frequency_cap: Some((2, days(1))),
        send_window: Some(((9, 0), (17, 0))),
        ..Policy::default()
    });
    sim.event("go").advance(days(4));
    let sent: Vec<_> = sim.sends().iter().map(|m| m.sent_at().unwrap()).collect();
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    assert_eq!(
        sent,
        [
            at("2026-01-01T09:00:00Z"),
            at("2026-01-01T15:00:00Z"),
            // The one of the 2nd, 9 o'clock, exceeds the cap: two were sent in the 24 hours before.
            at("2026-01-02T15:00:00Z"),
            // So is that of the 3rd, 15 o'clock.
            at("2026-01-03T09:00:00Z"),
        ]
    );
}

#[test]
fn a_mail_that_waits_for_its_window_does_not_survive_an_exit() {
    let mut sim = Sim::new(|| {
        Journey::new("late", |_: User, ctx: Ctx| async move {
            ctx.send("late").await?;
            Ok(())
        })
        .trigger("go")
        .exit_on("paid")
    })
    .policy(Policy {
        send_window: Some(((9, 0), (17, 0))),
        ..Policy::default()
    });
    sim.event("go").advance(hours(2)).event("paid");
    sim.advance(days(2)).assert_mails(&[]);
    assert_eq!(
        sim.mails()[0].outcome,
        Outcome::Skipped("journey_exited".into())
    );
}
