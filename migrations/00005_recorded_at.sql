-- +goose Up

-- now() is when the transaction began, which may have waited for a lock since: rows are recorded when they are written.
ALTER TABLE orders ALTER COLUMN recorded_at SET DEFAULT clock_timestamp();

-- +goose Down
ALTER TABLE orders ALTER COLUMN recorded_at SET DEFAULT now();
