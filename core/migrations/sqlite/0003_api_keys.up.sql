-- The key itself is never stored: its SHA-256, and its last four characters for people.
CREATE TABLE mcp_api_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    tenant_id    TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    server_id    TEXT    REFERENCES mcp_servers (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL DEFAULT '[]',
    key_hash     BLOB    NOT NULL,
    hint         TEXT    NOT NULL,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    rotated_to   TEXT,
    revoked_at   INTEGER
);

CREATE UNIQUE INDEX mcp_api_keys_hash ON mcp_api_keys (key_hash);
CREATE INDEX mcp_api_keys_tenant ON mcp_api_keys (tenant_id, created_at);
CREATE INDEX mcp_api_keys_server ON mcp_api_keys (server_id) WHERE server_id IS NOT NULL;
