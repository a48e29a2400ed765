//! Stripe's events under the names of the stock journeys. The bodies have the shape of Stripe's reference
//! (<https://docs.stripe.com/api/events/object>).

use serde_json::{Value, json};

use super::{event, skipped};

fn stripe(kind: &str, object: Value) -> Value {
    json!({
        "id": "evt_1MqqbKLt4dXK03v5qaIbiNCC", "object": "event", "api_version": "2025-03-31.basil",
        "created": 1_680_064_028, "type": kind, "livemode": true, "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "data": { "object": object }
    })
}

fn invoice() -> Value {
    json!({
        "id": "in_1MtHbELkdIwHu7ixl4OzzPMv", "object": "invoice", "customer": "cus_NeZwdNtLEOXuvB",
        "customer_email": "jennyrosen@example.com", "amount_due": 2_000, "amount_paid": 0, "currency": "usd",
        "attempt_count": 1, "next_payment_attempt": 1_680_323_228, "billing_reason": "subscription_cycle",
        "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_1", "metadata": {},
        "parent": { "type": "subscription_details", "subscription_details": {
            "metadata": { "user_id": "u1" }, "subscription": "sub_1MowQVLkdIwHu7ixeRlqHVzs" } },
        "lines": { "object": "list", "data": [{ "plan": { "nickname": "Pro" } }] }
    })
}

fn subscription(status: &str) -> Value {
    json!({
        "id": "sub_1MowQVLkdIwHu7ixeRlqHVzs", "object": "subscription", "customer": "cus_NeZwdNtLEOXuvB",
        "status": status, "trial_end": 1_680_841_628, "cancel_at": null, "ended_at": null,
        "metadata": { "user_id": "u1" },
        "items": { "data": [{ "price": { "nickname": "Pro" } }] }
    })
}

fn session() -> Value {
    json!({
        "id": "cs_test_a1", "object": "checkout.session", "mode": "subscription", "payment_link": null,
        "payment_status": "paid", "client_reference_id": "u1", "customer": "cus_NeZwdNtLEOXuvB",
        "customer_details": { "email": "jennyrosen@example.com" }, "customer_email": null,
        "amount_total": 2_000, "currency": "usd", "consent": null, "metadata": {},
        "after_expiration": { "recovery": { "url": "https://buy.stripe.com/r/live_1" } }
    })
}

#[test]
fn a_failed_payment_has_all_that_the_reminders_use() {
    let event = event("stripe", &[], &stripe("invoice.payment_failed", invoice()));
    assert_eq!(event.name, "payment.failed");
    assert_eq!(
        event.dedupe_key.as_deref(),
        Some("evt_1MqqbKLt4dXK03v5qaIbiNCC")
    );
    assert_eq!(event.user_id.as_deref(), Some("u1"));
    assert_eq!(event.email.as_deref(), Some("jennyrosen@example.com"));
    let customer = (
        "stripe_customer".to_owned(),
        "cus_NeZwdNtLEOXuvB".to_owned(),
    );
    assert_eq!(event.identities, [customer]);
    assert_eq!(event.occurred_at.unwrap().timestamp(), 1_680_064_028);
    assert_eq!(
        json!(event.properties),
        json!({
            "stripe_id": "in_1MtHbELkdIwHu7ixl4OzzPMv", "livemode": true, "amount": "20.00 USD",
            "plan": "Pro", "url": "https://invoice.stripe.com/i/acct_1/test_1", "attempt": 1,
            "next_attempt_at": "2023-04-01T04:27:08Z", "subscription": "sub_1MowQVLkdIwHu7ixeRlqHVzs"
        })
    );
}

#[test]
fn older_api_versions_and_expanded_customers_are_read_too() {
    let mut old = invoice();
    old["parent"] = json!(null);
    old["subscription"] = json!({ "id": "sub_old" });
    old["subscription_details"] = json!({ "metadata": { "userId": "u7" } });
    old["customer"] = json!({ "id": "cus_expanded", "object": "customer" });
    old["next_payment_attempt"] = json!(null);
    let event = event("stripe", &[], &stripe("invoice.payment_failed", old));
    assert_eq!(event.user_id.as_deref(), Some("u7"));
    assert_eq!(event.properties["subscription"], "sub_old");
    assert_eq!(event.identities[0].1, "cus_expanded");
    assert!(!event.properties.contains_key("next_attempt_at"));
}

