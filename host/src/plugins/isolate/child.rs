//! One running child: a process that answers messages.
//!
//! Three threads serve it: one starts it, reads its answers and waits for its end, one writes requests, one
//! reads what it prints to standard error. The system ends the child with the thread that started it.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{self, ChildStderr, ChildStdin, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::frame::{self, ANSWER_FRAME_MAX, Fault, Response};
use super::launch::Launch;
use crate::foreign;

/// Bytes of a line on standard error that are logged.
const LINE_MAX: usize = 1_000;
/// Lines on standard error that are logged within [`LINES_SPAN`].
const LINES_MAX: usize = 50;
const LINES_SPAN: Duration = Duration::from_secs(10);
/// A line that Rust prints after the reason.
const HINT: &str = "note: run with `RUST_BACKTRACE";
/// How long the last words on standard error are waited for, once the process has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a child ended that is no longer needed.
const UNUSED: &str = "is no longer used";

/// A call of a child failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The child answered with an error.
    Answered(Fault),
    /// The call did not end in time, so the child was ended.
    Deadline,
    /// The request was not sent: it cannot be.
    Unsendable(String),
    /// The child ended.
    Ended(End),
}

/// The end of a child.
#[derive(Clone, Debug)]
pub struct End {
    /// It continues a sentence about the plugin.
    pub why: String,
    /// Whether the call was the only one in the child, and so is to blame.
    pub alone: bool,
}

type Answer = Result<Vec<u8>, Failure>;

/// A running process; it is ended when this is dropped.
pub struct Child {
    shared: Arc<Shared>,
    requests: Sender<Vec<u8>>,
    next: AtomicU64,
}

struct Shared {
    name: Mutex<String>,
    state: Mutex<State>,
    last_words: Mutex<String>,
}

#[derive(Default)]
struct State {
    /// Until the process has ended and its id may be another's.
    pid: Option<Pid>,
    waiting: HashMap<u64, SyncSender<Answer>>,
    /// Why it ended, or is about to.
    ended: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Child {
    /// Starts a process. `name` is that of its plugin, for the log.
    pub fn start(name: &str, launch: &Launch) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name: Mutex::new(name.to_owned()),
            state: Mutex::default(),
            last_words: Mutex::default(),
        });
        let (requests, queued) = mpsc::channel();
        let (begun, begins) = mpsc::sync_channel(1);
        let (own, launch) = (shared.clone(), launch.clone());
        let owner = move || match launch.command().spawn() {
            Ok(process) => {
                let served = own.serve(process, queued, &begun);
                let _ = begun.try_send(served);
            }
            Err(error) => {
                let _ = begun.send(Err(error));
            }
        };
        thread::Builder::new()
            .name("plugin-child".into())
            .spawn(owner)?;
        begins.recv().map_err(io::Error::other)??;
        Ok(Self {
            shared,
            requests,
            next: AtomicU64::new(1),
        })
    }

    /// Sends a request and waits for its answer. A child that does not answer in time is ended.
    pub fn call(&self, method: &str, params: &[u8], deadline: Duration) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = frame::request(id, method, params).map_err(Failure::Unsendable)?;
        let (answers, answer) = mpsc::sync_channel(1);
        {
            let mut state = locked(&self.shared.state);
            if let Some(why) = state.ended.clone() {
                return Err(Failure::Ended(End { why, alone: false }));
            }
            state.waiting.insert(id, answers);
        }
        // Where its writer is gone, so is the process, and whoever notices answers all that wait.
        let _ = self.requests.send(frame);
        match answer.recv_timeout(deadline) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                self.shared.end(&format!(
                    "was ended, because it did not answer '{method}' within {deadline:?}"
                ));
                Err(Failure::Deadline)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = self.ended().unwrap_or_default();
                Err(Failure::Ended(End { why, alone: false }))
            }
        }
    }

    /// Its plugin's id, once it is known.
    pub fn rename(&self, id: &str) {
        id.clone_into(&mut locked(&self.shared.name));
    }

    /// Why it ended, if it has.
    pub fn ended(&self) -> Option<String> {
        locked(&self.shared.state).ended.clone()
    }

    /// The id of the process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        locked(&self.shared.state).pid.map(Pid::as_raw_pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.end(UNUSED);
    }
}

