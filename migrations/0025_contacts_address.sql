-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS contacts_address ON contacts (address)
    WHERE address IS NOT NULL;
