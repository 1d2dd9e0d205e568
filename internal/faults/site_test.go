package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack"
	"flashsale/internal/devstack/devtest"
)

// site is what is attacked.
type site struct {
	t        testing.TB
	redis    *devtest.RedisServer
	postgres *devtest.PostgresServer
	nodes    []*node
	products []string
	pool     *pgxpool.Pool // past all links, for the verdict
}

// units of each product: little enough to sell out in a long run, so that refusals are tried too.
const unitsOfProduct = 30_000

// comeback bounds how long it may take after a fault is over until the shop sells again, and after the last one until
// everything is in the ledger.
const comeback = 30 * time.Second

// newSite starts servers and processes and puts products on sale.
func newSite(t testing.TB, nodes int, products ...string) *site {
	t.Helper()
	s := &site{t: t, redis: devtest.Redis(t, "repl-diskless-sync-delay 0"), postgres: devtest.Postgres(t), products: products}
	redis := newBridge(t, strings.TrimPrefix(s.redis.URL(), "unix://"))
	postgres := newBridge(t, s.postgres.Socket())
	for id := range nodes {
		s.nodes = append(s.nodes, newNode(t, id, redis, postgres, []string{"PARTITIONS=2", "REQUEST_TIMEOUT=1s", "ORDER_GRACE=3s"}))
	}
	for _, n := range s.nodes {
		n.start()
		devtest.Eventually(t, comeback, "the service to be ready", n.ready)
	}
	var err error
	s.pool, err = pgxpool.New(t.Context(), s.postgres.URL())
	require.NoError(t, err)
	t.Cleanup(s.pool.Close)
	for _, id := range products {
		s.product(id, unitsOfProduct)
	}
	return s
}

// ask is a command to Redis, past all links.
func (s *site) ask(command ...string) string {
	reply, err := devstack.Ask(s.t.Context(), "unix", strings.TrimPrefix(s.redis.URL(), "unix://"), command...)
	require.NoError(s.t, err, "%v", command)
	return reply
}

func (s *site) count(query string, args ...any) (n int64) {
	s.t.Helper()
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), query, args...).Scan(&n), query)
	return n
}

// quiet waits until all processes are well and nothing is on its way.
func (s *site) quiet() {
	s.t.Helper()
	for _, n := range s.nodes {
		devtest.Eventually(s.t, comeback, n.base+" to be ready after all faults", n.ready)
	}
	devtest.Eventually(s.t, comeback, "every hold to end and the ledger to have everything", func() bool {
		for _, id := range s.products { // nobody buys any more, so what Redis says is the last word
			status, product := s.nodes[0].get("/inventory/" + id)
			if status != 200 || product.number("heldStock") != 0 || s.soldInLedger(id) != product.number("soldStock") {
				return false
			}
		}
		return s.count(`SELECT count(*) FROM orders WHERE status = 'pending'`) == 0
	})
}

func (s *site) soldInLedger(product string) int64 {
	return s.count(`SELECT sold FROM products WHERE id = $1`, product)
}
