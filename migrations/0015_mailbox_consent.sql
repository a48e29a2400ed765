-- What the reader of a mailbox wants, whoever has its address. A mail goes out only if both this
-- and the contact's own preferences allow it.
CREATE TABLE mailbox_consents (
    -- The normalised address; where only a keyed hash of it may be kept, '#' and the hash in hex.
    mailbox          text PRIMARY KEY,
    unsubscribed_all boolean NOT NULL DEFAULT false,
    -- Category to whether it is wanted; an absent category counts as wanted.
    categories       jsonb NOT NULL DEFAULT '{}',
    updated_at       timestamptz NOT NULL
);

-- Every opt-in and opt-out: whose, what, when, from where and on what wording. No foreign key: the
-- proof outlives the contact, without its name.
CREATE TABLE consent_changes (
    id         uuid PRIMARY KEY,
    contact_id uuid,
    -- As in mailbox_consents.
    mailbox    text,
    -- Null stands for everything.
    category   text,
    subscribed boolean NOT NULL,
    source     text NOT NULL,
    wording    text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX consent_changes_contact ON consent_changes (contact_id, created_at DESC)
    WHERE contact_id IS NOT NULL;
CREATE INDEX consent_changes_mailbox ON consent_changes (mailbox, created_at DESC)
    WHERE mailbox IS NOT NULL;

-- Equal to updated_at where the mailbox has what the row says. Versions that know no mailboxes
-- leave it behind; a worker copies their rows.
ALTER TABLE email_preferences ADD COLUMN mailbox_at timestamptz;

-- The normalised address, so that a suppression is found although the key of its hash was changed.
-- Null for rows of versions before, until a worker fills it in, and for erased people.
ALTER TABLE suppressions ADD COLUMN address text;
CREATE INDEX suppressions_address ON suppressions (address) WHERE address IS NOT NULL;
