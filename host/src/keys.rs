//! API keys: creating and revoking them, and finding that of a request.
//!
//! A look-up is cached for at most [`LEASE`]. A revocation deletes the row, waits until every
//! earlier look-up has expired on every replica, and only then answers. So once a revocation has
//! been confirmed every replica refuses the key, and a busy key costs one query per lease instead
//! of one per request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::audit::{Actor, Change, Refused, audit};
use crate::db::{self, ApiKey, Db, Tx};
use crate::ids::ApiKeyId;
use crate::loops::item_failed;

/// The file of the development key in the data folder.
pub const KEY_FILE: &str = "dev-key";

/// How long a look-up is cached.
const LEASE: Duration = Duration::from_secs(1);
/// Concurrent look-ups in the database.
const LOOKING: usize = 4;
/// Concurrent delayed answers to wrong keys; beyond this number wrong keys are refused without a
/// delay.
const PAUSED: usize = 256;
/// Look-ups cached in the process.
const KEPT: usize = 10_000;
/// What every key begins with.
const PREFIX: &str = "hsk_";
/// How many characters of a key are stored to identify it.
const SHOWN: usize = 12;

type Hash = [u8; 32];

/// Look-ups of keys. Shared by all requests of a process.
pub struct Keys {
    /// Keys and when the look-up that found them began.
    found: Cache<Hash, (ApiKey, Instant)>,
    /// Bounds look-ups under way, and so the load of wrong keys on the database.
    looking: Semaphore,
    /// Wrong keys that wait for their answer now.
    pub pauses: Semaphore,
    /// When a look-up last found no key at all.
    none_at: Mutex<Option<Instant>>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            found: Cache::new(KEPT),
            looking: Semaphore::new(LOOKING),
            pauses: Semaphore::new(PAUSED),
            none_at: Mutex::default(),
        }
    }
}

/// What a new key is called and may do.
#[derive(Clone, Debug)]
pub struct KeySettings {
    pub name: String,
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A new key. `key` is shown once and not stored.
struct NewKey {
    key: String,
    prefix: String,
    hash: Hash,
}

impl NewKey {
    /// `hsk_` and 32 random bytes in base64url.
    fn random() -> Self {
        let random: [u8; 32] = rand::random();
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        Self {
            prefix: key[..SHOWN].to_owned(),
            hash: hash(&key),
            key,
        }
    }
}

fn hash(key: &str) -> Hash {
    Sha256::digest(key).into()
}

impl Keys {
    /// The key a caller gave, expired or not; `None` where it is unknown.
    pub async fn find(&self, db: &Db, given: &str) -> db::Result<Option<ApiKey>> {
        if !given.starts_with(PREFIX) {
            return Ok(None);
        }
        let hash = hash(given);
        // Taken before the query, so that the lease starts no later than the query's snapshot.
        let asked = Instant::now();
        if let Some((key, since)) = self.found.get(&hash)
            && asked.duration_since(since) < LEASE
        {
            return Ok(Some(key));
        }
        let key = {
            // The semaphore is never closed.
            let _turn = self.looking.acquire().await;
            let mut conn = db.conn().await?;
            db::api_key_by_hash(&mut conn, &hash).await?
        };
        match &key {
            Some(key) => self.found.insert(hash, (key.clone(), asked)),
            None => {
                self.found.remove(&hash);
            }
        }
        Ok(key)
    }

    /// Whether there is any key, expired or not.
    pub async fn any(&self, db: &Db) -> db::Result<bool> {
        let none_at = || self.none_at.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Instant::now();
        if none_at().is_some_and(|at| asked.duration_since(at) < LEASE) {
            return Ok(false);
        }
        let any = db::api_key_any(&mut *db.conn().await?).await?;
        *none_at() = (!any).then_some(asked);
        Ok(any)
    }

    /// Creates a key, and returns it with its value, which is not stored.
    pub async fn create(
        &self,
        db: &Db,
        actor: &Actor,
        settings: KeySettings,
        now: DateTime<Utc>,
    ) -> db::Result<(ApiKey, String)> {
        let new = NewKey::random();
        let key = ApiKey {
            id: ApiKeyId::new(now),
            name: settings.name,
            hash: new.hash,
            prefix: new.prefix,
            scopes: settings.scopes,
            expires_at: settings.expires_at,
            last_used_at: None,
            created_at: now,
        };
        let work = async |mut tx: Tx| {
            db::api_key_insert(&mut tx, &key).await?;
            let about = ("api_key", &*key.id.to_string());
            let change = Change::created(told(&key));
            audit(&mut tx, actor, "api_key.create", about, change, now).await?;
            db::Result::Ok((tx, ()))
        };
        db.transact(work).await?;
        // Other processes of a development installation notice within a lease.
        *self.none_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok((key, new.key))
    }

    /// Deletes a key. Returns once no replica accepts it any longer.
    pub async fn revoke(
        &self,
        db: &Db,
        actor: &Actor,
        id: ApiKeyId,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let work = async |mut tx: Tx| {
            let key = db::api_key_delete(&mut tx, id).await?;
            let key = key.ok_or(Refused::NotFound("API key not found"))?;
            let about = ("api_key", &*id.to_string());
            let change = Change::deleted(told(&key));
            audit(&mut tx, actor, "api_key.delete", about, change, now).await?;
            Ok::<_, Refused>((tx, key))
        };
        let key = db.transact(work).await?;
        self.found.remove(&key.hash);
        tokio::time::sleep(LEASE).await;
        self.found.remove(&key.hash);
        Ok(())
    }

    /// Records that the key was used, to the minute. A failure is only logged.
    pub async fn note_use(&self, db: &Db, key: &ApiKey, now: DateTime<Utc>) {
        let minute = TimeDelta::minutes(1);
        if key.last_used_at.is_some_and(|used| now - used < minute) {
            return;
        }
        let noted = match db.conn().await {
            Ok(mut conn) => db::api_key_used(&mut conn, key.id, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            item_failed("could not record when an API key was used", &error);
        }
        // A revocation meanwhile is not undone: the look-up keeps the age that ends its lease.
        if let Some((mut key, since)) = self.found.get(&key.hash) {
            key.last_used_at = Some(now);
            self.found.insert(key.hash, (key, since));
        }
    }
}

/// What the audit log stores about a key.
fn told(key: &ApiKey) -> Value {
    json!({
        "name": key.name, "keyPrefix": key.prefix, "scopes": key.scopes, "expiresAt": key.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::NewKey;

    #[test]
    fn a_key_is_random_and_its_prefix_reveals_little_of_it() {
        let (one, other) = (NewKey::random(), NewKey::random());
        assert_eq!(one.key.len(), 4 + 43);
        assert!(one.key.starts_with("hsk_"));
        assert!(one.key.starts_with(&one.prefix) && one.prefix.len() == 12);
        assert!(one.key != other.key && one.hash != other.hash);
    }
}
