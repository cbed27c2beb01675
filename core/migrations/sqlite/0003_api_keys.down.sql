DROP TABLE mcp_api_keys;
