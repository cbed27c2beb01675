DROP TABLE mcp_server_health;
DROP TABLE mcp_capabilities;
DROP TABLE mcp_servers;
DROP TABLE tenants;
