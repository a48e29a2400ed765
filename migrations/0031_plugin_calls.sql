-- Calls of plugins that are under way, each for one run, mail or batch of mails, and calls in which
-- workers ended. Replaces `calling` and `deaths` of journey_states, which older versions still write.
CREATE TABLE plugin_calls (
    -- The run, mail or batch.
    subject  uuid PRIMARY KEY,
    -- What the caller holds it by.
    claim    uuid NOT NULL,
    -- Plugin, method and place; null while no call is under way.
    calling  text,
    -- The call in which workers ended, and how many in a row did.
    died_in  text,
    deaths   smallint NOT NULL DEFAULT 0,
    noted_at timestamptz NOT NULL
) WITH (fillfactor = 50);
