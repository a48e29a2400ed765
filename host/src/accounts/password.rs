//! Passwords: argon2id, off the threads that serve requests.

use std::sync::OnceLock;

use anyhow::Context;
use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

/// Hashes under way at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 4;

/// Hashes and checks passwords. Cheap parameters make an installation weak, so they are argon2's
/// own defaults, which follow OWASP: 19 MiB, two passes, one lane.
pub struct Passwords {
    permits: Semaphore,
    /// A hash of nothing anybody knows, for checks against nobody.
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

impl Passwords {
    /// A PHC string.
    pub async fn hash(&self, password: String) -> anyhow::Result<String> {
        let _permit = self.permits.acquire().await?;
        tokio::task::spawn_blocking(move || hash(&password)).await?
    }

    /// Whether it is the password of `known`. Takes as long where nobody is known.
    pub async fn check(&self, password: String, known: Option<String>) -> anyhow::Result<bool> {
        let somebody = known.is_some();
        let known = match known {
            Some(known) => known,
            None => self.nobody().await?,
        };
        let _permit = self.permits.acquire().await?;
        let right = tokio::task::spawn_blocking(move || {
            let known = PasswordHash::new(&known).context("a stored password hash is damaged")?;
            let argon2 = Argon2::default();
            anyhow::Ok(argon2.verify_password(password.as_bytes(), &known).is_ok())
        });
        Ok(right.await?? && somebody)
    }

    async fn nobody(&self) -> anyhow::Result<String> {
        if let Some(hash) = self.nobody.get() {
            return Ok(hash.clone());
        }
        let hash = self.hash(uuid::Uuid::new_v4().to_string()).await?;
        Ok(self.nobody.get_or_init(|| hash).clone())
    }
}

fn hash(password: &str) -> anyhow::Result<String> {
    let salt: [u8; 16] = rand::random();
    let hash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| anyhow::anyhow!("cannot hash a password: {error}"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::Passwords;

    #[tokio::test]
    async fn a_password_fits_its_own_salted_hash_and_nobody_has_one() {
        let passwords = Passwords::default();
        let one = passwords.hash("correct horse".into()).await.unwrap();
        let other = passwords.hash("correct horse".into()).await.unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        assert!(
            passwords
                .check("correct horse".into(), Some(one.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .check("wrong horse".into(), Some(one))
                .await
                .unwrap()
        );
        assert!(!passwords.check("correct horse".into(), None).await.unwrap());
    }
}
