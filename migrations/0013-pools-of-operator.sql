-- Whether it was the operator who said how large a pool is: then no quota of its tenant makes it smaller.
ALTER TABLE pools ADD COLUMN by_operator INTEGER NOT NULL DEFAULT 0;
-- So far it was not written down; what the operator makes for itself is of this tenant.
UPDATE pools SET by_operator = 1 WHERE tenant = 'default';
