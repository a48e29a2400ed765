//! What every event source promises.

use crate::promise::Promise;

/// What an event source promises beside what [every plugin](crate::PROMISES) does.
pub const PROMISES: [Promise; 12] = [
    Promise::new(
        "unsigned",
        "A webhook without its secret or signature is `Unauthorized`, whatever it says.",
    ),
    Promise::new(
        "changed-signature",
        "A webhook with a changed or empty header of its signature is `Unauthorized`.",
    ),
    Promise::new(
        "changed-body",
        "Where the vendor signs the body, a signature of another body is `Unauthorized`.",
    ),
    Promise::new(
        "other-secret",
        "A webhook that is signed with another secret is `Unauthorized`.",
    ),
    Promise::new(
        "old-signature",
        "Where the vendor signs the time, a signature is accepted within the tolerance and `Unauthorized` after it.",
    ),
    Promise::new(
        "events",
        "A webhook about something of interest gives events with a name that can be stored, each about somebody.",
    ),
    Promise::new(
        "event-keys",
        "Every event has a `dedupe_key` of its own, where the vendor gives ids.",
    ),
    Promise::new(
        "same-again",
        "A webhook that arrives again, later, gives the same events: nothing in them is the time of receipt.",
    ),
    Promise::new(
        "other-webhooks",
        "A webhook with nothing to store is `Skipped` with a reason, or has the answer that the vendor expects.",
    ),
    Promise::new(
        "unreadable",
        "A genuine webhook that cannot be read is `Invalid` with what to fix, and one without content gives no events.",
    ),
    Promise::new(
        "odd-values",
        "Wherever the vendor sends another type, an empty or a huge value, the webhook is read, skipped or `Invalid`, and what cannot be stored (U+0000) is not in an event.",
    ),
    Promise::new(
        "sample-webhook",
        "The sample webhook of the manifest gives an event.",
    ),
];
