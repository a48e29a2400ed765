-- True while a run of the person may wait for an event. Kept on the contact's own row, so that an
-- event stored in one statement sees it whichever of the two comes first.
ALTER TABLE contacts ADD COLUMN listening boolean NOT NULL DEFAULT false;
