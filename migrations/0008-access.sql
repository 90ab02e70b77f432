-- Who may reach a sandbox, and whether a request wakes it.

-- What a request has to bring along; NULL where everybody may come who knows the address.
ALTER TABLE sandboxes ADD COLUMN access_token TEXT;
-- never, idle or always; NULL: as the configuration says.
ALTER TABLE sandboxes ADD COLUMN wake TEXT;

-- Links that open one port of one sandbox. Only a hash of what they carry is kept; that of one that opens once is replaced by its
-- session's when it is used.
CREATE TABLE shares (
  id TEXT PRIMARY KEY,
  sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
  name TEXT,
  port INTEGER NOT NULL,
  hash TEXT NOT NULL,
  -- NULL: every path, every method.
  path TEXT,
  methods TEXT,
  once INTEGER NOT NULL DEFAULT 0,
  used_at INTEGER,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT
) STRICT;

CREATE INDEX shares_by_sandbox ON shares (sandbox_id, created_at);
