-- Snapshots that the runtime has and no row knows of, as after an older database was restored, and since when that is known.
CREATE TABLE unknown_snapshots (
  id TEXT PRIMARY KEY,
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
