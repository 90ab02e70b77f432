-- Whether a fork makes sandboxes of a hidden snapshot: those of one that a death of control has interrupted are removed at the next start.
ALTER TABLE snapshots ADD COLUMN in_fork INTEGER NOT NULL DEFAULT 0;
