DROP TABLE mcp_idempotency_keys;
