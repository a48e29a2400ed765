//! Failed payments.

use hogsend_plugin_api::journey::{days, hours};
use serde_json::{Value, json};

use crate::walk::Walk;

fn reminders(about: Value) -> Vec<Value> {
    let mut walk = Walk::begin("churn-prevention", about);
    let mut mails = vec![walk.mail("churn-payment-failed")];
    assert_eq!(walk.sleeps("first-day"), days(1));
    walk.daytime(hours(4));
    mails.push(walk.mail("churn-payment-failed"));
    assert_eq!(walk.sleeps("third-day"), days(2));
    walk.daytime(hours(0));
    mails.push(walk.mail("churn-payment-failed"));
    assert_eq!(walk.sleeps("last-chance"), days(1));
    walk.triggers("payment.unresolved");
    walk.completes(&["unpaid"]);
    mails
        .into_iter()
        .map(|mail| mail["props"].clone())
        .collect()
}

#[test]
fn three_reminders_go_out_over_three_days() {
    let url = "https://acme.test/billing";
    let mails = reminders(json!({ "amount": "EUR 12", "plan": "pro", "url": url, "card": "4711" }));
    for (number, props) in (1..).zip(&mails) {
        assert_eq!(
            props,
            &json!({ "reminder": number, "amount": "EUR 12", "plan": "pro", "url": url })
        );
    }
    assert_eq!(mails.len(), 3);
}

#[test]
fn nothing_need_be_known_of_the_payment() {
    for about in [
        json!({}),
        json!({ "amount": null, "plan": {}, "url": "billing" }),
    ] {
        for (number, props) in (1..).zip(reminders(about)) {
            assert_eq!(props, json!({ "reminder": number }));
        }
    }
}

#[test]
fn an_amount_may_be_a_number() {
    assert_eq!(reminders(json!({ "amount": 12.5 }))[0]["amount"], 12.5);
}
