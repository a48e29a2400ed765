//! The metadata of the journeys.

use hogsend_plugin_api::journey::{Entry, days, hours};
use serde_json::json;

use crate::walk::{catalogue, properties};

#[test]
fn the_catalogue_is_what_the_handbook_says() {
    let journeys = catalogue().journeys;
    let found: Vec<_> = journeys
        .iter()
        .map(|journey| {
            let exits = journey.exit_on.iter().map(|exit| exit.event.as_str());
            (
                journey.id.as_str(),
                journey.trigger.event.as_str(),
                journey.entry,
                journey.category.as_str(),
                exits.collect::<Vec<_>>().join(" "),
            )
        })
        .map(|(id, trigger, entry, category, exits)| {
            (
                id,
                trigger,
                entry,
                category,
                exits.replace(" user.deleted", ""),
            )
        })
        .collect();
    let row = |id, trigger, entry, category, exits: &str| {
        (id, trigger, entry, category, exits.to_owned())
    };
    let weekly = Entry::once_per(days(7));
    assert_eq!(
        found,
        [
            row(
                "activation-welcome",
                "user.created",
                Entry::Once,
                "journey",
                "user.deleted"
            ),
            row(
                "activation-nudge-series",
                "journey.completed",
                Entry::Once,
                "journey",
                "user.deleted"
            ),
            row(
                "conversion-trial-upgrade",
                "trial.started",
                Entry::DAILY,
                "journey",
                "subscription.created trial.cancelled"
            ),
            row(
                "conversion-abandoned-checkout",
                "checkout.started",
                Entry::DAILY,
                "journey",
                "checkout.cancelled"
            ),
            row(
                "churn-prevention",
                "payment.failed",
                weekly,
                "billing",
                "payment.succeeded subscription.cancelled"
            ),
            row(
                "reactivation-dormancy",
                "user.dormant",
                Entry::once_per(days(60)),
                "journey",
                "user.returned feature.used"
            ),
            row(
                "retention-milestone",
                "milestone.reached",
                Entry::Unlimited,
                "milestones",
                "user.deleted"
            ),
            row(
                "feedback-nps",
                "feedback.due",
                Entry::once_per(days(90)),
                "feedback",
                "user.deleted"
            ),
            row(
                "referral-invite",
                "referral.eligible",
                Entry::once_per(days(182)),
                "referral",
                "user.deleted"
            ),
            row(
                "test-onboarding",
                "test.signup",
                Entry::Unlimited,
                "journey",
                ""
            ),
        ]
    );
}

#[test]
fn every_journey_says_what_it_is() {
    for journey in catalogue().journeys {
        let id = &journey.id;
        assert!(journey.enabled, "{id}");
        assert_ne!(&journey.name, id);
        let description = journey.description.unwrap();
        assert!(description.len() > 50, "{id}: {description}");
        assert!(
            journey.location.contains("src/journeys/"),
            "{}",
            journey.location
        );
        // The description names the events it acts on, except for the common one.
        for event in journey.exit_on.iter().chain([&journey.trigger]) {
            let name = event.event.as_str();
            assert!(
                name == "user.deleted" || description.contains(name),
                "{id} does not name {name}"
            );
        }
    }
}

/// The minimum interval separates runs. One longer than the waits within a run would drop mails.
#[test]
fn no_gap_is_longer_than_the_shortest_wait_between_two_mails() {
    for (id, shortest) in [
        ("activation-nudge-series", hours(24)),
        ("conversion-trial-upgrade", hours(33)),
        ("conversion-abandoned-checkout", days(2)),
        ("churn-prevention", days(1)),
        ("reactivation-dormancy", days(7)),
        ("referral-invite", days(2)),
    ] {
        let journeys = catalogue().journeys;
        let journey = journeys.iter().find(|journey| journey.id == id).unwrap();
        assert!(journey.suppress_ms > 0, "{id}");
        assert!(
            u128::from(journey.suppress_ms) < shortest.as_millis(),
            "{id}"
        );
    }
}

#[test]
fn the_series_follows_the_welcome_and_nothing_else() {
    let journeys = catalogue().journeys;
    let series = journeys
        .iter()
        .find(|journey| journey.id == "activation-nudge-series");
    let condition = series.unwrap().trigger.condition.as_ref().unwrap();
    let after = |event| condition.matches(&properties(event), &properties(json!({})));
    assert!(after(
        json!({ "journeyId": "activation-welcome", "stateId": 1 })
    ));
    assert!(!after(json!({ "journeyId": "activation-nudge-series" })));
    assert!(!after(json!({})));
}

#[test]
fn all_sixteen_templates_are_there() {
    let mut templates: Vec<_> = catalogue()
        .templates
        .into_iter()
        .map(|one| one.key)
        .collect();
    templates.sort();
    assert_eq!(
        templates.join(" "),
        "activation-community activation-feature-highlight activation-nudge activation-quickstart \
         churn-payment-failed conversion-trial-expiring conversion-usage-milestone \
         conversion-winback-offer feedback-nps-survey journey-notification password-reset \
         reactivation-checkin reactivation-final-nudge retention-achievement \
         retention-weekly-digest welcome"
    );
}