#[test]
fn each_type_has_the_name_that_its_journey_listens_to() {
    let with = |mut object: Value, changes: Value| {
        for (name, value) in changes.as_object().unwrap() {
            object[name] = value.clone();
        }
        object
    };
    let none = || json!({});
    let cancelled = |at: i64| json!({ "status": "canceled", "ended_at": at });
    for (kind, object, previous, name) in [
        ("invoice.paid", invoice(), none(), "payment.succeeded"),
        (
            "invoice.payment_succeeded",
            invoice(),
            none(),
            "payment.succeeded",
        ),
        (
            "customer.subscription.created",
            subscription("trialing"),
            none(),
            "trial.started",
        ),
        (
            "customer.subscription.created",
            subscription("active"),
            none(),
            "subscription.created",
        ),
        (
            "customer.subscription.trial_will_end",
            subscription("trialing"),
            none(),
            "trial.started",
        ),
        (
            "customer.subscription.updated",
            subscription("active"),
            json!({ "status": "trialing" }),
            "subscription.created",
        ),
        (
            "customer.subscription.updated",
            subscription("active"),
            json!({ "status": "past_due" }),
            "subscription.updated",
        ),
        (
            "customer.subscription.updated",
            with(
                subscription("trialing"),
                json!({ "cancel_at": 1_680_841_628 }),
            ),
            json!({ "cancel_at": null }),
            "trial.cancelled",
        ),
        (
            "customer.subscription.deleted",
            with(subscription(""), cancelled(1_680_841_628)),
            none(),
            "trial.cancelled",
        ),
        (
            "customer.subscription.deleted",
            with(subscription(""), cancelled(1_690_000_000)),
            none(),
            "subscription.cancelled",
        ),
        (
            "customer.subscription.deleted",
            with(
                subscription("canceled"),
                json!({ "trial_end": null, "ended_at": 1 }),
            ),
            none(),
            "subscription.cancelled",
        ),
        (
            "checkout.session.completed",
            session(),
            none(),
            "order.completed",
        ),
        (
            "checkout.session.async_payment_succeeded",
            session(),
            none(),
            "order.completed",
        ),
        (
            "checkout.session.expired",
            session(),
            none(),
            "checkout.started",
        ),
        (
            "customer.created",
            json!({ "id": "cus_1" }),
            none(),
            "customer.created",
        ),
        (
            "charge.refunded",
            json!({ "id": "ch_1" }),
            none(),
            "charge.refunded",
        ),
    ] {
        let mut body = stripe(kind, object);
        body["data"]["previous_attributes"] = previous;
        assert_eq!(event("stripe", &[], &body).name, name, "{kind}");
    }
}

#[test]
fn what_calls_for_no_mail_is_skipped_with_the_reason() {
    let mut first = invoice();
    first["billing_reason"] = json!("subscription_create");
    let mut unpaid = session();
    unpaid["payment_status"] = json!("unpaid");
    let mut declined = session();
    declined["consent"] = json!({ "promotions": "opt_out" });
    let mut setup = session();
    setup["mode"] = json!("setup");
    let mut ending = subscription("trialing");
    ending["cancel_at"] = json!(1);
    for (kind, object, words) in [
        ("invoice.payment_failed", first, "first payment"),
        ("checkout.session.completed", unpaid, "not settled"),
        ("checkout.session.expired", declined, "no promotional mail"),
        ("checkout.session.completed", setup, "sells nothing"),
        (
            "customer.subscription.trial_will_end",
            ending,
            "cancelled already",
        ),
        (
            "customer.subscription.created",
            subscription("incomplete"),
            "first payment",
        ),
    ] {
        let reason = skipped("stripe", &stripe(kind, object));
        assert!(reason.contains(words), "{kind}: {reason}");
    }
    let thin = json!({ "id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found" });
    assert!(skipped("stripe", &thin).contains("thin event"));
}

#[test]
fn one_payment_and_one_order_count_once() {
    let key = |kind, object| {
        event("stripe", &[], &stripe(kind, object))
            .dedupe_key
            .unwrap()
    };
    let paid = key("invoice.paid", invoice());
    assert_eq!(paid, key("invoice.payment_succeeded", invoice()));
    assert_ne!(paid, key("invoice.payment_failed", invoice()));
    let order = key("checkout.session.completed", session());
    assert_eq!(
        order,
        key("checkout.session.async_payment_succeeded", session())
    );
}

#[test]
fn a_reference_that_anyone_can_put_into_a_link_is_no_user_id() {
    let completed = |session| {
        event(
            "stripe",
            &[],
            &stripe("checkout.session.completed", session),
        )
    };
    assert_eq!(completed(session()).user_id.as_deref(), Some("u1"));
    let mut linked = session();
    linked["payment_link"] = json!("plink_1");
    assert_eq!(completed(linked.clone()).user_id, None);
    linked["metadata"] = json!({ "user_id": "u2" });
    assert_eq!(completed(linked).user_id.as_deref(), Some("u2"));
    let order = completed(session());
    assert_eq!(order.properties["checkout_id"], "cs_test_a1");
    let expired = event(
        "stripe",
        &[],
        &stripe("checkout.session.expired", session()),
    );
    assert_eq!(expired.properties["url"], "https://buy.stripe.com/r/live_1");
    assert!(!expired.properties.contains_key("checkout_id"));
}
