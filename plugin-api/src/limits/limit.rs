//! Every limit on what a plugin gives and asks for, in one table.

/// A limit: on what, how much is allowed, and what happens beyond it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limit {
    /// What is limited, as a noun: `body of an HTTP request`.
    pub what: &'static str,
    /// The largest allowed number of [`unit`](Limit::unit).
    pub most: usize,
    /// What is counted.
    pub unit: Unit,
    /// What the host does with more.
    pub beyond: &'static str,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Characters of a text.
    Characters,
    /// Things of a list.
    Things,
    /// Seconds.
    Seconds,
}

impl Limit {
    const fn new(what: &'static str, most: usize, unit: Unit, beyond: &'static str) -> Self {
        Self {
            what,
            most,
            unit,
            beyond,
        }
    }

    /// Checks a number of units.
    ///
    /// # Errors
    ///
    /// A sentence that names the limit, where it is exceeded.
    pub fn check(&self, found: usize) -> Result<(), String> {
        if found <= self.most {
            return Ok(());
        }
        let unit = match self.unit {
            Unit::Bytes => " bytes",
            Unit::Characters => " characters",
            Unit::Seconds => " seconds",
            Unit::Things => "",
        };
        Err(format!(
            "exceeds a limit: {}: {found}{unit}, at most {}",
            self.what,
            self.allowed()
        ))
    }

    /// The largest allowed value with its unit: `64 MiB`.
    pub fn allowed(&self) -> String {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * 1024;
        let most = self.most;
        match self.unit {
            Unit::Bytes if most >= MIB && most.is_multiple_of(MIB) => format!("{} MiB", most / MIB),
            Unit::Bytes if most >= KIB && most.is_multiple_of(KIB) => format!("{} KiB", most / KIB),
            Unit::Bytes => format!("{} bytes", grouped(most)),
            Unit::Characters => format!("{} characters", grouped(most)),
            Unit::Seconds => format!("{most} seconds"),
            Unit::Things => grouped(most),
        }
    }
}

/// A number with commas between its thousands.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

