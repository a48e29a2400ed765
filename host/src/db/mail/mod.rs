//! Mails: the send ledger, attempts, providers, and delivery events.

mod attempt;
mod batch;
mod cancel;
mod claim;
mod frequency;
mod link;
mod list;
mod progress;
mod provider;
mod row;
mod visit;

pub use crate::states::SendStatus;
pub use attempt::{
    Beginning, EndedSend, SendEnd, attempts_begin, attempts_repeat, sends_end, sends_owners_lock,
    sends_renew,
};
pub use batch::{
    ClaimedBatch, batch_attempt, batch_claim, batch_end, batch_give_back, batch_insert,
    batch_members, batch_renew,
};
pub use cancel::{Waiting, sends_cancel, sends_waiting, sends_waiting_count};
pub use claim::{
    ClaimedSend, send_claim, send_next_due, sends_after_clock_change, sends_due, sends_give_back,
    sends_hold, sends_keep, sends_postpone, sends_release, sends_summon,
};
pub use frequency::{SendOrigin, journey_last_sends, send_origins, sends_begun_since};
pub use link::{NewVisit, TrackedLink, click_insert, open_insert};
pub use list::{
    ClickStory, LinkStory, SendFilter, SendHappening, SendStory, send_clicks, send_count,
    send_history, send_links, send_mail, send_stories, send_story,
};
pub use progress::{
    KnownSend, NewMailEvent, Progress as SendProgress, mail_event_insert, send_addresses,
    send_categories, send_find, send_find_locked, send_lock, send_progress, send_target,
};
pub use provider::{
    Hold, HoldKind, PROBE_EVERY, provider_cured, provider_fault, provider_hold, provider_holds,
    provider_probe, provider_rate, provider_release, provider_slot, provider_sound, provider_untry,
};
pub use row::{
    NewSend, SendRow, send_by_key, send_insert, send_raw, sends_insert, sends_of_run, sends_recent,
};
pub use visit::{
    Click, DueVisit, Visit, clicks_between, visit_claim, visit_next_due, visit_postpone,
    visit_settle, visits_due,
};
