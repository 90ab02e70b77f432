-- When a sandbox that pauses when it is idle is to be paused: so long after there was traffic, or after it began to run, which
-- counts as such. Only for one that runs and that clients know of.
ALTER TABLE sandboxes ADD COLUMN idle_at INTEGER GENERATED ALWAYS AS (
  CASE WHEN idle_action = 'pause' AND state = 'Running' AND hidden = 0
    THEN coalesce(active_at, last_transition_at) + idle_seconds * 1000 END
) VIRTUAL;

CREATE INDEX sandboxes_by_idle ON sandboxes (idle_at) WHERE idle_at IS NOT NULL;
