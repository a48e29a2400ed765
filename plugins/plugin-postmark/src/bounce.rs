//! The meaning of Postmark's bounce types
//! (<https://postmarkapp.com/developer/api/bounce-api#bounce-types>).

use hogsend_plugin_api::{BounceType, DeliveryEventKind as Kind};

/// The event and the bounce type of a Postmark bounce. `None` where it is not about the mail or the
/// address: an automatic reply, or inbound mail.
pub fn kind(name: &str) -> Option<(Kind, Option<BounceType>)> {
    let bounced = |kind| Some((Kind::Bounced, Some(kind)));
    match name {
        "HardBounce" | "BadEmailAddress" => bounced(BounceType::Permanent),
        // Postmark reports these only after its own retries.
        "SoftBounce" | "Transient" | "DnsError" => bounced(BounceType::Transient),
        // The address works: the content, the sender or a filter caused the refusal.
        "SpamNotification" | "Blocked" | "VirusNotification" | "DMARCPolicy" => {
            bounced(BounceType::Undetermined)
        }
        "SpamComplaint" => Some((Kind::Complained, None)),
        "Unsubscribe" => Some((Kind::Unsubscribed, None)),
        "ManuallyDeactivated" => Some((Kind::Suppressed, None)),
        // Postmark accepted the mail and could not build a message from it.
        "SMTPApiError" | "TemplateRenderingFailed" => Some((Kind::Failed, None)),
        "AutoResponder"
        | "AddressChange"
        | "ChallengeVerification"
        | "Subscribe"
        | "OpenRelayTest"
        | "InboundError" => None,
        // `Unknown`, `Unconfirmed`, and future types.
        _ => bounced(BounceType::Undetermined),
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{BounceType, DeliveryEventKind as Kind};

    use super::kind;

    #[test]
    fn only_addresses_that_never_work_bounce_for_good() {
        let bounced = |kind| Some((Kind::Bounced, Some(kind)));
        for (name, expected) in [
            ("HardBounce", bounced(BounceType::Permanent)),
            ("BadEmailAddress", bounced(BounceType::Permanent)),
            ("Transient", bounced(BounceType::Transient)),
            ("SoftBounce", bounced(BounceType::Transient)),
            ("DnsError", bounced(BounceType::Transient)),
            ("SpamNotification", bounced(BounceType::Undetermined)),
            ("Blocked", bounced(BounceType::Undetermined)),
            ("DMARCPolicy", bounced(BounceType::Undetermined)),
            ("VirusNotification", bounced(BounceType::Undetermined)),
            ("Unknown", bounced(BounceType::Undetermined)),
            ("Unconfirmed", bounced(BounceType::Undetermined)),
            ("MadeTomorrow", bounced(BounceType::Undetermined)),
            ("SpamComplaint", Some((Kind::Complained, None))),
            ("Unsubscribe", Some((Kind::Unsubscribed, None))),
            ("ManuallyDeactivated", Some((Kind::Suppressed, None))),
            ("SMTPApiError", Some((Kind::Failed, None))),
            ("TemplateRenderingFailed", Some((Kind::Failed, None))),
            ("AutoResponder", None),
            ("AddressChange", None),
            ("ChallengeVerification", None),
            ("Subscribe", None),
            ("OpenRelayTest", None),
            ("InboundError", None),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
