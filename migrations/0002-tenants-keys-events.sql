-- Who owns what, who may do what, and what happened.

ALTER TABLE sandboxes ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
-- The name of the key that made it; NULL when no key was asked for.
ALTER TABLE sandboxes ADD COLUMN created_by TEXT;
-- Traffic renews to this many seconds from then (extension access.renew.extend.seconds).
ALTER TABLE sandboxes ADD COLUMN renew_seconds INTEGER;
-- What happens when nothing has asked for it for so long: 'pause' or NULL.
ALTER TABLE sandboxes ADD COLUMN idle_seconds INTEGER;
ALTER TABLE sandboxes ADD COLUMN idle_action TEXT;
-- When traffic was last seen; NULL until there was some.
ALTER TABLE sandboxes ADD COLUMN active_at INTEGER;
ALTER TABLE sandboxes ADD COLUMN template_id TEXT;
-- The pool that made it. While nobody has claimed it, it is warm, and hidden.
ALTER TABLE sandboxes ADD COLUMN pool TEXT;
ALTER TABLE sandboxes ADD COLUMN warm INTEGER NOT NULL DEFAULT 0;
-- Of the shape that the pool had then: one of another shape is not handed out any more.
ALTER TABLE sandboxes ADD COLUMN pool_revision TEXT;

-- Whatever runs is known to clients; so far that was written down only for those that were still Pending.
UPDATE sandboxes SET acknowledged = 1 WHERE state <> 'Pending';

CREATE INDEX sandboxes_by_tenant ON sandboxes (tenant, hidden, created_at DESC, id DESC);
CREATE INDEX sandboxes_by_pool ON sandboxes (pool, warm) WHERE pool IS NOT NULL;

-- Everything that happened, in order. It outlives the sandbox, and is the source of the event stream: its id is the cursor.
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  sandbox_id TEXT NOT NULL,
  -- created, state, renewed, metadata, deleted, policy, claimed
  type TEXT NOT NULL,
  state TEXT,
  reason TEXT,
  message TEXT
) STRICT;

CREATE INDEX events_by_sandbox ON events (sandbox_id, id);
CREATE INDEX events_by_time ON events (at);

INSERT INTO events (at, tenant, sandbox_id, type, state, reason, message)
  SELECT at, 'default', sandbox_id, 'state', state, reason, message FROM transitions ORDER BY rowid;
DROP TABLE transitions;

-- Sandboxes that are gone, for as long as their events and logs are kept.
CREATE TABLE past_sandboxes (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  image TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  reason TEXT,
  message TEXT,
  -- The end of what the entrypoint wrote, compressed.
  log BLOB
) STRICT;

CREATE INDEX past_sandboxes_by_end ON past_sandboxes (ended_at);

-- Only a hash of a key is kept: keys are random, so a fast hash cannot be searched.
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  hash TEXT NOT NULL UNIQUE,
  -- admin, member, read-only
  role TEXT NOT NULL,
  -- NULL: of the operator, for every tenant.
  tenant TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT,
  expires_at INTEGER,
  revoked_at INTEGER,
  last_used_at INTEGER
) STRICT;

-- What an admin has set for a tenant; those of the configuration stand below them.
CREATE TABLE quotas (
  tenant TEXT PRIMARY KEY,
  limits TEXT NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;

-- One row for every change that a client asked for, refused ones too.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  -- The name of the key, or how else the caller was known.
  actor TEXT NOT NULL,
  role TEXT NOT NULL,
  tenant TEXT,
  client TEXT,
  method TEXT NOT NULL,
  route TEXT NOT NULL,
  target TEXT,
  status INTEGER NOT NULL,
  code TEXT
) STRICT;

CREATE INDEX audit_by_time ON audit (at);

-- Creates that were sent with an Idempotency-Key, so that the same one does not make a second sandbox.
CREATE TABLE idempotency (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  -- Of the body, so that another request under the same key is refused.
  request_hash TEXT NOT NULL,
  sandbox_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_time ON idempotency (created_at);

CREATE TABLE templates (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  -- What was asked for, whole.
  request TEXT NOT NULL,
  metadata TEXT NOT NULL,
  -- Pending, Building, Succeeded, Failed
  phase TEXT NOT NULL,
  message TEXT,
  -- What create by this template starts from, once it is there.
  image TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX templates_by_age ON templates (tenant, created_at DESC, id DESC);

CREATE TABLE pools (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  -- The shape of its sandboxes, as it was given.
  template TEXT NOT NULL,
  capacity TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
