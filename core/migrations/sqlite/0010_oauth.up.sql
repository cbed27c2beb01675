-- Where a credential comes from: `header` if somebody set it, `oauth` if somebody authorized the gateway.
ALTER TABLE mcp_credentials ADD COLUMN kind TEXT NOT NULL DEFAULT 'header';
