//! Several mails in one request (<https://resend.com/docs/api-reference/emails/send-batch-emails>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BatchOutcome, BlockScope, HttpResponse, SendOutcome};
use serde::Deserialize;

use crate::answer;

/// The most mails Resend accepts in one request.
pub const MAX: u32 = 100;

#[derive(Deserialize)]
struct Accepted {
    data: Vec<Id>,
    /// With permissive validation, the refused mails.
    #[serde(default)]
    errors: Vec<Refused>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Refused {
    index: usize,
    #[serde(default)]
    message: String,
}

/// The outcome of an answer to `size` mails. `key` never appears in a reason.
pub fn outcome(answer: &HttpResponse, size: usize, key: &str, now: DateTime<Utc>) -> BatchOutcome {
    if (200..300).contains(&answer.status) {
        let each = answer.json().ok().and_then(|said| places(said, size, key));
        return each.map_or_else(
            || {
                BatchOutcome::All(SendOutcome::unknown(format!(
                    "Resend answered {} without an id for each mail",
                    answer.status
                )))
            },
            BatchOutcome::Each,
        );
    }
    match answer::outcome(answer, key, now) {
        // Only this batch uses the key, so Resend accepted this batch under it.
        SendOutcome::Rejected { reason, .. } if answer.status == 409 => {
            BatchOutcome::All(SendOutcome::unknown(reason))
        }
        // It may be the fault of one mail or one sender, for which the others must not wait.
        SendOutcome::Rejected { reason, .. }
        | SendOutcome::Blocked {
            reason,
            scope: BlockScope::Sender,
            ..
        } => BatchOutcome::apart(reason),
        other => BatchOutcome::All(other),
    }
}

/// The ids belong to the mails that were not refused, in order.
fn places(said: Accepted, size: usize, key: &str) -> Option<Vec<SendOutcome>> {
    let mut ids = said.data.into_iter();
    let mut each = Vec::with_capacity(size);
    for place in 0..size {
        let refused = said.errors.iter().find(|error| error.index == place);
        each.push(match refused {
            Some(error) => {
                let said = format!("Resend refused it: {}", answer::clean(&error.message, key));
                answer::refusal(422, "validation_error", &error.message, said, None)
            }
            None => SendOutcome::accepted(ids.next().map(|id| id.id).filter(|id| !id.is_empty())?),
        });
    }
    ids.next().is_none().then_some(each)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hogsend_plugin_api::{BatchOutcome, BounceType, HttpResponse, SendOutcome};
    use serde_json::{Value, json};

    use super::outcome;

    fn judge(status: u16, said: &Value) -> BatchOutcome {
        let answer = HttpResponse::new(status, &[], said.to_string());
        outcome(&answer, 3, "re_hush", DateTime::UNIX_EPOCH)
    }

    #[test]
    fn ids_belong_to_the_mails_that_were_not_refused() {
        let said = json!({
            "data": [{ "id": "x" }, { "id": "z" }],
            "errors": [{ "index": 1, "message": "`to` is no address re_hush" }],
        });
        let BatchOutcome::Each(each) = judge(200, &said) else {
            panic!("{:?}", judge(200, &said));
        };
        let accepted = |id: &str| SendOutcome::accepted(id);
        let refused = SendOutcome::bounced(
            "Resend refused it: `to` is no address [key]",
            BounceType::Undetermined,
        );
        assert_eq!(each, [accepted("x"), refused, accepted("z")]);
    }

    #[test]
    fn an_answer_that_does_not_fit_says_nothing() {
        for said in [
            json!({ "data": [{ "id": "x" }] }),
            json!({ "data": [{ "id": "x" }, { "id": "y" }, { "id": "z" }, { "id": "?" }] }),
            json!({ "data": [{ "id": "x" }, { "id": "" }, { "id": "z" }] }),
            json!({}),
        ] {
            let judged = judge(200, &said);
            assert!(
                matches!(judged, BatchOutcome::All(SendOutcome::Unknown { .. })),
                "{judged:?}"
            );
        }
    }

    #[test]
    fn a_batch_refused_as_such_goes_apart_and_one_under_its_own_key_is_in_doubt() {
        let error = |name| json!({ "name": name, "message": "the words" });
        for name in ["validation_error", "invalid_from_address"] {
            let apart = judge(422, &error(name));
            assert!(matches!(apart, BatchOutcome::Apart { .. }), "{apart:?}");
        }
        let doubt = judge(409, &error("invalid_idempotent_request"));
        assert!(
            matches!(doubt, BatchOutcome::All(SendOutcome::Unknown { .. })),
            "{doubt:?}"
        );
        let pause = judge(429, &error("rate_limit_exceeded"));
        assert!(
            matches!(
                pause,
                BatchOutcome::All(SendOutcome::Retry { pause: true, .. })
            ),
            "{pause:?}"
        );
    }
}
