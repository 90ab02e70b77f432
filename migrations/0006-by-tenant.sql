-- Readers of one tenant's events, and of its audit, read no row of another's: else the one that has few events has all of them looked at
-- again whenever anything happens to anybody.
CREATE INDEX events_by_tenant ON events (tenant, id);
CREATE INDEX audit_by_tenant ON audit (tenant, id);
