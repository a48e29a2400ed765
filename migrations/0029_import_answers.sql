-- What an import tells of its file: what it is called, and which columns are not used.
ALTER TABLE import_jobs
    ADD COLUMN file_name text,
    ADD COLUMN unused text[] NOT NULL DEFAULT '{}';
