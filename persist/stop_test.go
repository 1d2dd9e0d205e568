package persist_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// longestStop is what a stop may take when a server says nothing: the last drain, and leave taken of the ledger.
const longestStop = 3500 * time.Millisecond

// ownPostgres is a stack of one partition on a Postgres of its own.
func ownPostgres(t *testing.T) *stack {
	t.Helper()
	s := &stack{redisURL: devtest.Redis(t).URL(), dbURL: devtest.Postgres(t).URL()}
	s.config.Partitions = 1
	s.pool = connect(t, s.dbURL)
	_, err := persist.MigrateUp(t.Context(), s.pool)
	require.NoError(t, err)
	return s
}

func TestACommitThatHangsHoldsUpNoStop(t *testing.T) {
	s := ownPostgres(t)
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := s.pool.Exec(t.Context(), `
CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER hang AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang();`)
	require.NoError(t, err)
	_, err = n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	eventually(t, "the commit to hang", func() bool {
		return s.count(t, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`) > 0
	})
	began := time.Now()
	n.stop()
	require.Less(t, time.Since(began), longestStop)
}

func TestAFrozenPostgresHoldsUpNoStop(t *testing.T) {
	s := ownPostgres(t)
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	rows, err := s.pool.Query(t.Context(), `SELECT pid FROM pg_stat_activity WHERE application_name = 'flashsale'`)
	require.NoError(t, err)
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // it may have ended
	}
	began := time.Now()
	n.stop()
	require.Less(t, time.Since(began), longestStop)
}

func TestAStopInTheMiddleOfAQuestionStillDrains(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE stock_changes IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	eventually(t, "the leader to ask for changes under way", func() bool {
		return s.count(t, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) > 0
	})
	_, err = n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	stopped := make(chan struct{})
	go func() {
		n.stop()
		close(stopped)
	}()
	eventually(t, "the sale to end", func() bool {
		_, err := n.buy("lamp", "late", 1)
		return err != nil
	})
	require.NoError(t, tx.Rollback(context.Background()))
	<-stopped
	require.EqualValues(t, s.count(t, `SELECT sold FROM products`), s.count(t, `SELECT count(*) FROM orders`))
	require.Positive(t, s.count(t, `SELECT count(*) FROM orders WHERE user_id = 'ann'`))
}
