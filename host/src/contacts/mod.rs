//! Contacts: the people that events are about.

mod change;
mod check;
pub mod consent;
mod erase;
pub mod export;
pub mod file;
mod fill;
mod follow_up;
pub mod import;
pub mod pending;
mod preferences;
mod resolve;
mod suppress;
pub mod suppression_file;
pub mod suppression_list;
mod touch;

pub use change::{
    ContactChange, TAKEN, change_contact, contact_at, erase_contact, names_of, note_created,
};
pub use check::{PATHS, Paths, check, check_names, check_text};
pub use erase::{erase, erase_in};
pub use fill::fill_addresses;
pub use follow_up::FollowUp;
pub use preferences::{MailPreferences, mail_preferences};
pub use resolve::{NoRoom, Resolved, Rival, Whom, claim, lock_people, resolve, unite};
pub use suppress::{Suppressions, lift, suppress, suppressions};
pub use touch::{PERSON_ID_MAX, Person, Touch, Visit, is_kind};

use sha2::{Digest, Sha256};

use hogsend_semantics::identity::Id;

use crate::db::{self, Conn, Contact, Wanted};
use resolve::{found, holding};

/// Serialises requests that name the same people, until the transaction ends.
pub async fn lock_names<'a>(
    conn: &mut Conn,
    people: impl Iterator<Item = &'a Person>,
) -> db::Result<()> {
    let mut names = Vec::new();
    for person in people {
        let Person::Names(given) = person else {
            continue;
        };
        let given = given.names();
        names.extend(given.ids.iter().map(|id| lock_name(&id.kind, &id.value)));
        names.extend(given.address.map(|address| lock_name("email", &address)));
    }
    if names.is_empty() {
        return Ok(());
    }
    db::identity_lock(conn, &names).await
}

/// Must be the same in every process and version, which the standard library's hashers do not promise.
fn lock_name(kind: &str, name: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(name)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// The contacts a call names, locked until the transaction ends: the one with this product id, or if
/// there is none, those with the address.
pub async fn named(
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> db::Result<Vec<Contact>> {
    if let Some(id) = external_id {
        let wanted = Wanted {
            ids: vec![Id::user(id)],
            ..Wanted::default()
        };
        let found = found(conn, &wanted).await?.into_iter();
        let found: Vec<Contact> = found.map(|one| one.contact).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    match email {
        Some(email) => holding(conn, email).await,
        None => Ok(Vec::new()),
    }
}
