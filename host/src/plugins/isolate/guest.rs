//! The child's side: answers messages by calling a library.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use hogsend_plugin_api::abi::Root;
use hogsend_plugin_api::call::CallError;
use hogsend_plugin_api::limits;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::frame::{self, Fault, PROTOCOL, REQUEST_FRAME_MAX, Request};
use super::methods::{self, CREATE, HANDSHAKE};
use crate::plugins::caller::read_error;
use crate::plugins::copies::LibraryCopy;
use crate::plugins::loader;
use crate::plugins::preflight::Checked;

/// The library of this process.
struct Guest {
    file: Checked,
    root: OnceLock<Root>,
    instance: OnceLock<u64>,
    output: Mutex<File>,
}

#[derive(Deserialize)]
struct Create<'a> {
    #[serde(borrow)]
    settings: &'a RawValue,
}

/// Answers messages until standard input is closed. `descriptor` is the stream for answers.
pub fn serve(descriptor: u32, copy: PathBuf, original: PathBuf, symbol: String) -> io::Result<()> {
    // Otherwise lists of processes call it `exe` (Linux).
    let _ = std::fs::write("/proc/self/comm", "hogsend-plugin");
    let output = File::options()
        .write(true)
        .open(format!("/dev/fd/{descriptor}"))?;
    let guest = Arc::new(Guest {
        file: Checked {
            original,
            copy: LibraryCopy::of_host(copy)?,
            sha256: String::new(),
            symbol,
        },
        root: OnceLock::new(),
        instance: OnceLock::new(),
        output: Mutex::new(output),
    });
    let mut input = io::stdin().lock();
    while let Some(bytes) = frame::read(&mut input, REQUEST_FRAME_MAX)? {
        let guest = guest.clone();
        // A call that does not return keeps its thread; the host ends the process then.
        thread::Builder::new()
            .name("plugin-call".into())
            .spawn(move || guest.answer(&bytes))?;
    }
    Ok(())
}

impl Guest {
    fn answer(&self, bytes: &[u8]) {
        let request: Request<'_> = match serde_json::from_slice(bytes) {
            Ok(request) => request,
            Err(error) => {
                eprintln!("the host sent a message that is no request: {error}");
                std::process::exit(1);
            }
        };
        let answer = self.perform(&request);
        let answer = answer.and_then(|bytes| match limits::ANSWER.check(bytes.len()) {
            Ok(()) => Ok(bytes),
            Err(message) => Err(CallError::new(CallError::BAD_INPUT, message).into()),
        });
        let frame = match &answer {
            Ok(bytes) => frame::response(request.id, Ok(bytes)),
            Err(fault) => frame::response(request.id, Err(fault.clone())),
        };
        let frame = frame.or_else(|why| {
            let message = format!("its answer {why}");
            let fault = CallError::new(CallError::BAD_INPUT, message).into();
            frame::response(request.id, Err(fault))
        });
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the host is gone, this process ends by itself.
        if let Ok(frame) = frame {
            let _ = output.write_all(&frame);
        }
    }

    fn perform(&self, request: &Request<'_>) -> Result<Vec<u8>, Fault> {
        let input = request.params.map_or("null", RawValue::get).as_bytes();
        match request.method {
            HANDSHAKE => self.greet(),
            CREATE => self.create(input),
            name => {
                let none = || {
                    let message = format!("no method is named '{}'", name.escape_debug());
                    CallError::new(CallError::NO_METHOD, message)
                };
                let number = methods::number(name).ok_or_else(none)?;
                let missing = || CallError::new(CallError::BAD_INPUT, "it is not created yet");
                let (root, instance) = self
                    .root
                    .get()
                    .zip(self.instance.get())
                    .ok_or_else(missing)?;
                root.call(*instance, number, input)
                    .map_err(|bytes| read_error(&bytes).into())
            }
        }
    }

    fn greet(&self) -> Result<Vec<u8>, Fault> {
        let refused =
            |problem: crate::plugins::Problem| Fault::refused(problem.code, problem.message);
        let root = loader::open(&self.file).map_err(refused)?;
        let root = *self.root.get_or_init(|| root);
        let (manifest, _): (serde_json::Value, _) =
            loader::manifest(&self.file, root).map_err(refused)?;
        Ok(json!({ "protocol": PROTOCOL, "manifest": manifest })
            .to_string()
            .into_bytes())
    }

    fn create(&self, input: &[u8]) -> Result<Vec<u8>, Fault> {
        let bad =
            |error: serde_json::Error| CallError::new(CallError::BAD_INPUT, error.to_string());
        let create: Create<'_> = serde_json::from_slice(input).map_err(bad)?;
        let missing = || CallError::new(CallError::BAD_INPUT, "there was no handshake");
        let root = self.root.get().ok_or_else(missing)?;
        let instance = root
            .create(create.settings.get().as_bytes())
            .map_err(|bytes| Fault::from(read_error(&bytes)))?;
        let _ = self.instance.set(instance);
        Ok(b"null".to_vec())
    }
}
