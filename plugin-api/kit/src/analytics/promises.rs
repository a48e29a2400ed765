//! What every analytics plugin promises.

use crate::promise::Promise;

/// What an analytics plugin promises beside what [every plugin](crate::PROMISES) does. Those about
/// captures and person properties hold where the plugin has them.
pub const PROMISES: [Promise; 19] = [
    Promise::new(
        "whole-batch",
        "An accepted batch is `Taken`, and every capture of it is sent, in order, with its name, id, person and properties.",
    ),
    Promise::new(
        "same-ids",
        "A batch that is sent again has the same ids, and each capture its own, so that the product can drop repeats.",
    ),
    Promise::new(
        "unconfigured",
        "Without the setting of `captures_with`, captures are `Unwanted` and nothing is sent.",
    ),
    Promise::new("empty-batch", "An empty batch is `Taken` or `Unwanted`."),
    Promise::new(
        "every-capture-once",
        "A large batch is sent whole or `Rejected`, and when the host has halved it every capture has been sent once.",
    ),
    Promise::new(
        "odd-captures",
        "A capture that the product cannot take is refused by its id or with its batch; others are sent.",
    ),
    Promise::new("refused-key", "401 and 403 are `Blocked` with a reason."),
    Promise::new(
        "rate-limit",
        "429 is a `Retry`, as late as `retry-after` says.",
    ),
    Promise::new("product-fault", "500 and 503 are a `Retry`."),
    Promise::new("refused-batch", "400 is `Rejected`."),
    Promise::new(
        "redirect",
        "302 is not `Taken`: the host follows no redirects.",
    ),
    Promise::new("lost-answer", "A lost answer is a `Retry`."),
    Promise::new("no-connection", "A refused connection is a `Retry`."),
    Promise::new(
        "refused-request",
        "A request that the host refuses is `Blocked`.",
    ),
    Promise::new(
        "person",
        "The properties of a known person are those the product gives.",
    ),
    Promise::new(
        "unknown-person",
        "A person the product does not know is `None`.",
    ),
    Promise::new(
        "person-unanswered",
        "Where the product refuses, fails or answers nonsense, `person` is an error with a reason, and nothing is cached.",
    ),
    Promise::new(
        "person-without-settings",
        "Without any setting `person` is `None`, and nothing is asked.",
    ),
    Promise::new(
        "odd-ids",
        "An id with spaces, slashes or other special characters is encoded: the request is about this id and no other page.",
    ),
];
