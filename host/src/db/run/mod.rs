//! Runs of journeys, their steps and waits.

mod admin;
mod lease;
mod list;
mod log;
mod once;
mod plugin_call;
mod row;
mod step;
mod task;
mod wait;
mod wake;

pub use admin::{
    StateRow, state_dismiss, state_end, state_get, state_has_rival, state_reopen, states_broken,
};
pub use lease::{
    ClaimedOne, ClaimedState, state_claim, state_claim_one, state_failed, state_failures,
    state_release, states_after_clock_change, states_fence, states_give_back, states_renew,
};
pub use list::{
    LogRow, RunCount, SkipCount, StateFilter, StateStory, journey_counts, journey_set_enabled,
    journey_skips, state_count, state_logs, state_stories, state_story, states_versions,
};
pub use log::{Log, NewSkip, log_insert, skip_insert};
pub use once::{once_get, once_insert, pass_insert, passes_since};
pub use plugin_call::{
    CallSwitch, Deaths, PluginCall, calls_died, calls_forget, calls_switch, calls_void,
};
pub use row::{
    LastEntry, NewState, OpenState, Progress, Unreached, journeys_disabled, state_exit,
    state_insert, state_last_entries, state_next_due, state_nodes, states_open, states_person,
    states_progress, states_unreached, states_waiting,
};
pub use step::{StepEnd, StepRow, steps_complete, steps_of, steps_of_runs, steps_upsert};
pub use task::{
    Overdue, RunTask, TaskCheck, TaskWanted, run_task_adopt, run_tasks, run_tasks_all,
    run_tasks_asked, run_tasks_begin, run_tasks_check, run_tasks_count, run_tasks_forget,
    run_tasks_made, run_tasks_not_made, runs_overdue, runs_without_task, runs_without_task_count,
};
pub use wait::{OpenWait, contact_listen, contact_unlisten, events_arrived, waits_open};
pub(in crate::db) use wake::{Outbox, Wakes, run_wakes_insert};
pub use wake::{RunWake, run_wakes_delete, run_wakes_take};
