//! What workers remember of their database, outside of it: in a file of the data folder, and in Redis. Where
//! neither outlives a restored database, only a running worker remembers.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::context::Context;
use crate::private;

const FILE: &str = "installation.json";

/// How long Redis keeps it after the last heartbeat.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// So many heartbeats a database may lack: a failover may lose the last moments.
const LOST: i64 = 30;

/// How far the database of an installation had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub id: Uuid,
    pub epoch: i32,
    pub beats: i64,
}

impl Memory {
    /// Whether a database at this point is behind what is remembered.
    pub fn is_ahead_of(self, now: Self) -> bool {
        let epochs = self.epoch.cmp(&now.epoch);
        self.id == now.id
            && (epochs.is_gt() || epochs.is_eq() && self.beats > now.beats.saturating_add(LOST))
    }

    /// All that is remembered.
    pub async fn all(cx: &Context) -> Vec<Self> {
        let cached = cx.cache.get(&key(cx)).await;
        let cached = cached.and_then(|text| serde_json::from_str(&text).ok());
        let all = [Self::read(&cx.config.data_dir), cached];
        all.into_iter().flatten().collect()
    }

    /// Remembers it.
    pub async fn keep(self, cx: &Context) {
        self.write(&cx.config.data_dir);
        if let Ok(text) = serde_json::to_string(&self) {
            cx.cache.put(&key(cx), &text, KEPT).await;
        }
    }

    /// What the data folder remembers. A file that cannot be read remembers nothing.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps it in the data folder. A folder that cannot be written makes the check weaker, and stops nothing.
    pub fn write(self, folder: &Path) {
        if let Err(error) = self.try_write(folder) {
            tracing::debug!(%error, "the data folder does not remember the installation");
        }
    }

    fn try_write(self, folder: &Path) -> std::io::Result<()> {
        private::folder(folder)?;
        // Several workers may share the folder; a reader sees one whole file or the other.
        let part: PathBuf = folder.join(format!(".{FILE}.{}", std::process::id()));
        private::file(&part)?.write_all(&serde_json::to_vec(&self)?)?;
        std::fs::rename(&part, folder.join(FILE))
    }
}

/// A copy that shares the Redis has another address.
fn key(cx: &Context) -> String {
    format!("hogsend:installation:{}", cx.config.api_public_url)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::Memory;

    fn memory(id: u128, epoch: i32, beats: i64) -> Memory {
        Memory {
            id: Uuid::from_u128(id),
            epoch,
            beats,
        }
    }

    #[test]
    fn a_database_is_behind_by_more_than_a_failover_loses() {
        let now = memory(1, 2, 1_000);
        for (remembered, ahead) in [
            (memory(1, 2, 1_030), false),
            (memory(1, 2, 1_031), true),
            // Restored to before it was accepted; accepted since.
            (memory(1, 3, 1), true),
            (memory(1, 1, 9_000), false),
            // Another installation used the folder.
            (memory(2, 9, 9_000), false),
        ] {
            assert_eq!(remembered.is_ahead_of(now), ahead, "{remembered:?}");
        }
    }

    #[test]
    fn the_folder_remembers_and_a_broken_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("data");
        assert_eq!(Memory::read(&inner), None);
        memory(1, 1, 7).write(&inner);
        memory(1, 1, 8).write(&inner);
        assert_eq!(Memory::read(&inner), Some(memory(1, 1, 8)));
        std::fs::write(inner.join(super::FILE), "{").unwrap();
        assert_eq!(Memory::read(&inner), None);
    }
}
