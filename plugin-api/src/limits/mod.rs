//! The limits on what a plugin gives. Those of a run are enforced by the SDK inside a call, by the host when
//! a call returns, and by the simulator like the host; the others by the host alone.

mod limit;

pub use limit::*;

use serde_json::Value;

use crate::journey::step;
use crate::step::{Command, StepError};

/// Steps of a run, including checkpoints and other steps that are only recorded.
pub const STEPS_MAX: usize = STEPS.most;
/// Characters in the label of a step or checkpoint.
pub const LABEL_MAX: usize = LABEL.most;
/// Bytes of one step's inputs, as JSON.
pub const INPUT_MAX: usize = STEP_INPUT.most;
/// Bytes of one step's result, as JSON.
pub const OUTPUT_MAX: usize = STEP_OUTPUT.most;
/// Bytes of the inputs of all steps that one call issues, as JSON.
pub const CALL_MAX: usize = CALL_INPUT.most;
/// Bytes of the inputs and results of all steps of a run, as JSON.
pub const RUN_MAX: usize = RUN.most;

/// Lines that one call of a plugin may log; the rest is dropped.
pub const LOG_LINES_MAX: usize = LOG_LINES.most;
/// Characters in a line that a plugin logs; a longer one is cut.
pub const LOG_TEXT_MAX: usize = LOG_TEXT.most;

/// The error of a run that takes too many steps.
pub fn too_many_steps() -> String {
    format!("the run took more than {STEPS_MAX} steps")
}

/// The error of a run whose steps are too large together.
pub fn too_much_held() -> String {
    let most = RUN_MAX / (1024 * 1024);
    format!("the inputs and results of the run's steps are more than {most} MiB")
}

/// Bytes of a value as JSON.
pub fn size(value: &Value) -> usize {
    struct Counter(usize);

    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

/// The size of a new step's inputs, in bytes.
///
/// # Errors
///
/// The error of the run, where the step exceeds a limit.
pub fn command(command: &Command) -> Result<usize, String> {
    let (seq, kind) = (command.seq, &command.kind);
    let checkpoint = command
        .args
        .get("label")
        .filter(|_| kind == step::CHECKPOINT);
    let labels = [command.label.as_deref(), checkpoint.and_then(Value::as_str)];
    for label in labels.into_iter().flatten() {
        if label.chars().nth(LABEL_MAX).is_some() {
            return Err(format!(
                "the label of step {seq} ({kind}) has more than {LABEL_MAX} characters"
            ));
        }
    }
    let bytes = size(&command.args);
    if bytes > INPUT_MAX {
        return Err(format!(
            "the inputs of step {seq} ({kind}) are {} KiB of JSON, at most {} KiB are kept",
            bytes.div_ceil(1024),
            INPUT_MAX / 1024
        ));
    }
    Ok(bytes)
}

/// Adds up the steps that a call issues.
#[derive(Clone, Debug, Default)]
pub struct Call {
    bytes: usize,
}

impl Call {
    /// Adds a step.
    ///
    /// # Errors
    ///
    /// The error of the run, where a limit is exceeded.
    pub fn take(&mut self, new: &Command) -> Result<(), String> {
        if new.seq as usize >= STEPS_MAX {
            return Err(too_many_steps());
        }
        self.bytes += command(new)?;
        if self.bytes > CALL_MAX {
            let most = CALL_MAX / (1024 * 1024);
            return Err(format!(
                "the inputs of the steps of one call are more than {most} MiB"
            ));
        }
        Ok(())
    }
}

/// The step's result, or the error `result_too_large` where it exceeds [`OUTPUT_MAX`].
pub fn bounded(result: Result<Value, StepError>) -> Result<Value, StepError> {
    let bytes = result.as_ref().map_or(0, size);
    if bytes <= OUTPUT_MAX {
        return result;
    }
    Err(StepError::new(
        "result_too_large",
        format!(
            "the result is {} KiB of JSON, at most {} KiB are kept",
            bytes.div_ceil(1024),
            OUTPUT_MAX / 1024
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn new(seq: u32, kind: &str, label: Option<String>, args: Value) -> Command {
        Command {
            seq,
            after: 0,
            kind: kind.into(),
            label,
            print: String::new(),
            args,
        }
    }

    #[test]
    fn each_limit_of_a_step_is_named_where_it_is_passed() {
        let at = "é".repeat(LABEL_MAX);
        let over = at.clone() + "é";
        let much = json!({ "text": "x".repeat(INPUT_MAX) });
        for (command, why) in [
            (new(0, "send", Some(at.clone()), json!({})), None),
            (new(0, "checkpoint", None, json!({ "label": at })), None),
            // For other steps it is an ordinary input.
            (new(0, "trigger", None, json!({ "label": over })), None),
            (
                new(0, "checkpoint", None, json!({ "label": over })),
                Some("label of step 0 (checkpoint)"),
            ),
            (
                new(7, "send", Some(over), json!({})),
                Some("label of step 7 (send)"),
            ),
            (
                new(3, "identify", None, much),
                Some("inputs of step 3 (identify)"),
            ),
            (new(1_999, "sleep", None, json!({})), None),
            (
                new(2_000, "sleep", None, json!({})),
                Some("more than 2000 steps"),
            ),
        ] {
            let found = Call::default().take(&command).err();
            let fits = match (&found, why) {
                (Some(found), Some(why)) => found.contains(why),
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{found:?} {why:?}");
        }
    }

    #[test]
    fn the_steps_of_a_call_are_bounded_together() {
        let mut call = Call::default();
        let taken = (0..100).take_while(|seq| {
            let args = json!({ "text": "x".repeat(INPUT_MAX / 2) });
            call.take(&new(*seq, "trigger", None, args)).is_ok()
        });
        assert_eq!(taken.count(), 7);
    }

    #[test]
    fn a_result_that_is_too_large_is_an_error_of_its_step() {
        assert_eq!(bounded(Ok(json!([1]))), Ok(json!([1])));
        let error = bounded(Ok(json!("x".repeat(OUTPUT_MAX)))).unwrap_err();
        assert_eq!(error.code, "result_too_large");
        let known = StepError::new("x", "y");
        assert_eq!(bounded(Err(known.clone())), Err(known));
    }
}
