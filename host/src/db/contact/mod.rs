//! Contacts: identities, consent, suppressions, and imports.

mod consent;
mod erase;
mod identity;
mod import;
mod list;
mod merge;
mod pending;
mod preference;
mod row;
mod shown;
mod suppression;
mod wanted;

pub use consent::{
    ConsentChange, ConsentDelta, Consents, consent_changes_forget, consent_changes_insert,
    consent_rows, consents, mailbox_forget, mailboxes_change, preferences_change,
    preferences_not_copied,
};
pub use erase::contacts_erase;
pub use identity::{
    AnonymousEvent, NewId, anonymous_insert, anonymous_take, identities_insert, identities_of,
};
pub use import::{
    ClaimedImport, ImportProgress, ImportRow, NewImport, RowError, contacts_first_seen,
    import_claim, import_fail, import_get, import_hold, import_insert, import_next_due,
    import_progress, import_release,
};
pub use list::{
    TimelineItem, contact_anonymous_ids, contact_change, contact_count, contact_row,
    contact_timeline, contacts_list,
};
pub use merge::{EndedByMerge, Merge, contact_merge};
pub use pending::{
    NewPending, PENDING_COUNTED, PendingChange, PendingRow, pending_count, pending_delete,
    pending_get, pending_list, pending_put, pending_settle,
};
pub use preference::{
    Preferences, preferences_bounces, preferences_by_contact, preferences_count_bounce,
};
pub use row::{
    Contact, NewIdentity, contact_confirm, contact_get, contact_lock, contact_set_properties,
    contact_unfit, contact_unfit_of, contact_upsert, contacts_address, contacts_not_addressed,
};
pub use shown::{ContactRow, contact_by_user, contacts_find};
pub use suppression::{
    NewSuppression, Suppression, suppression_delete, suppression_forget, suppression_insert,
    suppression_rekey, suppressions_address, suppressions_insert, suppressions_list,
    suppressions_of, suppressions_unaddressed,
};
pub use wanted::{
    Found, Holder, Wanted, contacts_holding, contacts_holding_lock, contacts_wanted, identity_lock,
};
