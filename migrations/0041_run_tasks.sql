-- Which task continues a run, for an engine outside the database that has one for each run.
CREATE TABLE run_tasks (
    -- Without a reference: the engine still has the task of a run that was deleted.
    run_id     uuid PRIMARY KEY,
    -- Null while the task is being made.
    task_id    text,
    -- When the engine was asked last to make it or to wake it.
    asked_at   timestamptz NOT NULL,
    -- When the engine said last how it is.
    checked_at timestamptz NOT NULL
);
CREATE INDEX run_tasks_checked ON run_tasks (checked_at);
