-- +goose Up

-- A row is updated in place only where its page has room and no index knows what changes. The index on pending orders did,
-- of each hold that was confirmed, and only a rebuild read it, which reads the whole table anyway.
DROP INDEX orders_pending;
ALTER TABLE orders SET (fillfactor = 85);

-- +goose Down
ALTER TABLE orders RESET (fillfactor);
SET LOCAL statement_timeout = 0;
CREATE INDEX orders_pending ON orders (partition) WHERE status = 'pending';
