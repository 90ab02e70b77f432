-- Sandboxes, their labels for filtering, and the history of their states. Times are milliseconds since 1970, lists and maps JSON.
CREATE TABLE sandboxes (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  reason TEXT,
  message TEXT,
  -- 1 once a client has been told that this sandbox exists. A Pending row without it is dropped after a restart.
  acknowledged INTEGER NOT NULL DEFAULT 0,
  -- 1 once the sandbox counts as gone for clients although its removal is still going on.
  hidden INTEGER NOT NULL DEFAULT 0,
  image TEXT NOT NULL,
  entrypoint TEXT NOT NULL,
  -- Kept only until the sandbox runs.
  env TEXT NOT NULL,
  has_image_auth INTEGER NOT NULL DEFAULT 0,
  metadata TEXT NOT NULL,
  extensions TEXT NOT NULL,
  platform TEXT,
  limits TEXT NOT NULL,
  mounts TEXT NOT NULL,
  network_policy TEXT,
  execd_token TEXT NOT NULL,
  egress_token TEXT NOT NULL,
  address TEXT,
  generation INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_transition_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sandboxes_by_age ON sandboxes (hidden, created_at DESC, id DESC);
CREATE INDEX sandboxes_by_state ON sandboxes (hidden, state, created_at DESC, id DESC);
CREATE INDEX sandboxes_by_deadline ON sandboxes (expires_at) WHERE expires_at IS NOT NULL AND state <> 'Stopping';

CREATE TABLE labels (
  sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (key, value, sandbox_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_sandbox ON labels (sandbox_id);

CREATE TABLE transitions (
  sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  message TEXT
) STRICT;

CREATE INDEX transitions_by_sandbox ON transitions (sandbox_id, at);
