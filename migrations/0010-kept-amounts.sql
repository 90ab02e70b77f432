-- How much is kept of what each tenant did: rows and about how many bytes. It is bounded, and to count it anew would read all of it.
-- An owner is a tenant; of what is nobody's, callers without a key are one, and the operator's keys are one.
CREATE TABLE kept_amounts (
  what TEXT NOT NULL,
  owner TEXT NOT NULL,
  row_count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (what, owner)
) STRICT, WITHOUT ROWID;

INSERT INTO kept_amounts
  SELECT 'events', tenant, count(*), sum(100 + ifnull(octet_length(message), 0)) FROM events GROUP BY tenant;
INSERT INTO kept_amounts
  SELECT 'endedSandboxes', tenant, count(*), sum(200 + ifnull(octet_length(log), 0) + ifnull(octet_length(message), 0))
  FROM past_sandboxes GROUP BY tenant;
INSERT INTO kept_amounts
  SELECT 'audit', CASE WHEN role = 'none' THEN '(nobody)' ELSE ifnull(tenant, '(operator)') END, count(*),
    sum(200 + octet_length(route) + ifnull(octet_length(target), 0))
  FROM audit GROUP BY 2;

CREATE TRIGGER events_are_counted AFTER INSERT ON events BEGIN
  INSERT INTO kept_amounts VALUES ('events', NEW.tenant, 1, 100 + ifnull(octet_length(NEW.message), 0))
    ON CONFLICT DO UPDATE SET row_count = row_count + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER events_are_discounted AFTER DELETE ON events BEGIN
  UPDATE kept_amounts SET row_count = row_count - 1, bytes = bytes - 100 - ifnull(octet_length(OLD.message), 0)
    WHERE what = 'events' AND owner = OLD.tenant;
END;

CREATE TRIGGER past_sandboxes_are_counted AFTER INSERT ON past_sandboxes BEGIN
  INSERT INTO kept_amounts VALUES (
    'endedSandboxes', NEW.tenant, 1, 200 + ifnull(octet_length(NEW.log), 0) + ifnull(octet_length(NEW.message), 0)
  ) ON CONFLICT DO UPDATE SET row_count = row_count + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER past_sandboxes_are_discounted AFTER DELETE ON past_sandboxes BEGIN
  UPDATE kept_amounts SET row_count = row_count - 1,
    bytes = bytes - 200 - ifnull(octet_length(OLD.log), 0) - ifnull(octet_length(OLD.message), 0)
    WHERE what = 'endedSandboxes' AND owner = OLD.tenant;
END;

CREATE TRIGGER audit_is_counted AFTER INSERT ON audit BEGIN
  INSERT INTO kept_amounts VALUES (
    'audit', CASE WHEN NEW.role = 'none' THEN '(nobody)' ELSE ifnull(NEW.tenant, '(operator)') END, 1,
    200 + octet_length(NEW.route) + ifnull(octet_length(NEW.target), 0)
  ) ON CONFLICT DO UPDATE SET row_count = row_count + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER audit_is_discounted AFTER DELETE ON audit BEGIN
  UPDATE kept_amounts SET row_count = row_count - 1,
    bytes = bytes - 200 - octet_length(OLD.route) - ifnull(octet_length(OLD.target), 0)
    WHERE what = 'audit'
      AND owner = CASE WHEN OLD.role = 'none' THEN '(nobody)' ELSE ifnull(OLD.tenant, '(operator)') END;
END;

-- The oldest of one owner are found without a look at those of others; events and the audit of tenants have such an index.
CREATE INDEX past_sandboxes_by_tenant ON past_sandboxes (tenant, ended_at);
CREATE INDEX audit_of_nobody ON audit (id) WHERE role = 'none';
CREATE INDEX audit_of_operator ON audit (id) WHERE tenant IS NULL AND role <> 'none';
