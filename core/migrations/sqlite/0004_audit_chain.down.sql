DROP TRIGGER audit_logs_kept;
DROP TRIGGER audit_logs_unchanged;
DROP TABLE audit_trail;
DROP TABLE audit_chains;
DROP INDEX audit_logs_unchained;
DROP INDEX audit_logs_number;
ALTER TABLE audit_logs DROP COLUMN hash;
ALTER TABLE audit_logs DROP COLUMN number;
CREATE INDEX audit_logs_tenant ON audit_logs (tenant_id, seq);
