-- One row: which database this is, how many changes it has had, and how many records of each kind it has. What was acknowledged is
-- also recorded in a file beside the database, so that a start finds out what is missing. `sealed` is 0 until the rows of versions
-- without digests have theirs.
CREATE TABLE mcp_state (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    database_id TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    servers     INTEGER NOT NULL,
    keys        INTEGER NOT NULL,
    tenants     INTEGER NOT NULL,
    credentials INTEGER NOT NULL,
    sealed      INTEGER NOT NULL
);

INSERT INTO mcp_state (id, database_id, revision, servers, keys, tenants, credentials, sealed)
SELECT 1, lower(hex(randomblob(16))), 0,
    (SELECT count(*) FROM mcp_servers WHERE deleted_at IS NULL),
    (SELECT count(*) FROM mcp_api_keys),
    (SELECT count(*) FROM tenants),
    (SELECT count(*) FROM mcp_credentials), 0;

CREATE TRIGGER mcp_state_server_added AFTER INSERT ON mcp_servers WHEN NEW.deleted_at IS NULL
BEGIN
    UPDATE mcp_state SET servers = servers + 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_server_changed AFTER UPDATE OF deleted_at ON mcp_servers
WHEN (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL)
BEGIN
    UPDATE mcp_state SET servers = servers + CASE WHEN NEW.deleted_at IS NULL THEN 1 ELSE -1 END WHERE id = 1;
END;

CREATE TRIGGER mcp_state_server_removed AFTER DELETE ON mcp_servers WHEN OLD.deleted_at IS NULL
BEGIN
    UPDATE mcp_state SET servers = servers - 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_key_added AFTER INSERT ON mcp_api_keys
BEGIN
    UPDATE mcp_state SET keys = keys + 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_key_removed AFTER DELETE ON mcp_api_keys
BEGIN
    UPDATE mcp_state SET keys = keys - 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_tenant_added AFTER INSERT ON tenants
BEGIN
    UPDATE mcp_state SET tenants = tenants + 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_tenant_removed AFTER DELETE ON tenants
BEGIN
    UPDATE mcp_state SET tenants = tenants - 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_credential_added AFTER INSERT ON mcp_credentials
BEGIN
    UPDATE mcp_state SET credentials = credentials + 1 WHERE id = 1;
END;

CREATE TRIGGER mcp_state_credential_removed AFTER DELETE ON mcp_credentials
BEGIN
    UPDATE mcp_state SET credentials = credentials - 1 WHERE id = 1;
END;

-- The digest of what a row says: a disk that changes a bit of it is found out. A row that is changed has none until the transaction
-- that changed it makes it anew. What the gateway itself observes and counts is not in it.
ALTER TABLE mcp_servers ADD COLUMN digest BLOB;
ALTER TABLE mcp_api_keys ADD COLUMN digest BLOB;
ALTER TABLE tenants ADD COLUMN digest BLOB;
ALTER TABLE mcp_credentials ADD COLUMN digest BLOB;
ALTER TABLE mcp_claims ADD COLUMN digest BLOB;
ALTER TABLE mcp_capabilities ADD COLUMN digest BLOB;

CREATE INDEX mcp_servers_unsealed ON mcp_servers (id) WHERE digest IS NULL;
CREATE TRIGGER mcp_servers_changed AFTER UPDATE OF id, tenant_id, name, service, endpoint, transport_type, version, display_name, description, tags, weight, auto_discover, health_check, configuration, initialize, status, created_at, updated_at, revision, deleted_at ON mcp_servers
BEGIN
    UPDATE mcp_servers SET digest = NULL WHERE id = NEW.id;
END;

CREATE INDEX mcp_api_keys_unsealed ON mcp_api_keys (id) WHERE digest IS NULL;
CREATE TRIGGER mcp_api_keys_changed AFTER UPDATE OF id, tenant_id, server_id, name, subject, role, scopes, key_hash, hint, requests_per_minute, created_by, created_at, expires_at, rotated_to, revoked_at ON mcp_api_keys
BEGIN
    UPDATE mcp_api_keys SET digest = NULL WHERE id = NEW.id;
END;

CREATE INDEX tenants_unsealed ON tenants (id) WHERE digest IS NULL;
CREATE TRIGGER tenants_changed AFTER UPDATE OF id, display_name, status, created_at, updated_at, revision ON tenants
BEGIN
    UPDATE tenants SET digest = NULL WHERE id = NEW.id;
END;

CREATE INDEX mcp_credentials_unsealed ON mcp_credentials (server_id, subject, header) WHERE digest IS NULL;
CREATE TRIGGER mcp_credentials_changed AFTER UPDATE OF tenant_id, server_id, subject, header, origin, key_id, sealed, created_by, created_at, kind ON mcp_credentials
BEGIN
    UPDATE mcp_credentials SET digest = NULL WHERE server_id = NEW.server_id AND subject = NEW.subject AND header = NEW.header;
END;

CREATE INDEX mcp_claims_unsealed ON mcp_claims (tenant_id, uri) WHERE digest IS NULL;
CREATE TRIGGER mcp_claims_changed AFTER UPDATE OF tenant_id, uri, service ON mcp_claims
BEGIN
    UPDATE mcp_claims SET digest = NULL WHERE tenant_id = NEW.tenant_id AND uri = NEW.uri;
END;
