-- One row for each capture and product. Rows without a product are new, or an older version's; the
-- worker addresses them before it tells anybody.
ALTER TABLE analytics_outbox
    ADD COLUMN product    text,
    -- What the product knows the capture by; null: the row's own id.
    ADD COLUMN capture_id uuid;
ALTER TABLE analytics_given_up
    ADD COLUMN product    text,
    ADD COLUMN capture_id uuid;

-- Products that take nothing until somebody acts: a revoked key, a used-up quota. Their captures are
-- kept; one is told at `until` to try.
CREATE TABLE analytics_holds (
    product text PRIMARY KEY,
    reason  text NOT NULL,
    since   timestamptz NOT NULL,
    until   timestamptz NOT NULL
);

-- How often a mail was opened, or a link followed, beyond what is kept one by one.
CREATE TABLE further_visits (
    send_id uuid NOT NULL REFERENCES email_sends (id) ON DELETE CASCADE,
    -- `opened` or `clicked`
    kind    text NOT NULL,
    -- The nil id for the image.
    link_id uuid NOT NULL,
    count   bigint NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (send_id, kind, link_id)
);
