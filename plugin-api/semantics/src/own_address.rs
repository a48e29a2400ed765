//! Contact properties that hold the contact's email address.
//!
//! Templates and conditions read them, so an untrusted source may only set them to the address that
//! the contact already has.

use super::address::comparable;
use hogsend_plugin_api::{Properties, Trust};

/// Whether a property or a column of this name holds a person's email address: `email`,
/// `email_address`, `User Email`.
pub fn is_address(name: &str) -> bool {
    let letters = name
        .trim()
        .chars()
        .filter(|c| !matches!(c, '_' | ' ' | '-'));
    let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    matches!(plain.as_str(), "email" | "emailaddress" | "useremail")
}

/// Removes address properties of an untrusted source, unless they hold the contact's own address in
/// any spelling.
pub fn keep_own(properties: &mut Properties, trust: Trust, own: Option<&str>) {
    if trust.is_trusted() {
        return;
    }
    let own = own.map(comparable);
    properties.retain(|name, value| {
        !is_address(name) || own.is_some() && value.as_str().map(comparable) == own
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{is_address, keep_own};
    use hogsend_plugin_api::Properties;
    use hogsend_plugin_api::Trust::{self, Trusted, Untrusted};

    fn kept(properties: Value, trust: Trust, own: Option<&str>) -> Value {
        let mut properties: Properties = serde_json::from_value(properties).unwrap();
        keep_own(&mut properties, trust, own);
        properties.into()
    }

    #[test]
    fn a_stranger_names_no_address_but_the_contacts_own() {
        let said = json!({
            "email": "eve@evil.test", "E-Mail": "eve@evil.test", "user_email": "eve@evil.test",
            "Email Address": ["eve@evil.test"], "plan": "pro", "emails": 3,
        });
        let rest = json!({ "plan": "pro", "emails": 3 });
        for own in [None, Some("ann@example.com")] {
            assert_eq!(kept(said.clone(), Untrusted, own), rest);
            assert_eq!(kept(said.clone(), Trusted, own), said);
        }
        let own = json!({ "email": " Ann@EXAMPLE.com" });
        assert_eq!(kept(own.clone(), Untrusted, Some("ann@example.com")), own);
        // Nor is it removed.
        let none = json!({ "email": null });
        assert_eq!(kept(none, Untrusted, Some("ann@example.com")), json!({}));
    }

    #[test]
    fn names_of_addresses_are_known_however_they_are_written() {
        for name in [
            "email",
            "E-Mail",
            "EMAIL_ADDRESS",
            "user email",
            " userEmail ",
        ] {
            assert!(is_address(name), "{name}");
        }
        for name in ["", "mail", "emails", "email.opened", "billing_email"] {
            assert!(!is_address(name), "{name}");
        }
    }
}
