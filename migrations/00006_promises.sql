-- +goose Up

-- It may be a ledger with millions of orders.
SET LOCAL statement_timeout = 0;

-- Since when somebody has been told that the order of a letter has failed: whoever was told so may have tried again, so no
-- machine brings the order back. Of the letters from before this step nobody knows.
ALTER TABLE dead_letters ADD COLUMN told_failed_at timestamptz;
UPDATE dead_letters SET told_failed_at = now() WHERE resolved_at IS NULL AND order_id IS NOT NULL;

-- Letters of orders that were sold at once had no record where the ledger lacked the product.
UPDATE dead_letters
   SET record = concat_ws(',', 'c', 1, quantity, ms, ms, 0, sequence, 0, product_id || '|' || user_id)
  FROM (SELECT id AS letter, ('x' || left(replace(order_id::text, '-', ''), 12))::bit(48)::bigint AS ms FROM dead_letters) made
 WHERE letter = id AND record = '' AND quantity IS NOT NULL AND order_id IS NOT NULL AND product_id IS NOT NULL AND user_id IS NOT NULL;

-- Orders that Redis granted and the ledger refused, for more was sold than there is. Where nobody waited for the ledger, the
-- buyer had been told yes by then: a promise is broken, and open until somebody has dealt with it.
CREATE TABLE refusals (
    order_id       uuid        PRIMARY KEY,
    partition      smallint    NOT NULL,
    product_id     text        NOT NULL,
    user_id        text        NOT NULL,
    quantity       bigint      NOT NULL,
    reason         text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    answered_no_at timestamptz, -- the refusal was the answer to the order: nothing was promised
    resolved_at    timestamptz
);

CREATE INDEX refusals_open ON refusals (partition) WHERE resolved_at IS NULL AND answered_no_at IS NULL;

INSERT INTO refusals (order_id, partition, product_id, user_id, quantity, reason, created_at)
SELECT id, partition, product_id, user_id, quantity, reason, updated_at
  FROM orders
 WHERE status = 'failed' AND reason = 'the ledger refused it: more was sold than there is stock';

-- +goose Down
DROP TABLE refusals;
ALTER TABLE dead_letters DROP COLUMN told_failed_at;
