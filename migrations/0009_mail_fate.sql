-- The fate of a mail: how long it is useful, whose sender it has, and what bounced.
ALTER TABLE email_sends
    -- Past this moment it is skipped. Null in rows of older versions: the default of its kind holds.
    ADD COLUMN not_after    timestamptz,
    -- The sender came with this one mail. Null in rows of older versions, where nobody knows.
    ADD COLUMN sender_given boolean,
    -- The sender address whose mail no provider takes until someone acts. The mail is due again
    -- when a provider takes that sender's mail.
    ADD COLUMN held         text,
    -- Of the bounce that set the status: permanent, transient or undetermined.
    ADD COLUMN bounce_type  text;

-- Failures of attempts that began before this moment say nothing: the provider was sound since.
ALTER TABLE provider_states ADD COLUMN sound_at timestamptz;

-- What a provider takes no mail of for now: everything (sender ''), or one sender's.
--   limit  a rate or an hour's quota, which ends by itself at `until`
--   rest   several failures in a row; one mail tries again at `until`
--   block  a refused key, account or sender; one mail tries again at `until`
CREATE TABLE provider_holds (
    provider   text NOT NULL,
    sender     text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('limit', 'rest', 'block')),
    reason     text NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    -- Of the provider's settings: with others the hold is over.
    print      text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (provider, sender, kind)
);

ALTER TABLE alert_rules DROP CONSTRAINT alert_rules_type_check;
ALTER TABLE alert_rules ADD CONSTRAINT alert_rules_type_check CHECK (type IN (
    'bounce_rate_exceeded', 'journey_failure_spike', 'delivery_issue', 'high_complaint_rate',
    'provider_blocked', 'queue_lag', 'no_worker', 'enrolment_spike'));
