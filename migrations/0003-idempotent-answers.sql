-- What the first request with a key was answered, so that every later one is answered the same. NULL until then, and for an answer
-- that is too large to be kept beside the sandbox that it tells of. The key is kept as its hash, so its length does not matter.
ALTER TABLE idempotency ADD COLUMN answer TEXT;

CREATE INDEX idempotency_by_sandbox ON idempotency (sandbox_id);
