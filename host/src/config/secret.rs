//! Secrets of the host: whether they are strong enough for production and can be sent in a header.

use secrecy::SecretString;

use super::reader::{QUOTED, Reader, is_quoted};

/// How to create a secret, for messages.
const MAKE: &str = "create one with `openssl rand -base64 32`";

/// A secret of the host.
pub(super) struct Kind {
    pub name: &'static str,
    /// Whether it is sent in a header.
    pub header: bool,
}

/// Signs links and sessions.
pub(super) const SIGNING: Kind = Kind {
    name: "BETTER_AUTH_SECRET",
    header: false,
};

/// A key with every scope.
pub(super) const ADMIN_KEY: Kind = Kind {
    name: "ADMIN_API_KEY",
    header: true,
};

/// Opens the API's metrics.
pub(super) const METRICS_TOKEN: Kind = Kind {
    name: "METRICS_TOKEN",
    header: true,
};

/// Reads a secret. Problems never contain its value.
pub(super) fn read(reader: &mut Reader<'_>, kind: &Kind) -> Option<String> {
    let name = kind.name;
    let secret = reader.required(name)?;
    if is_quoted(&secret) {
        reader.problem(name, QUOTED);
    } else if let Some(wrong) = wrong(reader, kind, &secret) {
        reader.problem(name, wrong);
    }
    Some(secret)
}

/// Secrets that signed links and hashed addresses before `BETTER_AUTH_SECRET` was changed.
pub(super) fn read_previous(reader: &mut Reader<'_>) -> Vec<SecretString> {
    const NAME: &str = "BETTER_AUTH_SECRET_PREVIOUS";
    let all = reader.words(NAME);
    if all.iter().any(|secret| is_quoted(secret)) {
        reader.problem(NAME, QUOTED);
    }
    all.into_iter().map(SecretString::from).collect()
}

fn wrong(reader: &Reader<'_>, kind: &Kind, secret: &str) -> Option<String> {
    let strict = reader.strict;
    // Header values are ASCII (RFC 9110 §5.5); elsewhere programs may encode other characters
    // differently.
    let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if (strict || kind.header) && !secret.bytes().all(plain) {
        return Some(format!(
            "has characters that cannot be sent reliably, such as non-ASCII letters: {MAKE}"
        ));
    }
    let least = reader.least_characters(kind.name);
    if secret.len() < least {
        return Some(format!("is shorter than {least} characters: {MAKE}"));
    }
    if strict && is_guessable(secret) {
        return Some(format!("is easy to guess: {MAKE}"));
    }
    None
}

/// The least entropy of the characters of a secret, in bits; 16 random bytes in hexadecimal have far
/// more.
const BITS: f64 = 64.0;
/// Words of example values.
const PLACEHOLDERS: [&str; 6] = [
    "changeme",
    "change-me",
    "change_me",
    "password",
    "placeholder",
    "your-secret",
];

/// Whether a secret repeats itself, has little entropy for its length, or is an example.
fn is_guessable(secret: &str) -> bool {
    let bytes = secret.as_bytes();
    let repeats = |period: usize| {
        bytes
            .iter()
            .zip(&bytes[period..])
            .all(|(earlier, later)| earlier == later)
    };
    if (1..=bytes.len() / 2).any(repeats) {
        return true;
    }
    let lower = secret.to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        return true;
    }
    // Shannon entropy of the whole secret; consecutive equal characters count once.
    let mut bytes = bytes.to_vec();
    bytes.dedup();
    let mut counts = [0_u32; 256];
    for byte in &bytes {
        counts[usize::from(*byte)] += 1;
    }
    let length = bytes.len() as f64;
    let bits = counts.iter().filter(|count| **count > 0).map(|count| {
        let count = f64::from(*count);
        count * (length / count).log2()
    });
    bits.sum::<f64>() < BITS
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode};

    fn problems(environment: &str, name: &str, value: &str) -> Vec<String> {
        let lookup = |asked: &str| match asked {
            "NODE_ENV" => Some(environment.to_owned()),
            asked if asked == name => Some(value.to_owned()),
            _ => None,
        };
        let (_, problems) = Config::read(&lookup, Mode::Api);
        let about = problems.iter().filter(|problem| problem.name == name);
        about.map(ToString::to_string).collect()
    }

    #[test]
    fn short_foreign_and_quoted_secrets_do_not_start_production() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF";
        for name in ["BETTER_AUTH_SECRET", "ADMIN_API_KEY"] {
            for wrong in [
                "a",
                "ключ-ключ-ключ-ключ-ключ-ключ-ключ-ключ",
                &format!("\"{long}\""),
                &format!("{long}\u{a0}x"),
                &format!("{long}\ttab"),
                &"a".repeat(32),
                &"ab".repeat(20),
                &"0123456789abcdef".repeat(3),
                &"12345678".repeat(5)[..39],
                &format!("{}b", "a".repeat(40)),
                "aaaaaaaabbbbbbbbccccccccdddddddd!",
                "changeme-changeme-and-changeme-too",
                "Password-of-our-company-since-2019",
            ] {
                let problems = problems("production", name, wrong);
                assert_eq!(problems.len(), 1, "{name}={wrong}: {problems:?}");
                assert!(!problems[0].contains(wrong) || wrong == "a", "{problems:?}");
            }
            for good in [
                long,
                "5f3a9c1b7e2d4086af19c3e58b7d60f2",
                "kQ0v1mR9xW2yT7bN4cZ8hJ5gF3dS6aLpOeIuYtRwQxE=",
                "correct horse battery staple and more",
            ] {
                assert!(problems("production", name, good).is_empty(), "{good}");
            }
            assert!(problems("development", name, "a").is_empty());
        }
    }
}
