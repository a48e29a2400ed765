use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn now() -> DateTime<Utc> {
    at(1_800_000_000)
}

fn ours() -> LinkSigner {
    LinkSigner::new(&"one secret".into(), &[], "http://localhost")
}

fn token(action: Action, category: Option<&str>) -> Token {
    Token {
        whom: Whom::Ids(Ids {
            contact: Some(ContactId(ids::at(now()))),
            mailbox: Some([7; SHORT]),
            own: true,
        }),
        action,
        category: category.map(Category::new),
    }
}

/// A token as older versions made it.
fn earlier(secret: &str, action: &str, exp: i64) -> String {
    let body = json!({ "externalId": "u1", "email": "a@b.co", "action": action, "exp": exp,
        "category": "journey" });
    let body = URL_SAFE_NO_PAD.encode(body.to_string());
    let key = Key::new_from_slice(secret.as_bytes()).unwrap();
    let mac = key.chain_update(&body).finalize().into_bytes();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(mac))
}

#[test]
fn only_our_own_untouched_tokens_are_read() {
    let ours = ours();
    let token = token(Action::Unsubscribe, Some("journey"));
    let text = ours.sign(&token, now());
    assert_eq!(ours.verify(&text, now()), Ok(token));
    let theirs = LinkSigner::new(&"another".into(), &[], "http://localhost");
    assert_eq!(theirs.verify(&text, now()), Err(TokenError::Invalid));
    for position in 0..text.len() {
        let mut tampered = text.clone().into_bytes();
        tampered[position] = if tampered[position] == b'A' {
            b'B'
        } else {
            b'A'
        };
        let tampered = String::from_utf8(tampered).unwrap();
        // The last character has unused bits; a decoder refuses them unless they are zero.
        assert_eq!(
            ours.verify(&tampered, now()),
            Err(TokenError::Invalid),
            "{position}"
        );
    }
    for text in ["", ".", "a", "a.b", "..", "é.é", "AQ.AQ", "ew.ew"] {
        assert_eq!(ours.verify(text, now()), Err(TokenError::Invalid), "{text}");
    }
}

#[test]
fn unsubscribe_links_never_expire_and_others_live_sixty_days() {
    let ours = ours();
    for (action, lives) in [
        (Action::Unsubscribe, true),
        (Action::Resubscribe, false),
        (Action::Manage, false),
    ] {
        let text = ours.sign(&token(action, None), now());
        assert!(ours.verify(&text, now() + TimeDelta::days(59)).is_ok());
        let late = ours.verify(&text, now() + TimeDelta::days(61));
        assert_eq!(late.is_ok(), lives, "{action:?}");
        assert!(lives || late == Err(TokenError::Expired));
    }
}

#[test]
fn links_of_older_versions_keep_their_expiry_and_unsubscribe_forever() {
    let ours = ours();
    let exp = now().timestamp() + 60;
    for (action, expected) in [
        ("unsubscribe", Action::Unsubscribe),
        ("resubscribe", Action::Resubscribe),
        ("manage", Action::Manage),
    ] {
        let text = earlier("one secret", action, exp);
        let read = ours.verify(&text, now()).unwrap();
        assert_eq!(read.action, expected);
        assert_eq!(
            read.whom,
            Whom::Names {
                external_id: Some("u1".into()),
                email: Some("a@b.co".into())
            }
        );
        assert!(read.category.unwrap().is("journey"));
        let late = ours.verify(&text, now() + TimeDelta::minutes(2));
        assert_eq!(late.is_ok(), expected == Action::Unsubscribe, "{action}");
    }
    assert!(
        ours.verify(&earlier("another", "manage", exp), now())
            .is_err()
    );
}

#[test]
fn previous_secrets_still_verify_and_sign_nothing() {
    let before = ours();
    let rotated = LinkSigner::new(
        &"new".into(),
        &["x".into(), "one secret".into()],
        "http://a.test",
    );
    let token = token(Action::Unsubscribe, Some("tips"));
    let old = before.sign(&token, now());
    assert_eq!(rotated.verify(&old, now()), Ok(token.clone()));
    let exp = now().timestamp() + 60;
    assert!(
        rotated
            .verify(&earlier("one secret", "manage", exp), now())
            .is_ok()
    );
    let new = rotated.sign(&token, now());
    assert_eq!(before.verify(&new, now()), Err(TokenError::Invalid));
}

#[test]
fn links_are_ascii_whatever_the_host_and_the_category_are() {
    let category = "ニュースレター".repeat(30);
    let Whom::Ids(ids) = token(Action::Manage, None).whom else {
        unreachable!()
    };
    for (url, base) in [
        (
            "https://bücher.example/",
            "https://xn--bcher-kva.example/v1/",
        ),
        (
            "https://例え.jp:8443/mail/",
            "https://xn--r8jz45g.jp:8443/mail/v1/",
        ),
        ("http://localhost:3002", "http://localhost:3002/v1/"),
    ] {
        let links = LinkSigner::new(&"s".into(), &[], url);
        for link in [links.url(ids, &category), links.preferences_url(ids, now())] {
            assert!(link.is_ascii() && link.starts_with(base), "{link}");
        }
        let link = links.url(ids, &category);
        let (_, text) = link.split_once("token=").unwrap();
        let read = links.verify(text, now()).unwrap();
        assert!(read.category.unwrap().is(&category));
    }
}

proptest! {
    #[test]
    fn a_token_is_bounded_and_decodes_to_what_was_signed(
        category in proptest::option::of("\\PC{0,100}"),
        contact in any::<Option<u128>>(), mailbox in any::<Option<[u8; SHORT]>>(),
        own in any::<bool>(), action in 0..3_usize,
    ) {
        let token = Token {
            whom: Whom::Ids(Ids {
                contact: contact.map(|id| ContactId(uuid::Uuid::from_u128(id))), mailbox, own,
            }),
            action: [Action::Unsubscribe, Action::Resubscribe, Action::Manage][action],
            category: category.as_deref().map(Category::new),
        };
        let text = ours().sign(&token, now());
        prop_assert!(text.len() <= TOKEN_MAX, "{}", text.len());
        prop_assert_eq!(ours().verify(&text, now()), Ok(token));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        prop_assert!(ours().verify(&text, now()).is_err());
        let _ = payload::read(&bytes);
        let _ = payload::read_earlier(&bytes);
    }
}
