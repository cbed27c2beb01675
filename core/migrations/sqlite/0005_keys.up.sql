-- `subject` is what the key's principal is called; a key that replaces another keeps it. Usage is counted in batches.
ALTER TABLE mcp_api_keys ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE mcp_api_keys ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE mcp_api_keys ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;

-- Counts changes of keys, so that whoever keeps them in memory can ask whether there are any.
CREATE TABLE mcp_api_key_changes (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
);
INSERT INTO mcp_api_key_changes (id, revision) VALUES (1, 0);
