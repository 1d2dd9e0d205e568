-- +goose Up

-- A ledger that has sold millions takes longer for its indexes than any statement of the service may.
SET LOCAL statement_timeout = 0;

-- What an order was called by its buyer's client and what it asked for, so that a rebuild of Redis knows a repeated
-- request again. `recorded_at` is when the ledger wrote the row's last change, by the clock of Postgres; rows from before
-- this step have its time. No running number: it says how many orders are ahead of one that is not here yet.
ALTER TABLE orders
    ADD COLUMN idempotency_key     text,
    ADD COLUMN idempotency_request text,
    ADD COLUMN recorded_at         timestamptz NOT NULL DEFAULT now();

-- The longest hold that a buyer may ask for; 0 = only the setting bounds it.
ALTER TABLE products
    ADD COLUMN hold_seconds bigint NOT NULL DEFAULT 0 CHECK (hold_seconds BETWEEN 0 AND 86400);
ALTER TABLE stock_changes
    ADD COLUMN hold_seconds bigint NOT NULL DEFAULT 0 CHECK (hold_seconds BETWEEN 0 AND 86400);

-- How many orders there are of each state, moved by every drain by what really changed. An order that has only dead
-- letters counts as failed. `logged_at` is the time of the last log entry here, by the clock of Redis: whatever the ledger
-- lacks was logged later.
ALTER TABLE partitions
    ADD COLUMN pending_orders   bigint NOT NULL DEFAULT 0,
    ADD COLUMN confirmed_orders bigint NOT NULL DEFAULT 0,
    ADD COLUMN cancelled_orders bigint NOT NULL DEFAULT 0,
    ADD COLUMN expired_orders   bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed_orders    bigint NOT NULL DEFAULT 0,
    ADD COLUMN logged_at        timestamptz NOT NULL DEFAULT now();

UPDATE partitions p
   SET pending_orders = c.pending, confirmed_orders = c.confirmed, cancelled_orders = c.cancelled,
       expired_orders = c.expired, failed_orders = c.failed
  FROM (SELECT partition,
               count(*) FILTER (WHERE status = 'pending')   AS pending,
               count(*) FILTER (WHERE status = 'confirmed') AS confirmed,
               count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE status = 'expired')   AS expired,
               count(*) FILTER (WHERE status = 'failed')    AS failed
          FROM (SELECT partition, status FROM orders
                UNION ALL
                SELECT partition, 'failed'
                  FROM (SELECT DISTINCT partition, order_id FROM dead_letters WHERE order_id IS NOT NULL) d
                 WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = d.order_id)) s
         GROUP BY partition) c
 WHERE c.partition = p.partition;

CREATE INDEX orders_of_user ON orders (user_id, created_at, id);
CREATE INDEX orders_pending ON orders (partition) WHERE status = 'pending';
CREATE INDEX orders_recent_keys ON orders (partition, created_at) WHERE idempotency_key IS NOT NULL;
CREATE INDEX dead_letters_of_user ON dead_letters (user_id) WHERE order_id IS NOT NULL;

-- Redis has the terms of products in another form from here on: every partition is drained, then written anew.
UPDATE partitions SET rebuild_reason = coalesce(rebuild_reason, 'the form of what Redis holds has changed') WHERE epoch > 0;

-- +goose Down
DROP INDEX dead_letters_of_user;
DROP INDEX orders_recent_keys;
DROP INDEX orders_pending;
DROP INDEX orders_of_user;
ALTER TABLE partitions
    DROP COLUMN pending_orders, DROP COLUMN confirmed_orders, DROP COLUMN cancelled_orders,
    DROP COLUMN expired_orders, DROP COLUMN failed_orders, DROP COLUMN logged_at;
ALTER TABLE stock_changes DROP COLUMN hold_seconds;
ALTER TABLE products DROP COLUMN hold_seconds;
ALTER TABLE orders DROP COLUMN idempotency_key, DROP COLUMN idempotency_request, DROP COLUMN recorded_at;
UPDATE partitions SET rebuild_reason = coalesce(rebuild_reason, 'the form of what Redis holds has changed') WHERE epoch > 0;
