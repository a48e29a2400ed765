//! Whom a mail goes to, and whether it may.

use hogsend_mime as mime;

use crate::db::Contact;

/// Why a transactional mail is skipped whose address no trusted source has named.
pub const UNCONFIRMED: &str = "unconfirmed_address";

/// No mail goes to this address. It is kept for the history of the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeliverable {
    pub address: String,
    pub reason: &'static str,
}

/// The bare address of a mail to a contact, or to `to` where the send names another one.
pub fn whom(
    contact: &Contact,
    to: Option<&str>,
    transactional: bool,
) -> Result<String, Undeliverable> {
    let address = to.or(contact.email.as_deref()).unwrap_or_default();
    // Such a mail opens accounts and shows bills, and a stranger may have chosen where it goes.
    if transactional && to.is_none() && contact.email_unconfirmed && !address.is_empty() {
        return Err(undeliverable(address, UNCONFIRMED));
    }
    deliverable(address)
}

/// The bare address, where it is one.
pub fn deliverable(address: &str) -> Result<String, Undeliverable> {
    if address.is_empty() {
        return Err(undeliverable(address, "no_address"));
    }
    mime::bare_address("recipient", address).map_err(|_| undeliverable(address, "invalid_address"))
}

fn undeliverable(address: &str, reason: &'static str) -> Undeliverable {
    Undeliverable {
        address: address.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ids::ContactId;

    fn contact(email: Option<&str>, email_unconfirmed: bool) -> Contact {
        let seen = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Contact {
            id: ContactId::new(seen),
            external_id: None,
            email: email.map(str::to_owned),
            anonymous_id: None,
            properties: Default::default(),
            first_seen_at: seen,
            last_seen_at: seen,
            listening: false,
            email_unconfirmed,
        }
    }

    #[test]
    fn a_mail_goes_to_the_contacts_own_address_unless_the_send_names_another() {
        let ann = contact(Some("ann@example.com"), false);
        assert_eq!(whom(&ann, None, true).unwrap(), "ann@example.com");
        let other = whom(&ann, Some("Bob <bob@example.com>"), true);
        assert_eq!(other.unwrap(), "bob@example.com");
    }

    #[test]
    fn an_address_that_is_missing_or_wrong_is_a_reason_to_skip() {
        let reason = |email, to| whom(&contact(email, false), to, false).unwrap_err().reason;
        assert_eq!(reason(None, None), "no_address");
        assert_eq!(reason(Some("ann@example.com"), Some("")), "no_address");
        assert_eq!(reason(Some("ann"), None), "invalid_address");
        let wrong = whom(&contact(Some("ann"), false), None, false).unwrap_err();
        assert_eq!(wrong.address, "ann");
    }

    #[test]
    fn only_transactional_mail_to_an_unconfirmed_address_is_held_back() {
        let ann = contact(Some("ann@example.com"), true);
        assert_eq!(whom(&ann, None, true).unwrap_err().reason, UNCONFIRMED);
        assert!(whom(&ann, None, false).is_ok());
        assert!(whom(&ann, Some("bob@example.com"), true).is_ok());
        let nobody = contact(None, true);
        assert_eq!(whom(&nobody, None, true).unwrap_err().reason, "no_address");
    }
}
