-- File systems of sandboxes as they were at a moment, from which further ones are made. They outlive their sandbox.
CREATE TABLE snapshots (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  -- The sandbox that it was taken of.
  sandbox_id TEXT NOT NULL,
  name TEXT,
  metadata TEXT NOT NULL,
  -- Creating, Ready, Failed, Deleting
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT,
  -- 1 for one that a fork has made for itself: no client sees it, and it goes with the last sandbox that was made from it.
  hidden INTEGER NOT NULL,
  -- The image that its sandbox was made from, by whatever way, and the snapshot, if that came first.
  image TEXT NOT NULL,
  parent TEXT,
  size_bytes INTEGER,
  -- Of its content; NULL until it has been read.
  digest TEXT,
  created_by TEXT,
  created_at INTEGER NOT NULL,
  last_transition_at INTEGER NOT NULL
) STRICT;

CREATE INDEX snapshots_by_age ON snapshots (hidden, created_at DESC, id DESC);
CREATE INDEX snapshots_by_tenant ON snapshots (tenant, hidden, created_at DESC, id DESC);
CREATE INDEX snapshots_by_state ON snapshots (state);

-- The snapshot that a sandbox was made from: it stays for as long as there is the sandbox.
ALTER TABLE sandboxes ADD COLUMN snapshot_id TEXT;
CREATE INDEX sandboxes_by_snapshot ON sandboxes (snapshot_id) WHERE snapshot_id IS NOT NULL;
