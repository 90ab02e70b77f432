-- Names of their own that sandboxes are reached by. Each belongs to one port of one sandbox, for as long as that lives.
CREATE TABLE domains (
  name TEXT PRIMARY KEY,
  sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
  port INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT
) STRICT;

CREATE INDEX domains_by_sandbox ON domains (sandbox_id, name);