macro_rules! limits {
    ($($name:ident: $what:literal, $most:expr, $unit:ident, $beyond:literal;)*) => {
        $(#[doc = concat!("The limit on: ", $what, ".")]
        pub const $name: Limit = Limit::new($what, $most, Unit::$unit, $beyond);)*

        /// Every limit, in the order of the table in `docs/reference/plugins.md`.
        pub const TABLE: &[Limit] = &[$($name),*];
    };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

limits! {
    MANIFEST: "manifest", MIB, Bytes, "the plugin is refused";
    SETTINGS: "settings of a manifest", 100, Things, "the plugin is refused";
    HTTP_HOSTS: "HTTP hosts of a manifest", 100, Things, "the plugin is refused";
    MANIFEST_TEXT: "a text of a manifest, such as the name of a setting", 2_000, Characters, "the plugin is refused; a sample webhook may be longer";
    SETTING_VALUE: "value of a setting", 64 * KIB, Bytes, "Hogsend does not start";
    JOURNEYS: "journeys of a plugin", 2_000, Things, "the plugin does not start";
    TEMPLATES: "templates of a plugin", 2_000, Things, "the plugin does not start";
    TEMPLATE: "source of a template, with its subject and text part", MIB, Bytes, "the plugin does not start";
    CATEGORIES: "categories of a plugin", 1_000, Things, "the plugin does not start";
    DOCUMENTS: "documents that journeys are made of", 1_000, Things, "the plugin is not asked";
    DOCUMENT: "a document that a journey is made of", MIB, Bytes, "the plugin is not asked";
    START_SECONDS: "loading and `manifest`, then `new`, each", 10, Seconds, "the plugin is refused (`PLUGIN-022`, `PLUGIN-011`)";
    CALL_SECONDS: "a call, which only computes", 5, Seconds, "the call fails; its thread goes on";
    BLOCKING_SECONDS: "a call of a plugin that is `blocking`", 60, Seconds, "the call fails, unless `Capabilities::attempt` asks for more";
    CALLS_AT_ONCE: "calls of one plugin at once", 32, Things, "further calls wait as long as a call may take, then fail";
    ANSWER: "answer of a call", 64 * MIB, Bytes, "the call fails";
    STEPS: "steps of a run, checkpoints included, in one call or over its life", 2_000, Things, "the run fails; a loop that never waits ends this way too";
    LABEL: "label of a step or checkpoint", 200, Characters, "the run fails";
    STEP_INPUT: "inputs of one step, as JSON", MIB, Bytes, "the run fails";
    CALL_INPUT: "inputs of the steps that one call issues, as JSON", 4 * MIB, Bytes, "the run fails";
    STEP_OUTPUT: "result of one step, as JSON", MIB, Bytes, "the step fails with `result_too_large`; `history().events` and `digest` keep the newest events that fit";
    DIGEST_EVENTS: "events that a digest keeps", 1_000, Things, "the newest are kept, all are counted";
    RUN: "inputs and results of all steps of a run, as JSON", 16 * MIB, Bytes, "the run fails";
    ONCE_KEY: "key of `once`", 1_000, Bytes, "the step fails with `key_too_long`";
    PROPERTIES: "properties of an event or a contact", 1_000, Things, "a step fails; of what a vendor sends, those that do not fit are left out";
    PROPERTIES_BYTES: "properties of an event or a contact, as JSON", 256 * KIB, Bytes, "the same";
    PROPERTY_NAME: "name of a property", 500, Characters, "the same";
    PROPERTY_DEPTH: "levels of a property", 32, Things, "the same";
    ROUNDS: "rounds of requests to the host in one other call, such as `send`", 16, Things, "the call fails";
    COMMANDS: "requests to the host in one round", 32, Things, "the call fails";
    CONVERSATION: "inputs of the requests and answers of the host in one such call, as JSON", 128 * MIB, Bytes, "the call fails";
    CONVERSATION_SECONDS: "such a call with everything it asks for", 75, Seconds, "the call fails, unless `Capabilities::attempt` asks for more";
    WEBHOOK_SECONDS: "reading a webhook, with the requests to the host", 9, Seconds, "status 500";
    HTTP_SECONDS: "an HTTP request", 30, Seconds, "the request fails as `Lost`";
    HTTP_URL: "URL of an HTTP request", 8 * KIB, Bytes, "the request is refused";
    HTTP_HEADERS: "headers of an HTTP request", 100, Things, "the request is refused";
    HTTP_HEADER_BYTES: "names and values of these headers together", 64 * KIB, Bytes, "the request is refused";
    HTTP_BODY: "body of an HTTP request", 48 * MIB, Bytes, "the request is refused";
    HTTP_RESPONSE: "body of an HTTP response", 8 * MIB, Bytes, "the request fails as `Lost`";
    CACHE_KEY: "key in the cache", 500, Bytes, "`cache_get` finds nothing, and `cache_put` stores nothing";
    CACHE_VALUE: "value in the cache", 256 * KIB, Bytes, "`cache_put` stores nothing";
    FILE_NAME: "name of a file", 200, Bytes, "`file_put` fails";
    FILE: "a file", 48 * MIB, Bytes, "`file_put` fails";
    LOG_LINES: "lines that a call logs", 50, Things, "the rest is dropped";
    LOG_TEXT: "a line that a call logs", 1_000, Characters, "the line is cut";
    MAIL: "prepared bytes of a mail", 40 * MIB, Bytes, "the mail fails";
    BATCH: "prepared bytes of the mails of a batch", 32 * MIB, Bytes, "the mails travel in several batches";
    EVENTS: "events of a webhook, or of a page of past events", 10_000, Things, "status 500, or the import stops";
    CHALLENGE: "response to a challenge", 4 * KIB, Characters, "the response is cut";
    WEBHOOK_ANSWER: "a webhook's own response (`Answer`, status 200 to 299 or 400 to 599)", 4 * KIB, Bytes, "status 500";
    CURSOR: "cursor of a page of past events", 4 * KIB, Bytes, "the import ends with this page";
    REFUSED_CAPTURES: "captures refused in one answer", 10_000, Things, "the call fails";
    CHECKS: "results of a check, or lines of a set-up", 200, Things, "the call fails";
    SENTENCE: "a reason, an error message or another sentence", 1_000, Characters, "the text is cut";
}

/// The table of `docs/reference/plugins.md`.
pub fn markdown() -> String {
    let mut text = "| What | At most | Beyond it |\n|---|---|---|\n".to_owned();
    for limit in TABLE {
        let Limit { what, beyond, .. } = limit;
        text += &format!("| {what} | {} | {beyond} |\n", limit.allowed());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{ANSWER, HTTP_BODY, LABEL, SETTINGS, STEPS, WEBHOOK_SECONDS, markdown};

    #[test]
    fn the_page_about_plugins_has_this_table() {
        let page = include_str!("../../../docs/reference/plugins.md");
        let table = markdown();
        assert!(
            page.contains(&table),
            "docs/reference/plugins.md has another table of limits than\n{table}"
        );
    }

    #[test]
    fn a_limit_says_what_it_limits_and_how_much_is_allowed() {
        assert_eq!(SETTINGS.check(100), Ok(()));
        assert_eq!(
            SETTINGS.check(101).unwrap_err(),
            "exceeds a limit: settings of a manifest: 101, at most 100"
        );
        assert_eq!(
            HTTP_BODY.check(50_331_649).unwrap_err(),
            "exceeds a limit: body of an HTTP request: 50331649 bytes, at most 48 MiB"
        );
        let all = [STEPS, LABEL, ANSWER, WEBHOOK_SECONDS].map(|limit| limit.allowed());
        assert_eq!(all, ["2,000", "200 characters", "64 MiB", "9 seconds"]);
    }
}
