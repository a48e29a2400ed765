//! Password hashing with argon2id, on blocking threads.

use std::sync::OnceLock;
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use unicode_normalization::UnicodeNormalization as _;

/// Concurrent hashes: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// How long a hash may be queued.
const WAIT: Duration = Duration::from_secs(5);

/// Why a password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and checks passwords, with argon2's default parameters, which follow OWASP: 19 MiB, two
/// passes, one lane.
///
/// One keyboard sends é as one character, another as two. Passwords are normalised to NFKC before
/// hashing (RFC 8265 §4.2), so that both work.
pub struct Passwords {
    permits: Semaphore,
    /// A hash of a random password, to check against if the user does not exist.
    nobody: OnceLock<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            permits: Semaphore::new(AT_ONCE),
            nobody: OnceLock::new(),
        }
    }
}

/// A password in NFKC, the form that is hashed.
pub fn normalised(password: &str) -> String {
    password.nfkc().collect()
}

impl Passwords {
    /// The hash of a password, as a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, HashError> {
        let _permit = self.turn().await?;
        off_thread(move || hash(&normalised(&password))).await
    }

    /// Whether the password matches the hash `known`. Takes the same time if `known` is `None`.
    pub async fn check(&self, password: &str, known: Option<String>) -> Result<bool, HashError> {
        let somebody = known.is_some();
        let known = match known {
            Some(known) => known,
            None => self.nobody().await?,
        };
        let usual = normalised(password);
        // Older versions hashed the password without normalising it.
        let as_given = (usual != password).then(|| password.to_owned());
        let _permit = self.turn().await?;
        let right = off_thread(move || {
            let known = PasswordHash::new(&known)
                .map_err(|_| HashError::Failed("a stored password hash is damaged".into()))?;
            let fits = |given: &str| {
                let checked = Argon2::default().verify_password(given.as_bytes(), &known);
                checked.is_ok()
            };
            Ok(fits(&usual) || as_given.is_some_and(|given| fits(&given)))
        });
        Ok(right.await? && somebody)
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, HashError> {
        let turn = tokio::time::timeout(WAIT, self.permits.acquire()).await;
        turn.map_err(|_| HashError::Busy)?
            .map_err(|_| HashError::Busy)
    }

    async fn nobody(&self) -> Result<String, HashError> {
        if let Some(hash) = self.nobody.get() {
            return Ok(hash.clone());
        }
        let hash = self.hash(uuid::Uuid::new_v4().to_string()).await?;
        Ok(self.nobody.get_or_init(|| hash).clone())
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
) -> Result<T, HashError> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|error| HashError::Failed(error.to_string()))?
}

fn hash(password: &str) -> Result<String, HashError> {
    let salt: [u8; 16] = rand::random();
    let hash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| HashError::Failed(error.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Passwords, hash};

    #[tokio::test]
    async fn a_password_fits_its_own_salted_hash_and_nobody_has_one() {
        let passwords = Passwords::default();
        let one = passwords.hash("correct horse".into()).await.unwrap();
        let other = passwords.hash("correct horse".into()).await.unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        let check = async |given: &str, known: &String| {
            passwords.check(given, Some(known.clone())).await.unwrap()
        };
        assert!(check("correct horse", &one).await);
        assert!(!check("wrong horse", &one).await);
        assert!(!passwords.check("correct horse", None).await.unwrap());
    }

    #[tokio::test]
    async fn one_word_in_two_forms_is_one_password() {
        let passwords = Passwords::default();
        let (composed, decomposed) = ("caf\u{e9} au lait", "cafe\u{301} au lait");
        let one = passwords.hash(composed.into()).await.unwrap();
        let other = passwords.hash(decomposed.into()).await.unwrap();
        // As an older version stored it, without normalising.
        let old = hash(decomposed).unwrap();
        for (given, known) in [(decomposed, &one), (composed, &other), (decomposed, &old)] {
            let checked = passwords.check(given, Some(known.clone())).await;
            assert!(checked.unwrap(), "{given}");
        }
    }
}
