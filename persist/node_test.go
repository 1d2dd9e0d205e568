package persist_test

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/persisttest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// patience is how long a test waits for what must happen by itself.
const patience = 20 * time.Second

// node is one flashsale process without its HTTP front end.
type node struct {
	*persisttest.Process
	store *persist.Store
	stop  func() // as at SIGTERM
}

// stack is a Redis and a ledger that nodes share.
type stack struct {
	redisURL string
	dbURL    string
	pool     *pgxpool.Pool // for looking into the ledger
	config   engine.Config
	keeper   persist.KeeperConfig
}

func newLedger(t testing.TB) string { return persisttest.Ledger(t) }

func newStack(t testing.TB, redisURL string) *stack {
	t.Helper()
	s := &stack{redisURL: redisURL, dbURL: newLedger(t), config: engine.Config{Partitions: 2, Timeout: 5 * time.Second}}
	s.pool = connect(t, s.dbURL)
	return s
}

func connect(t testing.TB, url string) *pgxpool.Pool { return persisttest.Connect(t, url, 2) }

func client(t testing.TB, url string) rueidis.Client { return persisttest.Client(t, url) }

// start runs a node until the test ends or its stop is called, and waits until it takes orders.
func (s *stack) start(t testing.TB) *node {
	t.Helper()
	n := s.startShut(t)
	n.AwaitOpen(t)
	return n
}

// startShut runs a node without waiting for anything.
func (s *stack) startShut(t testing.TB) *node {
	t.Helper()
	p := persisttest.Start(t, s.redisURL, s.dbURL, s.config, s.keeper)
	return &node{Process: p, store: p.Store, stop: p.Stop}
}

// eventually polls until a condition holds, and fails the test if it does not within patience.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	devtest.Eventually(t, patience, what, holds)
}

func (n *node) product(t testing.TB, id string, units int64, terms engine.Terms) engine.Product {
	t.Helper()
	return n.Product(t, id, units, terms)
}

func (n *node) buy(product, user string, quantity int64) (*engine.Reservation, error) {
	r, now := n.Reservation(product, user, quantity)
	return r, n.Reserve(r, now)
}

// count asks the ledger for a number.
func (s *stack) count(t testing.TB, query string, args ...any) int64 {
	t.Helper()
	var n int64
	require.NoError(t, s.pool.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

var onSale = engine.Terms{Active: true}
