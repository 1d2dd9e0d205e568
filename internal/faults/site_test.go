package faults

import (
	"context"
	"net/http"
	"strconv"
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
	redis    *store // the primary
	standby  *store // its replica
	postgres *ledger
	nodes    []*node
	products []string
	pool     *pgxpool.Pool // past all links, for the verdict
}

// place starts what lives there: here, or on a machine of a network of the test's own.
type place func(start func() error) error

func here(start func() error) error { return start() }

// store is a Redis, with an address over TCP for its replica.
type store struct {
	*devtest.RedisServer
	at         place
	host, port string
	bridge     *bridge // for links to lead to; nil on a machine of its own
}

func newStore(t testing.TB, settings ...string) *store {
	t.Helper()
	r := newStoreAt(t, here, "127.0.0.1", strconv.Itoa(devtest.FreePort(t)), settings...)
	r.bridge = newBridge(t, socketOf(r.URL()))
	return r
}

func newStoreAt(t testing.TB, at place, host, port string, settings ...string) *store {
	t.Helper()
	r := &store{at: at, host: host, port: port}
	settings = append([]string{"bind " + host, "port " + port, "repl-diskless-sync-delay 0", "appendfsync always"}, settings...)
	require.NoError(t, at(func() error {
		r.RedisServer = devtest.Redis(t, settings...)
		return nil
	}))
	return r
}

// Restart starts the server where it lives.
func (r *store) Restart(ctx context.Context) error {
	return r.at(func() error { return r.RedisServer.Restart(ctx) })
}

// ledger is a Postgres.
type ledger struct {
	*devtest.PostgresServer
	at place
}

func newLedger(t testing.TB, at place, settings ...string) *ledger {
	t.Helper()
	l := &ledger{at: at}
	require.NoError(t, at(func() error {
		l.PostgresServer = devtest.Postgres(t, settings...)
		return nil
	}))
	return l
}

// Restart starts the server where it lives.
func (l *ledger) Restart(ctx context.Context) error {
	return l.at(func() error { return l.PostgresServer.Restart(ctx) })
}

func socketOf(url string) string { return strings.TrimPrefix(url, "unix://") }

// ask is a command to the server itself, past all links.
func (r *store) ask(t testing.TB, command ...string) string {
	reply, err := devstack.Ask(t.Context(), "unix", socketOf(r.URL()), command...)
	require.NoError(t, err, "%v", command)
	return reply
}

// follow makes the server a replica of another.
func (r *store) follow(t testing.TB, primary *store) {
	r.ask(t, "REPLICAOF", primary.host, primary.port)
}

// units of each product: little enough to sell out in a long run, so that refusals are tried too.
const unitsOfProduct = 30_000

// comeback bounds how long it may take after a fault is over until the shop sells again, and after the last one until
// everything is in the ledger.
const comeback = 30 * time.Second

// newSite starts servers and processes and puts products on sale.
func newSite(t testing.TB, nodes int, products ...string) *site {
	t.Helper()
	return newSiteOn(t, nodes, newStore(t), products...)
}

// newSiteOn is newSite on a Redis with settings of its own.
func newSiteOn(t testing.TB, nodes int, redis *store, products ...string) *site {
	t.Helper()
	s := &site{t: t, redis: redis, standby: newStore(t), postgres: newLedger(t, here), products: products}
	postgres := newBridge(t, s.postgres.Socket())
	for id := range nodes {
		s.nodes = append(s.nodes, newLinkedNode(t, id, s.redis.bridge, postgres))
	}
	s.open()
	return s
}

// open has the replica follow and the processes serve, and puts the products on sale.
func (s *site) open() {
	s.t.Helper()
	s.standby.follow(s.t, s.redis)
	s.awaitReplica()
	for _, n := range s.nodes {
		n.start()
		devtest.Eventually(s.t, comeback, "the service to be ready", n.ready)
	}
	var err error
	s.pool, err = pgxpool.New(s.t.Context(), s.postgres.URL())
	require.NoError(s.t, err)
	s.t.Cleanup(s.pool.Close)
	for _, id := range s.products {
		s.product(id, unitsOfProduct)
	}
}

func (s *site) count(query string, args ...any) (n int64) {
	s.t.Helper()
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), query, args...).Scan(&n), query)
	return n
}

// sell has a crowd buy as long as something is done to the site.
func (s *site) sell(t testing.TB, seed uint64, during func(*crowd)) *crowd {
	t.Helper()
	c := &crowd{site: s}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx, seed)
	}()
	defer func() {
		end()
		<-done
	}()
	during(c)
	return c
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
			if status != http.StatusOK || product.number("heldStock") != 0 || s.soldInLedger(id) != product.number("soldStock") {
				return false
			}
		}
		return s.count(`SELECT count(*) FROM orders WHERE status = 'pending'`) == 0
	})
}

func (s *site) soldInLedger(product string) int64 {
	return s.count(`SELECT sold FROM products WHERE id = $1`, product)
}
