//! The command-line arguments.

use std::fmt;

pub const USAGE: &str = "\
Usage: cargo xtask chaos [--seed N] [--mails N] [--provider resend|postmark]

  --seed N      decides who does what and when processes are killed (default 1)
  --mails N     how many people sign up, each for one lifecycle mail (default 200)
  --provider P  resend knows idempotency keys, postmark does not (default: one after the other)";

/// The provider's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Deduplicates on an idempotency key.
    Resend,
    /// Accepts every mail, as often as it is sent.
    Postmark,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resend => "resend",
            Self::Postmark => "postmark",
        })
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub mails: usize,
    pub provider: Wire,
}

pub enum Asked {
    Run(Vec<Plan>),
    /// `cargo test` was asked for other tests.
    Nothing,
}

/// Parses the arguments. Those of the standard test harness (`--nocapture`, `--test-threads=1`) are
/// ignored, and a filter that does not match this program means that other tests are wanted.
pub fn read(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut seed, mut mails, mut wires) = (1, 200, vec![Wire::Resend, Wire::Postmark]);
    while let Some(arg) = args.next() {
        let mut number = |name: &str| {
            let value = args.next().unwrap_or_default();
            value
                .parse::<u64>()
                .map_err(|_| format!("{name} takes a number, not '{value}'"))
        };
        match arg.as_str() {
            "--seed" => seed = number("--seed")?,
            "--mails" => mails = number("--mails")? as usize,
            "--provider" => {
                wires = match args.next().as_deref() {
                    Some("resend") => vec![Wire::Resend],
                    Some("postmark") => vec![Wire::Postmark],
                    _ => return Err("--provider takes resend or postmark".into()),
                };
            }
            "--list" => return Ok(Asked::Nothing),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(Asked::Nothing);
            }
            name if !name.starts_with('-') && !"chaos".contains(name) => return Ok(Asked::Nothing),
            _ => {}
        }
    }
    if mails == 0 {
        return Err("--mails takes at least 1".into());
    }
    let plans = wires.into_iter().map(|provider| Plan {
        seed,
        mails,
        provider,
    });
    Ok(Asked::Run(plans.collect()))
}
