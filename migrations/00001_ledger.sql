-- +goose Up

-- One row a partition: the epoch in force, and how far its log is in this ledger. Every transaction that brings orders
-- begins by moving `sequence` with a compare-and-set, so at most one drainer commits any entry.
CREATE TABLE partitions (
    partition      smallint    PRIMARY KEY,
    epoch          bigint      NOT NULL DEFAULT 0,
    namespace      text        NOT NULL DEFAULT '',
    replid         text        NOT NULL DEFAULT '',
    sequence       bigint      NOT NULL DEFAULT 0,
    orders         bigint      NOT NULL DEFAULT 0, -- running count of orders drained, over all epochs
    refused        bigint      NOT NULL DEFAULT 0, -- running count of orders refused or dead
    attempt        bigint      NOT NULL DEFAULT 0, -- attempts to bring in line; only the latest may publish
    stale          text[]      NOT NULL DEFAULT '{}', -- namespaces in Redis that are not in force, to be dropped
    rebuild_reason text,                           -- set: Redis ran ahead of the ledger and is to be rebuilt
    operator_hold  text,                           -- set: no machine may open this partition
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE products (
    id             text        PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$' AND id <> 'metrics'),
    partition      smallint    NOT NULL REFERENCES partitions,
    name           text        NOT NULL,
    price_cents    bigint      NOT NULL CHECK (price_cents >= 0),
    initial_stock  bigint      NOT NULL,
    sold           bigint      NOT NULL DEFAULT 0,
    per_user_limit bigint      NOT NULL DEFAULT 0 CHECK (per_user_limit >= 0),
    active         boolean     NOT NULL DEFAULT true,
    starts_at      timestamptz,
    ends_at        timestamptz CHECK (ends_at > starts_at),
    version        bigint      NOT NULL DEFAULT 1, -- changes by people
    change_number  bigint      NOT NULL,           -- last change given
    change_taken   bigint      NOT NULL DEFAULT 0, -- last change that the log brought back
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT products_never_oversold CHECK (sold >= 0 AND sold <= initial_stock),
    CONSTRAINT products_one_change_under_way CHECK (change_number - change_taken IN (0, 1))
);

CREATE INDEX products_change_under_way ON products (partition) WHERE change_number > change_taken;

-- No foreign key to products: the drainer holds the product's row locked while it inserts, and a check per row would
-- cost more than the insert.
CREATE TABLE orders (
    id         uuid        PRIMARY KEY,
    partition  smallint    NOT NULL,
    product_id text        NOT NULL,
    user_id    text        NOT NULL,
    quantity   bigint      NOT NULL CHECK (quantity > 0),
    status     text        NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled', 'expired', 'failed')),
    version    bigint      NOT NULL,
    epoch      bigint      NOT NULL,
    sequence   bigint      NOT NULL, -- log entry of the last change, in that epoch
    idx        integer     NOT NULL, -- place within that entry
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    reason     text                  -- why it failed
);

-- Who changed what of a product, when and why: the product as it is to be after the change, and what came of it.
CREATE TABLE stock_changes (
    product_id     text        NOT NULL REFERENCES products,
    number         bigint      NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('add', 'lower')),
    amount         bigint      NOT NULL, -- add: units to add; lower: units to be left
    at_once        boolean     NOT NULL, -- in force in the ledger before Redis takes it
    name           text        NOT NULL,
    price_cents    bigint      NOT NULL,
    per_user_limit bigint      NOT NULL,
    active         boolean     NOT NULL,
    starts_at      timestamptz,
    ends_at        timestamptz,
    actor          text        NOT NULL,
    reason         text        NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT now(),
    outcome        text        CHECK (outcome IN ('applied', 'refused')), -- null: Redis has not taken it yet
    applied        bigint,               -- units really added, negative for less
    taken_at       timestamptz,
    PRIMARY KEY (product_id, number)
);

-- Log entries that could not become rows, each with the reason. Open ones count as taken when Redis is rebuilt.
CREATE TABLE dead_letters (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   smallint    NOT NULL,
    epoch       bigint      NOT NULL,
    sequence    bigint      NOT NULL,
    idx         integer     NOT NULL,
    order_id    uuid,
    product_id  text,
    user_id     text,
    quantity    bigint,
    record      text        NOT NULL,
    reason      text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);

CREATE INDEX dead_letters_open ON dead_letters (partition) WHERE resolved_at IS NULL;
CREATE INDEX dead_letters_order ON dead_letters (order_id) WHERE order_id IS NOT NULL; -- an order that is looked up

-- +goose Down
DROP TABLE dead_letters;
DROP TABLE stock_changes;
DROP TABLE orders;
DROP TABLE products;
DROP TABLE partitions;
