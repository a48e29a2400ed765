//! What every journeys plugin promises.

use crate::promise::Promise;

/// What a journeys plugin promises beside what [every plugin](crate::PROMISES) does.
pub const PROMISES: [Promise; 12] = [
    Promise::new(
        "catalogue",
        "Every instance has the same journeys, templates and categories, whenever it is asked.",
    ),
    Promise::new(
        "journey-ids",
        "A journey has an id of lower-case letters, digits and hyphens that no other has, and a trigger.",
    ),
    Promise::new(
        "template-keys",
        "A template has a key of lower-case letters, digits and hyphens that no other has, and a subject.",
    ),
    Promise::new(
        "categories",
        "Each category is listed once, with an id and a name, and `transactional` is not listed.",
    ),
    Promise::new("syntax", "The expressions of every template compile."),
    Promise::new(
        "samples",
        "Every required prop has a sample, and samples have the declared type.",
    ),
    Promise::new(
        "renders",
        "Every template renders with its samples, to a subject, HTML and text without anything left unrendered.",
    ),
    Promise::new(
        "renders-bare",
        "Every template renders with its required props alone, for a person about whom nothing is known.",
    ),
    Promise::new(
        "unsubscribe-link",
        "A mail that is not transactional has the unsubscribe link in HTML and text.",
    ),
    Promise::new(
        "runs",
        "Whoever meets its trigger enters a journey, and the run does not fail within 400 days.",
    ),
    Promise::new(
        "refused-mails",
        "A run does not fail where the provider refuses its mails, and where the person has no address.",
    ),
    Promise::new(
        "sends",
        "Every mail names a template of the plugin and gives it the declared props.",
    ),
];
