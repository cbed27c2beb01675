CREATE TABLE tenants (
    id         TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
);

-- Times are microseconds since 1970. `seq` keeps the order of creation. Nested settings are JSON.
CREATE TABLE mcp_servers (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    tenant_id         TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name              TEXT    NOT NULL,
    service           TEXT    NOT NULL,
    endpoint          TEXT    NOT NULL,
    transport_type    TEXT    NOT NULL,
    version           TEXT,
    display_name      TEXT,
    description       TEXT,
    tags              TEXT    NOT NULL,
    weight            INTEGER NOT NULL,
    auto_discover     INTEGER NOT NULL,
    health_check      TEXT    NOT NULL,
    configuration     TEXT    NOT NULL,
    status            TEXT    NOT NULL,
    health_status     TEXT    NOT NULL,
    last_health_check INTEGER,
    health_count      INTEGER NOT NULL DEFAULT 0,
    initialize        TEXT,
    listed_at         INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    revision          INTEGER NOT NULL,
    deleted_at        INTEGER
);

-- A name is free again once its server is removed.
CREATE UNIQUE INDEX mcp_servers_name ON mcp_servers (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX mcp_servers_status ON mcp_servers (tenant_id, status);
CREATE INDEX mcp_servers_living ON mcp_servers (seq) WHERE deleted_at IS NULL;

CREATE TABLE mcp_capabilities (
    server_id   TEXT    NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    description TEXT,
    definition  TEXT    NOT NULL,
    PRIMARY KEY (server_id, position)
) WITHOUT ROWID;

CREATE INDEX mcp_capabilities_name ON mcp_capabilities (kind, name);

-- A ring for each server: observation number `seq` stands in place `slot`, and replaces the one that stood there.
CREATE TABLE mcp_server_health (
    server_id  TEXT    NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    slot       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    latency_ms INTEGER NOT NULL,
    error      TEXT,
    PRIMARY KEY (server_id, slot)
) WITHOUT ROWID;
