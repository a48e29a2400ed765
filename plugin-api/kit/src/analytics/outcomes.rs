//! What answers of a product mean for a batch.

use hogsend_plugin_api::{Captured, HttpErrorKind};

/// An expected outcome of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Blocked,
    Retry,
    Rejected,
    /// Anything but accepted.
    NotTaken,
}

impl End {
    pub fn fits(self, outcome: &Captured) -> bool {
        match self {
            Self::Blocked => matches!(outcome, Captured::Blocked { .. }),
            Self::Retry => matches!(outcome, Captured::Retry { .. }),
            Self::Rejected => matches!(outcome, Captured::Rejected { .. }),
            Self::NotTaken => !matches!(outcome, Captured::Taken | Captured::Partly { .. }),
        }
    }
}

/// An answer, and what it means.
pub(super) struct Case<T> {
    pub promise: &'static str,
    pub answer: T,
    pub expected: End,
    pub claim: &'static str,
}

const fn case<T: Copy>(
    promise: &'static str,
    answer: T,
    expected: End,
    claim: &'static str,
) -> Case<T> {
    Case {
        promise,
        answer,
        expected,
        claim,
    }
}

pub(super) const STATUSES: [Case<u16>; 7] = [
    case(
        "refused-key",
        401,
        End::Blocked,
        "a refused key blocks captures",
    ),
    case(
        "refused-key",
        403,
        End::Blocked,
        "a key without the right blocks captures",
    ),
    case("rate-limit", 429, End::Retry, "a rate limit is retried"),
    case("product-fault", 500, End::Retry, "a fault is retried"),
    case(
        "product-fault",
        503,
        End::Retry,
        "a product that is down is retried",
    ),
    case(
        "refused-batch",
        400,
        End::Rejected,
        "a batch the product refuses is rejected, so that the host finds the captures at fault",
    ),
    case("redirect", 302, End::NotTaken, "a redirect is not accepted"),
];

pub(super) const MISSING: [Case<HttpErrorKind>; 3] = [
    case(
        "lost-answer",
        HttpErrorKind::Lost,
        End::Retry,
        "a lost answer is retried",
    ),
    case(
        "no-connection",
        HttpErrorKind::Connect,
        End::Retry,
        "a refused connection is retried",
    ),
    case(
        "refused-request",
        HttpErrorKind::Refused,
        End::Blocked,
        "a refused request waits for a fix",
    ),
];
