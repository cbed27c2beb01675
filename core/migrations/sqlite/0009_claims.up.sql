-- Resources that a service had before an older one offered them, too: the older one does not get them.
CREATE TABLE mcp_claims (
    tenant_id TEXT NOT NULL,
    uri       TEXT NOT NULL,
    service   TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uri)
) WITHOUT ROWID;
