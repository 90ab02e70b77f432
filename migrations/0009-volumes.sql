-- Named volumes, and which sandbox mounts which of them where. A volume's row is there before its files, and goes after them.
CREATE TABLE volumes (
  -- Names the volume for the runtime.
  key TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  lifetime TEXT NOT NULL,
  created_by TEXT,
  created_at INTEGER NOT NULL
) STRICT;

-- One that is being removed has given its name back.
CREATE UNIQUE INDEX volumes_by_name ON volumes (tenant, name) WHERE state <> 'removing';
CREATE INDEX volumes_not_kept ON volumes (lifetime) WHERE lifetime <> 'kept';
CREATE INDEX volumes_going ON volumes (key) WHERE state = 'removing';

CREATE TABLE volume_uses (
  sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
  target TEXT NOT NULL,
  volume_key TEXT NOT NULL REFERENCES volumes (key),
  sub_path TEXT,
  read_only INTEGER NOT NULL,
  PRIMARY KEY (sandbox_id, target)
) STRICT, WITHOUT ROWID;

CREATE INDEX volume_uses_by_volume ON volume_uses (volume_key, sandbox_id);
