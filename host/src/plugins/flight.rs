//! Which plugins' code is running, in a file that outlives the process.
//!
//! A plugin may end the process, and then only what was written before can tell in which call. The
//! database keeps that too, but its note is older than the call and stays after it for as long as a
//! statement takes, and a process that somebody kills dies there most of the time. This file is
//! exact: it says which of the noted calls were inside the plugin's code.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::ids::Claim;

/// Of one call in the file: its state, its subject and what holds that.
const ENTRY: usize = 33;
/// How files are called while their process lives, and after it.
const EXTENSION: &str = "calls";

const FREE: u8 = 0;
const NOTED: u8 = 1;
const RUNNING: u8 = 2;

tokio::task_local! {
    /// The call whose plugin is being asked.
    static CALL: Arc<Slot>;
}

/// The file of this process, made when it is first needed.
#[derive(Debug)]
pub struct Flights {
    folder: PathBuf,
    open: Mutex<Option<Arc<Flight>>>,
}

/// The open file. Its lock says that the process lives.
#[derive(Debug)]
struct Flight {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Entries that are used no more.
    free: Vec<u64>,
    /// How many there are.
    count: u64,
}

/// One noted call, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    flight: Arc<Flight>,
    place: u64,
    /// Threads inside the plugin.
    running: AtomicU32,
}

/// The plugin's code runs, until this is dropped.
pub(super) struct Running(Arc<Slot>);

/// What a process that ended left behind.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    _lock: File,
    /// Calls that were noted, but not running.
    pub idle: Vec<(Uuid, Claim)>,
}

impl Left {
    /// Deletes the file: what it says was taken into account.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Flights {
    /// Files go into `folder`, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            open: Mutex::default(),
        }
    }

    /// An entry for a call that is about to be noted. None where the file cannot be written: then the
    /// database's notes have to do.
    pub fn slot(&self, subject: Uuid, claim: Claim) -> Option<Arc<Slot>> {
        let slot = self.flight().and_then(|flight| flight.take(subject, claim));
        slot.inspect_err(|error| {
            tracing::debug!(folder = %self.folder.display(), %error, "a call is noted in the database alone");
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

/// What a file says whose process ended; none where it lives.
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
        // Under another name until it is locked, or another process could take it for left behind.
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
        // Where this fails the call counts as what it was before, and the database has its note.
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

/// Awaits an answer of a plugin that is asked for in this call.
pub async fn within<T>(slot: Option<Arc<Slot>>, answer: impl Future<Output = T>) -> T {
    match slot {
        Some(slot) => CALL.scope(slot, answer).await,
        None => answer.await,
    }
}

/// Says that the plugin's code begins to run; for the thread it runs on. None where nobody noted the
/// call.
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
        // Its process lives.
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
