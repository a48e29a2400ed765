//! Administrators, API keys, and the audit log.

mod api_key;
mod audit;
mod password_reset;
mod user;
mod user_list;

pub use api_key::{
    ApiKey, api_key_any, api_key_by_hash, api_key_delete, api_key_insert, api_key_used,
    api_keys_list,
};
pub use audit::{AuditFilter, AuditRow, NewAudit, audit_insert, audits_forget, audits_list};
pub use password_reset::{reset_find, reset_insert, reset_take};
pub use user::{
    SessionRow, User, session_by_token, session_delete, session_delete_one, session_extend,
    session_insert, sessions_delete_expired, sessions_delete_of, sessions_delete_others,
    sessions_of, user_any, user_by_email, user_by_id, user_insert, user_rename, user_set_password,
    users_lock,
};
pub use user_list::{user_delete, users_list};
