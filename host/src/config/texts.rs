//! The texts of recipients' pages and mail footers, from the file that `PAGE_TEXTS` names.

use std::collections::BTreeMap;

use hogsend_render::Footer;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::reader::Reader;

const NAME: &str = "PAGE_TEXTS";

macro_rules! texts {
    ($($name:ident: $text:literal,)*) => {
        /// The texts of pages and footers, with placeholders such as `{address}`.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "camelCase")]
        pub struct Texts {
            $(pub $name: String,)*
            /// Names of lists, by their ids.
            pub lists: BTreeMap<String, ListTexts>,
        }

        impl Default for Texts {
            fn default() -> Self {
                Self { $($name: $text.to_owned(),)* lists: BTreeMap::new() }
            }
        }
    };
}

/// The texts of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListTexts {
    pub name: String,
    #[serde(default)]
    pub description: String,
}

texts! {
    lang: "en",
    leave_question: "Unsubscribe?",
    leave_notice: "{address} will no longer receive {mail}.",
    leave: "Unsubscribe",
    join_question: "Subscribe again?",
    join_notice: "{address} will receive {mail}.",
    join: "Subscribe",
    left: "You are unsubscribed",
    left_notice: "{address} does not receive {mail}.",
    left_everything_still: "You are still unsubscribed from everything",
    joined: "You are subscribed",
    joined_notice: "{address} receives {mail}.",
    undo: "Undo",
    list_mail: "e-mails of “{list}”",
    all_mail: "our e-mails",
    address_unknown: "This address",
    choose: "Choose what you get",
    preferences: "E-mail preferences",
    preferences_question: "What shall we send to {address}?",
    kinds: "Kinds of e-mails",
    saved: "Saved.",
    save: "Save",
    left_everything: "You are unsubscribed from everything.",
    leave_everything: "Unsubscribe from everything",
    join_everything: "Receive e-mails again",
    account_notice: "E-mails about your own account, such as a new password, come in any case.",
    nothing_to_choose: "Nothing to choose",
    nothing_known: "We no longer know anything about you.",
    link_broken: "This link does not work",
    link_invalid: "The link is not complete or was not made here.",
    link_expired: "The link has expired.",
    link_advice: "Nothing was changed. Each of our e-mails ends with a link of its own: use the one of the latest, or write to us.",
    link_gone: "It is not complete, or what it belonged to was deleted.",
    link_waits: "This link does not work right now",
    link_later: "Please try again in a minute.",
    sender: "E-mails from {sender}.",
    write: "Write to us",
    mail_reason: "You get this mail because you signed up for {brand}.",
    mail_reason_unnamed: "You get this mail because you signed up.",
    mail_asked: "You get this mail because somebody asked for it for your account.",
}

impl Texts {
    /// The footer of a mail.
    pub fn footer(&self, brand: &str, transactional: bool) -> Footer {
        let reason = match (transactional, brand) {
            (true, _) => self.mail_asked.clone(),
            (false, "") => self.mail_reason_unnamed.clone(),
            (false, brand) => self.mail_reason.replace("{brand}", brand),
        };
        Footer {
            lang: self.lang.clone(),
            reason,
            unsubscribe: self.leave.clone(),
            choose: self.choose.clone(),
        }
    }

    fn parse(file: &[u8]) -> serde_json::Result<Self> {
        // serde would also read an array, by position.
        let fields: Map<String, Value> = serde_json::from_slice(file)?;
        serde_json::from_value(fields.into())
    }

    /// The texts of the file that `PAGE_TEXTS` names; texts it omits are in English.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let Some(path) = reader.unquoted(NAME) else {
            return Self::default();
        };
        let read = match std::fs::read(&path) {
            Ok(file) => Self::parse(&file).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        read.unwrap_or_else(|why| {
            let message =
                format!("'{path}' is not a valid file of texts (docs/reference/mail.md): {why}");
            reader.problem(NAME, message);
            Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn footers_speak_the_language_of_the_file() {
        let file = br#"{"lang":"de","leave":"Abmelden","choose":"Auswahl","mailReason":"Weil du {brand} nutzt."}"#;
        let texts = Texts::parse(file).unwrap();
        let footer = texts.footer("Acme", false);
        assert_eq!(
            [
                &*footer.lang,
                &*footer.reason,
                &*footer.unsubscribe,
                &*footer.choose
            ],
            ["de", "Weil du Acme nutzt.", "Abmelden", "Auswahl"]
        );
        assert_eq!(
            texts.footer("", false).reason,
            Texts::default().mail_reason_unnamed
        );
        assert_eq!(
            texts.footer("Acme", true).reason,
            Texts::default().mail_asked
        );
    }

    #[test]
    fn a_file_replaces_what_it_names_and_nothing_it_misspells() {
        let file = br#"{"lang":"de","left":"Abgemeldet","lists":{"journey":{"name":"Tipps"}}}"#;
        let texts = Texts::parse(file).unwrap();
        assert_eq!(
            (&*texts.lang, &*texts.left, &*texts.undo),
            ("de", "Abgemeldet", "Undo")
        );
        assert_eq!(texts.lists["journey"].name, "Tipps");
        for wrong in [r#"{"lefd":"x"}"#, r#"{"left":1}"#, "[]"] {
            assert!(Texts::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
