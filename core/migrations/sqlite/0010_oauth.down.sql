-- Authorizations would be taken for headers.
DELETE FROM mcp_credentials WHERE kind <> 'header';
ALTER TABLE mcp_credentials DROP COLUMN kind;
