DROP TABLE mcp_api_key_changes;
ALTER TABLE mcp_api_keys DROP COLUMN uses;
ALTER TABLE mcp_api_keys DROP COLUMN requests_per_minute;
ALTER TABLE mcp_api_keys DROP COLUMN subject;
