//! Every mistake in a file is named, with its key and the fix, and all at once.

use crate::file::parse;

fn problems(text: &str) -> Vec<String> {
    parse("acme", text).err().unwrap_or_default()
}

const AUTHENTICATION: &str =
    "[authentication]\nscheme = 'header'\nheader = 'x-secret'\nsecret = 'ACME_SECRET'\n";

#[test]
fn each_mistake_names_its_key_and_the_fix() {
    for (text, key, fix) in [
        ("", "name", "is missing"),
        (
            "name = 'e'\nusr_id = '/u'",
            "usr_id",
            "did you mean 'user_id'?",
        ),
        ("name = 'e'\nfrobnicate = 1", "frobnicate", "known are"),
        (
            "name = 'e'\nuser_id = 'data.id'",
            "user_id",
            "write /data/id",
        ),
        ("name = 'e'\nuser_id = 7", "user_id", "{ value = … }"),
        ("name = 'e'\nuser_id = []", "user_id", "empty array"),
        (
            "name = 'e'\nuser_id = ['/a', 'b']",
            "user_id[2]",
            "write /b",
        ),
        ("name = 'e'\nkey = '{/a'", "key", "counterpart"),
        ("name = 'e'\nkey = '{body}'", "key", "authentication.signed"),
        ("name = 'e'\nitems = 'events'", "items", "write /events"),
        (
            "name = 'e'\nuntrusted = 'yes'",
            "untrusted",
            "true or false",
        ),
        (
            "name = 'e'\ntime = { unit = 'seconds' }",
            "time.from",
            "is missing",
        ),
        (
            "name = 'e'\ntime = { from = '/t', unit = 'second' }",
            "time.unit",
            "did you mean 'seconds'?",
        ),
        (
            "name = 'e'\nidentities = { 'a b' = '/a' }",
            "identities.a b",
            "no kind of an id",
        ),
        (
            "name = 'e'\nproperties = 3",
            "properties",
            "a table of names",
        ),
        (
            "name = 'e'\nproperties = { a = { from = '/a', as = 'time' } }",
            "properties.a.unit",
            "is missing",
        ),
        (
            "name = 'e'\nproperties = { a = { from = '/a', as = 'money' } }",
            "properties.a.currency",
            "is missing",
        ),
        (
            "name = 'e'\nproperties = { a = { from = '/a', value = 1 } }",
            "properties.a",
            "exactly one of",
        ),
        (
            "name = 'e'\nproperties = { a = { from = '/a', take = '/b' } }",
            "properties.a.take",
            "does not apply",
        ),
        ("name = { names = {} }", "name.from", "is missing"),
        (
            "name = { from = '/n', names = { a = 1 } }",
            "name.names.\"a\"",
            "name of an event",
        ),
        (
            "name = 'e'\nwhere = [{ equals = 1 }]",
            "where[1].at",
            "is missing",
        ),
        (
            "name = 'e'\nwhere = [{ at = '/a' }]",
            "where[1]",
            "exactly one of",
        ),
        (
            "name = 'e'\nwhere = [{ at = '/a', equals = [1] }]",
            "where[1].equals",
            "one_of",
        ),
        (
            "name = 'e'\nwhere = [{ at = '/a', equal = 1 }]",
            "where[1].equal",
            "did you mean 'equals'?",
        ),
        (
            "name = 'e'\nwhere = { at = '/a' }",
            "where",
            "an array of tables",
        ),
        ("[[events]]\nuser_id = '/u'", "events[1].name", "is missing"),
        (
            "[[events]]\nskip = 'no'\nname = 'e'",
            "events[1].name",
            "does not apply",
        ),
        (
            "[[events]]\nname = 'e'\n[events.where]\nat = '/a'",
            "events[1].where",
            "array of tables",
        ),
    ] {
        let found = problems(&format!("{text}\n{AUTHENTICATION}"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(
            found[0].starts_with(&format!("{key}: ")),
            "{text}: {}",
            found[0]
        );
        assert!(found[0].contains(fix), "{text}: {}", found[0]);
    }
}

#[test]
fn each_mistake_in_the_authentication_names_its_key_and_the_fix() {
    let hmac = "scheme = 'hmac'\nheader = 'x-sig'\nalgorithm = 'sha256'\nsecret = 'ACME'\n";
    for (text, key, fix) in [
        (
            "secret = 'ACME'".to_owned(),
            "authentication.scheme",
            "use header, hmac",
        ),
        (
            "scheme = 'stripe'".to_owned(),
            "authentication.secret",
            "environment variable",
        ),
        (
            "scheme = 'stipe'\nsecret = 'ACME'".to_owned(),
            "authentication.scheme",
            "did you mean 'stripe'?",
        ),
        (
            "scheme = 'stripe'\nsecret = 'whsec_hush'".to_owned(),
            "authentication.secret",
            "not the secret itself",
        ),
        (
            "scheme = 'stripe'\nsecret = 'ACME'\nprevious_secret = 'ACME'".to_owned(),
            "authentication.previous_secret",
            "name another one",
        ),
        (
            "scheme = 'stripe'\nsecret = 'ACME'\nheader = 'x'".to_owned(),
            "authentication.header",
            "does not apply",
        ),
        (
            "scheme = 'header'\nsecret = 'ACME'".to_owned(),
            "authentication.header",
            "is missing",
        ),
        (
            "scheme = 'header'\nsecret = 'ACME'\nheader = 'x y'".to_owned(),
            "authentication.header",
            "names no header",
        ),
        (
            hmac.replace("sha256", "md5"),
            "authentication.algorithm",
            "use sha256, sha1 or sha512",
        ),
        (
            format!("{hmac}signed = '{{header:x}}'"),
            "authentication.signed",
            "no {body}",
        ),
        (
            format!("{hmac}tolerance_seconds = 60"),
            "authentication.timestamp",
            "header:x-timestamp",
        ),
        (
            format!("{hmac}timestamp = 'header:x-time'"),
            "authentication.timestamp",
            "{header:x-time}.{body}",
        ),
        (
            format!("{hmac}tolerance_secs = 60"),
            "authentication.tolerance_secs",
            "did you mean 'tolerance_seconds'?",
        ),
        (
            "scheme = 'svix'\nsecret = 'ACME'\ntolerance_seconds = 0".to_owned(),
            "authentication.tolerance_seconds",
            "from 1 to 86400",
        ),
    ] {
        let found = problems(&format!("name = 'e'\n[authentication]\n{text}"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(
            found[0].starts_with(&format!("{key}: ")),
            "{text}: {}",
            found[0]
        );
        assert!(found[0].contains(fix), "{text}: {}", found[0]);
        assert!(!found[0].contains("hush"));
    }
    assert!(problems("name = 'e'")[0].starts_with("authentication: is missing"));
    assert!(problems("name = 'e'\nauthentication = 1")[0].contains("must be a table"));
}

#[test]
fn all_mistakes_are_named_at_once_and_a_wrong_syntax_by_its_line() {
    let text = "nam = '/type'\nuser_id = 'id'\n[authentication]\nscheme = 'hmac'\n";
    let found = problems(text);
    for key in [
        "nam: ",
        "name: ",
        "user_id: ",
        "authentication.secret: ",
        "authentication.header: ",
    ] {
        assert!(
            found.iter().any(|one| one.starts_with(key)),
            "{key}: {found:#?}"
        );
    }
    let broken = problems("name = 'e'\nuser_id = \n");
    assert_eq!(broken.len(), 1);
    assert!(
        broken[0].starts_with("line 2 is not valid TOML"),
        "{broken:?}"
    );
}

#[test]
fn the_name_of_the_file_is_the_id_in_the_url() {
    let text = format!("name = 'e'\n{AUTHENTICATION}");
    assert!(parse("acme-2", &text).is_ok());
    for id in ["", "Acme", "acme_2", "é", &"a".repeat(65)] {
        let found = parse(id, &text).unwrap_err();
        assert!(found[0].contains("acme.toml"), "{id}: {found:?}");
    }
}
