-- What servers want to see before they let the gateway in, sealed by a key that is not in this file. An empty subject
-- stands for everybody.
CREATE TABLE mcp_credentials (
    tenant_id  TEXT    NOT NULL,
    server_id  TEXT    NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    subject    TEXT    NOT NULL,
    header     TEXT    NOT NULL,
    origin     TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (server_id, subject, header)
) WITHOUT ROWID;
