-- `number` counts the rows of a tenant from 1 without gaps; `hash` covers the row and the hash of the row before.
-- Both are NULL only in rows older than the chain, until the program that brought the tables here has chained them.
ALTER TABLE audit_logs ADD COLUMN number INTEGER;
ALTER TABLE audit_logs ADD COLUMN hash BLOB;

DROP INDEX audit_logs_tenant;
CREATE UNIQUE INDEX audit_logs_number ON audit_logs (tenant_id, number);
CREATE INDEX audit_logs_unchained ON audit_logs (seq) WHERE hash IS NULL;

-- Where the rows of a tenant begin and end, signed. `first_hash` is that of the row before the first that is kept.
CREATE TABLE audit_chains (
    tenant_id    TEXT    NOT NULL PRIMARY KEY,
    ordinal      INTEGER NOT NULL UNIQUE,
    first_number INTEGER NOT NULL,
    first_hash   BLOB    NOT NULL,
    last_number  INTEGER NOT NULL,
    last_hash    BLOB    NOT NULL,
    hold         INTEGER NOT NULL,
    key_id       TEXT    NOT NULL,
    signature    BLOB    NOT NULL
) WITHOUT ROWID;

-- One row: how many chains there are, signed.
CREATE TABLE audit_trail (
    id        INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    chains    INTEGER NOT NULL,
    key_id    TEXT    NOT NULL,
    signature BLOB    NOT NULL
);

CREATE TRIGGER audit_logs_unchanged BEFORE UPDATE ON audit_logs WHEN OLD.hash IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'rows of the audit trail are never changed');
END;

-- Only what retention has put before the beginning of a chain goes, and nothing of a tenant on legal hold.
CREATE TRIGGER audit_logs_kept BEFORE DELETE ON audit_logs WHEN NOT EXISTS (
    SELECT 1 FROM audit_chains
    WHERE tenant_id = OLD.tenant_id AND hold = 0 AND OLD.number < first_number
)
BEGIN
    SELECT RAISE(ABORT, 'rows of the audit trail are removed by retention alone');
END;
