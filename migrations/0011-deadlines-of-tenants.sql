-- Behind hundreds of overdue sandboxes of one tenant, those of others are found without reading a row of it.
DROP INDEX sandboxes_by_deadline;
CREATE INDEX sandboxes_by_deadline ON sandboxes (expires_at, tenant) WHERE expires_at IS NOT NULL AND state <> 'Stopping';
DROP INDEX sandboxes_by_idle;
CREATE INDEX sandboxes_by_idle ON sandboxes (idle_at, tenant) WHERE idle_at IS NOT NULL;
