//! What is sent to other systems: webhooks, captures, alerts.

mod alert;
mod capture;
mod delivery;
mod webhook;

pub use alert::{
    AlertEnd, AlertFigure, AlertRow, AlertRule, ClaimedAlert, NewAlert, alert_claim, alert_end,
    alert_entered, alert_figure, alert_insert, alert_next_due, alert_rule_checked,
    alert_rule_delete, alert_rule_due, alert_rule_lock, alert_rule_put, alert_rules_list,
    alert_rules_of, alerts_give_back, alerts_list,
};
pub use capture::{
    CaptureHold, ClaimedCapture, NewCapture, capture_again, capture_claim, capture_delete,
    capture_dismiss, capture_give_up, capture_hold, capture_holds, capture_insert,
    capture_next_due, capture_probe, capture_release, capture_retry, captures_address,
    captures_known, captures_orphaned,
};
pub use delivery::{
    ClaimedDelivery, DeliveryEnd, DeliveryRow, NewDelivery, deliveries_give_back,
    deliveries_insert, deliveries_list, delivery_claim, delivery_end, delivery_next_due,
};
pub use webhook::{
    Endpoint, Subscriber, delivery_dismiss, delivery_retry, webhook_delete, webhook_get,
    webhook_insert, webhook_lock, webhook_posted, webhook_rotate, webhook_subscribers,
    webhook_switch_off, webhook_update, webhooks_list,
};
