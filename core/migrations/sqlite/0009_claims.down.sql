DROP TABLE mcp_claims;
