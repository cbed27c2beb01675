-- No foreign keys: the trail outlives the tenants and servers that it speaks of.
CREATE TABLE audit_logs (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    tenant_id      TEXT    NOT NULL,
    actor          TEXT    NOT NULL,
    action         TEXT    NOT NULL,
    target         TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    correlation_id TEXT,
    detail         TEXT    NOT NULL
);

CREATE INDEX audit_logs_tenant ON audit_logs (tenant_id, seq);
CREATE INDEX audit_logs_at ON audit_logs (at);
