//! The state of a mail after a webhook, an open or a click.

use hogsend_plugin_api::{BounceType, DeliveryEventKind};

use super::standing::bounce_name;
use crate::db::SendStatus;

/// The status of a mail, and whether its bounce is a passing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    pub status: SendStatus,
    /// A passing bounce: a later report may show that the mail arrived.
    pub soft: bool,
}

impl Stage {
    pub fn new(status: SendStatus, bounce_type: Option<&str>) -> Self {
        let soft = status == SendStatus::Bounced
            && bounce_type.is_some_and(|name| name != bounce_name(BounceType::Permanent));
        Self { status, soft }
    }

    /// No report changes it.
    pub fn is_final(self) -> bool {
        match self.status {
            SendStatus::Bounced => !self.soft,
            SendStatus::Complained | SendStatus::Failed | SendStatus::Skipped => true,
            _ => false,
        }
    }

    /// How far the mail came.
    fn rank(self) -> u8 {
        match self.status {
            SendStatus::Queued => 0,
            SendStatus::Sending => 1,
            SendStatus::Ambiguous => 2,
            SendStatus::Sent => 3,
            SendStatus::Bounced if self.soft => 4,
            SendStatus::Delivered => 5,
            SendStatus::Opened => 6,
            SendStatus::Clicked => 7,
            SendStatus::Bounced
            | SendStatus::Complained
            | SendStatus::Failed
            | SendStatus::Skipped => 8,
        }
    }

    /// The stage after an event: a mail only moves forward, and a final stage stays.
    pub fn after(self, kind: DeliveryEventKind, bounce: Option<BounceType>) -> Self {
        let hard = |status| Self {
            status,
            soft: false,
        };
        let reported = match kind {
            DeliveryEventKind::Sent
            | DeliveryEventKind::Delayed
            | DeliveryEventKind::Unsubscribed => hard(SendStatus::Sent),
            DeliveryEventKind::Delivered => hard(SendStatus::Delivered),
            DeliveryEventKind::Opened => hard(SendStatus::Opened),
            DeliveryEventKind::Clicked => hard(SendStatus::Clicked),
            DeliveryEventKind::Complained => hard(SendStatus::Complained),
            DeliveryEventKind::Failed | DeliveryEventKind::Suppressed => hard(SendStatus::Failed),
            DeliveryEventKind::Bounced => Self {
                status: SendStatus::Bounced,
                soft: bounce != Some(BounceType::Permanent),
            },
            // An event of a kind unknown here is left out when it is read.
            _ => self,
        };
        if self.is_final() || reported.rank() <= self.rank() {
            self
        } else {
            reported
        }
    }
}

/// Whether a provider is known to have the mail.
pub fn is_handed_over(stage: Stage) -> bool {
    stage.rank() >= 3
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{BounceType, DeliveryEventKind as Kind};
    use proptest::prelude::*;

    use super::Stage;
    use crate::db::SendStatus;

    const KINDS: [Kind; 10] = [
        Kind::Sent,
        Kind::Delayed,
        Kind::Delivered,
        Kind::Opened,
        Kind::Clicked,
        Kind::Bounced,
        Kind::Complained,
        Kind::Failed,
        Kind::Suppressed,
        Kind::Unsubscribed,
    ];
    const BOUNCES: [Option<BounceType>; 4] = [
        None,
        Some(BounceType::Permanent),
        Some(BounceType::Transient),
        Some(BounceType::Undetermined),
    ];

    fn stage() -> impl Strategy<Value = Stage> {
        const TYPES: [Option<&str>; 3] = [None, Some("permanent"), Some("transient")];
        (
            prop::sample::select(SendStatus::ALL),
            prop::sample::select(&TYPES[..]),
        )
            .prop_map(|(status, bounce)| Stage::new(status, bounce))
    }

    fn event() -> impl Strategy<Value = (Kind, Option<BounceType>)> {
        (
            prop::sample::select(&KINDS[..]),
            prop::sample::select(&BOUNCES[..]),
        )
    }

    proptest! {
        #[test]
        fn a_mail_only_moves_forward(before in stage(), (kind, bounce) in event()) {
            let after = before.after(kind, bounce);
            prop_assert!(after.rank() >= before.rank());
            if before.is_final() {
                prop_assert_eq!(after, before);
            }
        }

        #[test]
        fn an_event_reported_twice_changes_nothing_more(before in stage(), (kind, bounce) in event()) {
            let once = before.after(kind, bounce);
            prop_assert_eq!(once.after(kind, bounce), once);
        }

        #[test]
        fn the_order_of_reports_makes_no_difference_until_one_is_final(
            events in prop::collection::vec(event(), 0..8), seed in any::<u64>(),
        ) {
            let passing = |(kind, bounce): &(Kind, Option<BounceType>)| !matches!(
                (kind, bounce),
                (Kind::Bounced, Some(BounceType::Permanent))
                    | (Kind::Complained | Kind::Failed | Kind::Suppressed, _)
            );
            let events: Vec<_> = events.into_iter().filter(passing).collect();
            let mut other = events.clone();
            if !other.is_empty() {
                let by = usize::try_from(seed % other.len() as u64).unwrap();
                other.rotate_left(by);
                other.reverse();
            }
            let end = |events: Vec<(Kind, Option<BounceType>)>| events.into_iter().fold(
                Stage::new(SendStatus::Sending, None),
                |stage, (kind, bounce)| stage.after(kind, bounce),
            );
            prop_assert_eq!(end(events), end(other));
        }
    }

    #[test]
    fn a_passing_bounce_takes_back_nothing_that_arrived() {
        let soft = Some(BounceType::Transient);
        for (before, expected) in [
            (SendStatus::Sent, SendStatus::Bounced),
            (SendStatus::Delivered, SendStatus::Delivered),
            (SendStatus::Opened, SendStatus::Opened),
            (SendStatus::Clicked, SendStatus::Clicked),
        ] {
            let after = Stage::new(before, None).after(Kind::Bounced, soft);
            assert_eq!(after.status, expected, "{before:?}");
        }
        let bounced = Stage::new(SendStatus::Bounced, Some("transient"));
        let arrived = bounced.after(Kind::Delivered, None);
        assert_eq!(arrived.status, SendStatus::Delivered);
        // Rows of older versions have no type: their bounce stays.
        let old = Stage::new(SendStatus::Bounced, None);
        assert_eq!(old.after(Kind::Delivered, None), old);
    }

    #[test]
    fn final_stages_win() {
        for (before, kind, expected) in [
            (SendStatus::Sending, Kind::Sent, SendStatus::Sent),
            (SendStatus::Ambiguous, Kind::Delayed, SendStatus::Sent),
            (SendStatus::Opened, Kind::Delivered, SendStatus::Opened),
            (
                SendStatus::Clicked,
                Kind::Complained,
                SendStatus::Complained,
            ),
            (
                SendStatus::Complained,
                Kind::Bounced,
                SendStatus::Complained,
            ),
            (SendStatus::Failed, Kind::Clicked, SendStatus::Failed),
            (SendStatus::Ambiguous, Kind::Failed, SendStatus::Failed),
        ] {
            let after = Stage::new(before, None).after(kind, Some(BounceType::Permanent));
            assert_eq!(after.status, expected, "{before:?} {kind:?}");
        }
    }
}
