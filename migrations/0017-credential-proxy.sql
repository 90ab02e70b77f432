-- Whether the requests of a sandbox may be read, so that secrets can be put into them.
ALTER TABLE sandboxes ADD COLUMN credential_proxy INTEGER NOT NULL DEFAULT 0;
