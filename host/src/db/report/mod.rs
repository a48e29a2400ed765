//! Figures and lists across several tables.

mod dead_letter;
mod engine;
mod health;
mod metric;
mod queue;
mod story;

pub use dead_letter::{DeadLetter, dead_letter_count, dead_letters, send_dismiss};
pub use engine::{
    EngineSeen, RunsToWake, engine_note, engines_forget, engines_noted, engines_seen, runs_to_wake,
};
pub use health::{
    Beat, EngineReport, WorkersSeen, worker_beat, worker_findings, worker_remove, workers_seen,
};
pub use metric::{
    EventTally, Outcomes, Overview, metric_events, metric_journey_mails, metric_overview,
    metric_providers, metric_runs, metric_sent, metric_templates,
};
pub use queue::{Backlog, Queues, queues, runs_by_state};
pub use story::{Happening, StoryCounts, story_counts, story_since};