impl Shared {
    /// Serves a process until it ends. Errors come before it is used.
    fn serve(
        self: &Arc<Self>,
        mut process: process::Child,
        queued: Receiver<Vec<u8>>,
        begun: &SyncSender<io::Result<()>>,
    ) -> io::Result<()> {
        let missing = || io::Error::other("a stream is missing");
        let input = process.stdin.take().ok_or_else(missing)?;
        let output = process.stdout.take().ok_or_else(missing)?;
        let errors = process.stderr.take().ok_or_else(missing)?;
        locked(&self.state).pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        thread::Builder::new()
            .name("plugin-input".into())
            .spawn(move || write(input, &queued))?;
        let (spoken, silent) = mpsc::sync_channel::<()>(0);
        let own = self.clone();
        thread::Builder::new()
            .name("plugin-errors".into())
            .spawn(move || {
                own.listen(errors);
                drop(spoken);
            })?;
        let _ = begun.send(Ok(()));

        let wrong = self.read_answers(BufReader::with_capacity(64 * 1024, output));
        // The group is ended too: nothing that the plugin has started may go on without it. After
        // this the id is not used again, because the process is waited for.
        if let Some(pid) = locked(&self.state).pid.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = process.wait();
        let _ = silent.recv_timeout(LAST_WORDS);
        let why = self.fail(&wrong.unwrap_or_else(|| self.describe(status)));
        if why != UNUSED {
            let plugin = locked(&self.name).clone();
            // Whoever starts it again logs why, once a minute.
            tracing::debug!(plugin, "plugin '{plugin}' {why}");
        }
        Ok(())
    }

    /// Passes answers on until there are no more. Returns what is wrong with them.
    fn read_answers(&self, mut output: impl Read) -> Option<String> {
        loop {
            let bytes = match frame::read(&mut output, ANSWER_FRAME_MAX) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return None,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                Err(error) => return Some(format!("was ended, because {error}")),
            };
            let response: Response<'_> = match serde_json::from_slice(&bytes) {
                Ok(response) => response,
                Err(error) => {
                    return Some(format!(
                        "was ended, because it sent a message that is no answer: {error}"
                    ));
                }
            };
            let answer = match (response.result, response.error) {
                (_, Some(fault)) => Err(Failure::Answered(fault)),
                (Some(result), None) => Ok(result.get().as_bytes().to_vec()),
                (None, None) => Ok(b"null".to_vec()),
            };
            // What was printed before an answer does not say why the process ended after it.
            locked(&self.last_words).clear();
            if let Some(waiting) = locked(&self.state).waiting.remove(&response.id) {
                let _ = waiting.send(answer);
            }
        }
    }

    /// Ends the process. Calls under way fail; their failure gives this reason.
    fn end(&self, why: &str) {
        if let Some(pid) = locked(&self.state).pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.fail(why);
    }

    /// Fails all calls. The first reason is kept and returned.
    fn fail(&self, why: &str) -> String {
        let mut state = locked(&self.state);
        let why = state.ended.get_or_insert_with(|| why.to_owned()).clone();
        let end = End {
            why: why.clone(),
            alone: state.waiting.len() == 1,
        };
        for (_, waiting) in state.waiting.drain() {
            let _ = waiting.send(Err(Failure::Ended(end.clone())));
        }
        why
    }

    fn describe(&self, status: io::Result<ExitStatus>) -> String {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let words = locked(&self.last_words);
        match words.as_str() {
            "" => format!("ended its process ({status})"),
            words => format!("ended its process ({status}; its last words: {words})"),
        }
    }

    /// Logs what the process prints to standard error.
    fn listen(&self, errors: ChildStderr) {
        let mut errors = BufReader::new(errors);
        let (mut begun, mut lines) = (Instant::now(), 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let part = (&mut errors)
                .take(LINE_MAX as u64)
                .read_until(b'\n', &mut line);
            if part.unwrap_or(0) == 0 {
                return;
            }
            let text = foreign::text(String::from_utf8_lossy(&line).trim_end(), LINE_MAX);
            if text.is_empty() {
                continue;
            }
            if !text.starts_with(HINT) {
                locked(&self.last_words).clone_from(&text);
            }
            if begun.elapsed() > LINES_SPAN {
                (begun, lines) = (Instant::now(), 0);
            }
            lines += 1;
            if lines <= LINES_MAX {
                let plugin = locked(&self.name).clone();
                tracing::info!(plugin, "the process of plugin '{plugin}' printed: {text}");
            }
        }
    }
}

fn write(mut input: ChildStdin, queued: &Receiver<Vec<u8>>) {
    for frame in queued {
        if input.write_all(&frame).is_err() {
            return;
        }
    }
}
