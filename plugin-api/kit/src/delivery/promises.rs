//! What every delivery plugin promises.

use crate::promise::Promise;

/// What a delivery plugin promises beside what [every plugin](crate::PROMISES) does. Those about
/// requests, batches and webhooks hold where the plugin has them.
pub const PROMISES: [Promise; 23] = [
    Promise::new(
        "capabilities",
        "`capabilities` is the same for every instance, and its numbers are not zero.",
    ),
    Promise::new(
        "same-bytes",
        "`prepare` makes the same bytes from a mail in every instance, and other bytes from another mail.",
    ),
    Promise::new(
        "sender-and-recipient",
        "`prepare` refuses a mail without a sender or a recipient, in a sentence with that word.",
    ),
    Promise::new(
        "whole-mail",
        "Sender, recipient, reply-to, subject, HTML, text and further headers are sent unchanged, in any language.",
    ),
    Promise::new(
        "quoted-names",
        "A display name with a comma, a semicolon or quotes stays quoted (RFC 5322 §3.2.4).",
    ),
    Promise::new(
        "accepted",
        "An accepted mail is `Accepted` with the provider's id, and the request has the whole mail.",
    ),
    Promise::new(
        "idempotency-key",
        "A plugin that claims idempotency sends the key of the mail or batch.",
    ),
    Promise::new("refused-key", "401 is `Blocked` with the provider's words."),
    Promise::new(
        "refused-mail",
        "422 is `Rejected` with the provider's words.",
    ),
    Promise::new(
        "rate-limit",
        "429 is a `Retry` with `pause`, as long as `retry-after` says.",
    ),
    Promise::new(
        "provider-fault",
        "500 and 502 are `Unknown`: they may have come after acceptance.",
    ),
    Promise::new("answer-without-id", "200 without an id is `Unknown`."),
    Promise::new("lost-answer", "A lost answer is `Unknown`."),
    Promise::new("no-connection", "A refused connection is a `Retry`."),
    Promise::new(
        "refused-request",
        "A request that the host refuses is `Blocked`.",
    ),
    Promise::new(
        "batch-order",
        "A batch holds its mails in order, and has an outcome for each.",
    ),
    Promise::new(
        "refused-batch",
        "A batch that the provider refuses goes `Apart`, so that one bad mail does not stop the others.",
    ),
    Promise::new(
        "batch-ids",
        "An answer with more or fewer ids than mails leaves all of them `Unknown`.",
    ),
    Promise::new(
        "unsigned-webhook",
        "A webhook with a missing or changed signature is `Unauthorized`, whatever it says.",
    ),
    Promise::new(
        "other-secret",
        "A webhook that is signed with another secret is `Unauthorized`.",
    ),
    Promise::new(
        "event-keys",
        "A webhook about a mail gives events that name the mail, each with a `dedupe_key` of its own.",
    ),
    Promise::new(
        "other-webhooks",
        "A webhook about something else is `Skipped` with a reason.",
    ),
    Promise::new(
        "unreadable-webhook",
        "A genuine webhook that cannot be read is `Invalid` with what to fix, and one without content gives no events.",
    ),
];
