ALTER TABLE tenants DROP COLUMN revision;
ALTER TABLE tenants DROP COLUMN updated_at;
ALTER TABLE tenants DROP COLUMN status;
ALTER TABLE tenants DROP COLUMN display_name;
