-- +goose Up

-- One row a reconciliation. `report` is what it found, both sides in words, as `flashsale reconcile --json` prints it.
CREATE TABLE reconcile_runs (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,             -- null: it is under way, or its process has died
    actor       text        NOT NULL,
    apply       boolean     NOT NULL,    -- it was allowed to repair
    products    text[],                  -- null = all
    outcome     text        CHECK (outcome IN ('clean', 'drift', 'unknown')),
    drift       bigint      NOT NULL DEFAULT 0, -- found and not repaired
    repaired    bigint      NOT NULL DEFAULT 0,
    report      jsonb
);

CREATE INDEX reconcile_runs_finished ON reconcile_runs (finished_at) WHERE outcome IS NOT NULL;

-- Every repair, written in the transaction that made it: what the ledger had of the order and what it has since, or what was
-- asked for in Redis.
CREATE TABLE reconcile_repairs (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     bigint      NOT NULL REFERENCES reconcile_runs,
    partition  smallint    NOT NULL,
    class      text        NOT NULL,
    product_id text,
    user_id    text,
    order_id   uuid,
    redis      text        NOT NULL,
    ledger     text        NOT NULL,
    repair     text        NOT NULL,
    before     jsonb,
    after      jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX reconcile_repairs_run ON reconcile_repairs (run_id);

-- +goose Down
DROP TABLE reconcile_repairs;
DROP TABLE reconcile_runs;
