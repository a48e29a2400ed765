//! Records which plugins' code is running, in a file that outlives the process.
//!
//! A plugin may crash the process, and then only what was written before tells in which call. The
//! database has a record as well, but it begins before the call and outlasts it by the duration of
//! a statement, which is where a process that is killed dies most of the time. This file is exact:
//! it says which of the recorded calls were inside the plugin's code.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::ids::Claim;

/// Bytes of an entry: state, subject and claim of one call.
const ENTRY: usize = 33;
/// Extension of these files, also after their process has ended.
const EXTENSION: &str = "calls";

const FREE: u8 = 0;
const NOTED: u8 = 1;
const RUNNING: u8 = 2;

tokio::task_local! {
    /// The current call of this task.
    static CALL: Arc<Slot>;
}

/// The file of this process, created on first use.
#[derive(Debug)]
pub struct Flights {
    folder: PathBuf,
    open: Mutex<Option<Arc<Flight>>>,
}

/// The open file. Its lock shows that the process is alive.
#[derive(Debug)]
struct Flight {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Free entries.
    free: Vec<u64>,
    /// Number of entries in the file.
    count: u64,
}

/// The entry of one recorded call, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    flight: Arc<Flight>,
    place: u64,
    /// Number of threads inside the plugin's code.
    running: AtomicU32,
}

/// Marks the plugin's code as running until it is dropped.
pub(super) struct Running(Arc<Slot>);

/// The file of a process that has ended.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    _lock: File,
    /// Calls that were recorded, but not running.
    pub idle: Vec<(Uuid, Claim)>,
}

impl Left {
    /// Deletes the file, once its contents have been processed.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Flights {
    /// Files go into `folder`, which is created with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            open: Mutex::default(),
        }
    }

    /// An entry for a call that is about to be recorded. None where the file cannot be written:
    /// then only the database has a record.
    pub fn slot(&self, subject: Uuid, claim: Claim) -> Option<Arc<Slot>> {
        let slot = self.flight().and_then(|flight| flight.take(subject, claim));
        slot.inspect_err(|error| {
            tracing::debug!(folder = %self.folder.display(), %error,
                "a plugin call is recorded in the database alone");
        })
        .ok()
    }

    fn flight(&self) -> io::Result<Arc<Flight>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = &*open {
            return Ok(flight.clone());
        }
        let flight = Arc::new(Flight::make(&self.folder)?);
        *open = Some(flight.clone());
        Ok(flight)
    }

    /// The files of processes that ended without deleting theirs.
    pub fn left(&self) -> Vec<Left> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files = files.filter(|path| path.extension().is_some_and(|one| one == EXTENSION));
        files.filter_map(|path| read(path).ok().flatten()).collect()
    }
}

impl Drop for Flights {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = open {
            let _ = fs::remove_file(&flight.path);
        }
    }
}

/// Reads a file whose process has ended; None where the process is alive.
fn read(path: PathBuf) -> io::Result<Option<Left>> {
    let mut file = File::open(&path)?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let idle = bytes
        .chunks_exact(ENTRY)
        .filter(|entry| entry[0] == NOTED)
        .filter_map(|entry| {
            let subject = Uuid::from_slice(&entry[1..17]).ok()?;
            Some((subject, Claim(Uuid::from_slice(&entry[17..33]).ok()?)))
        })
        .collect();
    Ok(Some(Left {
        path,
        _lock: file,
        idle,
    }))
}

impl Flight {
    fn make(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = Uuid::now_v7();
        // The file has another name until it is locked, or another process could mistake it for an
        // abandoned one.
        let partial = folder.join(format!(".{name}"));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&partial)?;
        file.try_lock().map_err(io::Error::from)?;
        let path = folder.join(format!("{name}.{EXTENSION}"));
        fs::rename(partial, &path)?;
        let inner = Inner {
            file,
            free: Vec::new(),
            count: 0,
        };
        Ok(Self {
            path,
            inner: Mutex::new(inner),
        })
    }

    fn take(self: Arc<Self>, subject: Uuid, claim: Claim) -> io::Result<Arc<Slot>> {
        let mut entry = [NOTED; ENTRY];
        entry[1..17].copy_from_slice(subject.as_bytes());
        entry[17..33].copy_from_slice(claim.0.as_bytes());
        let place = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let place = inner.free.pop().unwrap_or(inner.count);
            inner.count = inner.count.max(place + 1);
            inner.write(place, &entry)?;
            place
        };
        Ok(Arc::new(Slot {
            flight: self,
            place,
            running: AtomicU32::new(0),
        }))
    }
}

impl Inner {
    fn write(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(place * ENTRY as u64))?;
        self.file.write_all(bytes)
    }
}

impl Slot {
    fn set(&self, state: u8) {
        let inner = self.flight.inner.lock();
        let mut inner = inner.unwrap_or_else(PoisonError::into_inner);
        // Where this fails the entry keeps its previous state, and the database has its record.
        let _ = inner.write(self.place, &[state]);
        if state == FREE {
            inner.free.push(self.place);
        }
    }

    fn enter(self: Arc<Self>) -> Running {
        if self.running.fetch_add(1, Ordering::SeqCst) == 0 {
            self.set(RUNNING);
        }
        Running(self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.set(FREE);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.set(NOTED);
        }
    }
}

/// Awaits a plugin's answer as part of this call.
pub async fn within<T>(slot: Option<Arc<Slot>>, answer: impl Future<Output = T>) -> T {
    match slot {
        Some(slot) => CALL.scope(slot, answer).await,
        None => answer.await,
    }
}

/// Returns a function that the call's thread uses to mark the plugin's code as running. None where
/// the call is not recorded.
pub(super) fn enter() -> Option<impl FnOnce() -> Running> {
    let slot = CALL.try_with(Arc::clone).ok()?;
    Some(move || slot.enter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> (Uuid, Claim) {
        (Uuid::new_v4(), Claim(Uuid::new_v4()))
    }

    #[test]
    fn a_file_tells_which_noted_calls_were_not_running() {
        let folder = tempfile::tempdir().unwrap();
        let flights = Flights::new(folder.path().join("calls"));
        assert!(flights.left().is_empty());
        let [over, idle, running, returned] = [(); 4].map(|()| call());
        drop(flights.slot(over.0, over.1).unwrap());
        let slots = [idle, running, returned].map(|one| flights.slot(one.0, one.1).unwrap());
        let inside = slots[1].clone().enter();
        drop(slots[2].clone().enter());
        // Its process is alive.
        assert!(flights.left().is_empty());
        let open = flights.open.lock().unwrap().clone().unwrap();
        open.inner.lock().unwrap().file.unlock().unwrap();
        let left = flights.left().pop().unwrap();
        let mut expected = [idle, returned];
        let mut found = left.idle.clone();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        drop(inside);
        drop(slots);
        left.remove();
        assert!(flights.left().is_empty());
    }

    #[test]
    fn a_process_that_ends_well_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let flights = Flights::new(folder.path().to_owned());
        let (subject, claim) = call();
        drop(flights.slot(subject, claim));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(flights);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
