//! Signatures of event webhooks, against one that was made elsewhere.

use hogsend_plugin_api::Webhook;
use hogsend_plugin_kit as kit;

use crate::signature::Signature;

const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERpTrK55JIoj4orfSrMduxkLCN5vZoTxvHGhVz3I7jKZU/nqn0BPXnPALgknLsiUcK+tESM9RsocSSkGlwgyxXg==";
const SIGNED: &str = "MEYCIQDf8qB5WN6ITcW72ZUsa19mI6rORsuhSkXyQdKqN96M2wIhAI3G317o6cAw+Yf+jXwcFLzob709HC948himl0ouQi24";
const BODY: &str =
    "[{\"email\":\"a@example.com\",\"event\":\"delivered\",\"sg_event_id\":\"e1\"}]\r\n";

fn webhook(signature: &str, timestamp: &str, body: &str) -> Webhook {
    let headers = [
        ("x-twilio-email-event-webhook-signature", signature),
        ("x-twilio-email-event-webhook-timestamp", timestamp),
    ];
    let own = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Webhook::new(own.into(), body, kit::beginning())
}

#[test]
fn the_signature_covers_the_timestamp_and_the_raw_body() {
    let signature = Signature::new(KEY).ok().unwrap();
    let fits = |webhook: &Webhook| signature.verify(webhook).is_ok();
    assert!(fits(&webhook(SIGNED, "1700000000", BODY)));
    assert!(fits(&webhook(&format!(" {SIGNED} "), "1700000000", BODY)));
    for (signed, timestamp, body) in [
        // Without the line break at the end.
        (SIGNED, "1700000000", BODY.trim_end()),
        (SIGNED, "1700000000", "[]"),
        (SIGNED, "1700000001", BODY),
        (SIGNED, "", BODY),
        ("", "1700000000", BODY),
        ("no base64!", "1700000000", BODY),
        (&SIGNED[..92], "1700000000", BODY),
        (KEY, "1700000000", BODY),
    ] {
        let hook = webhook(signed, timestamp, body);
        let reason = signature.verify(&hook).unwrap_err();
        assert!(
            reason.contains("signature"),
            "{signed} {timestamp}: {reason}"
        );
    }
    let bare = Webhook::new(Vec::new(), BODY, kit::beginning());
    let reason = signature.verify(&bare).unwrap_err();
    assert!(reason.contains("Signed Event Webhook"), "{reason}");
}

#[test]
fn a_key_is_read_with_and_without_the_lines_of_pem() {
    let lines = format!("{}\n{}", &KEY[..64], &KEY[64..]);
    for text in [
        KEY.to_owned(),
        format!(" {KEY}\n"),
        lines.clone(),
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"),
    ] {
        let signature = Signature::new(&text).ok().unwrap();
        let hook = webhook(SIGNED, "1700000000", BODY);
        assert!(signature.verify(&hook).is_ok(), "{text}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let other_curve = KEY.replacen("DAQcDQgAE", "DAQYDQgAE", 1);
    for text in ["", "hush", "aHVzaA==", &KEY[..100], SIGNED, &other_curve] {
        let error = Signature::new(text).err();
        let error = error.unwrap_or_else(|| panic!("{text}"));
        assert!(error.starts_with("is not a verification key"), "{error}");
    }
}

#[test]
fn the_key_before_counts_while_it_is_being_replaced() {
    let other = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/iWBblsQ2sd+cALrJmzKDD4NkmW0hEVFdB/TdJShTXlXO6X5n+vToZbgjRUkQo99K434hUtRbuAIJw7I/oOuXQ==";
    let signatures = |keys: &[&str]| -> Vec<Signature> {
        keys.iter()
            .map(|key| Signature::new(key).ok().unwrap())
            .collect()
    };
    let hook = webhook(SIGNED, "1700000000", BODY);
    for (keys, fits) in [
        (&[other, KEY][..], true),
        (&[KEY, other], true),
        (&[other], false),
        (&[other, other], false),
    ] {
        let read = crate::webhook::read(&signatures(keys), &hook);
        let refused = matches!(read, Err(hogsend_plugin_api::Refusal::Unauthorized { .. }));
        assert_eq!(!refused, fits, "{keys:?}: {read:?}");
    }
}
