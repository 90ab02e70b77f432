-- How large each volume was found to be, and when, for the quotas of tenants.
ALTER TABLE volumes ADD COLUMN size_bytes INTEGER;
ALTER TABLE volumes ADD COLUMN sized_at INTEGER;
