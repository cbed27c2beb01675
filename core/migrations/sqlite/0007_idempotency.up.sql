-- Creations that are answered again in the same words: by tenant, principal and the key that the client chose.
CREATE TABLE mcp_idempotency_keys (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    subject   TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    request   TEXT    NOT NULL,
    server_id TEXT    NOT NULL,
    answer    TEXT    NOT NULL,
    at        INTEGER NOT NULL
);

CREATE UNIQUE INDEX mcp_idempotency_keys_key ON mcp_idempotency_keys (tenant_id, subject, key);
CREATE INDEX mcp_idempotency_keys_tenant ON mcp_idempotency_keys (tenant_id, seq);
CREATE INDEX mcp_idempotency_keys_at ON mcp_idempotency_keys (at);
