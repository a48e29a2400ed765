-- no-transaction
-- Contacts whose address a worker has to bring into its normal form.
CREATE INDEX CONCURRENTLY IF NOT EXISTS contacts_not_addressed ON contacts (id)
    WHERE email IS DISTINCT FROM address_of;
