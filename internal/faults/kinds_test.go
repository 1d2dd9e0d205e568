package faults

import (
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
	"flashsale/internal/pause"
)

// kind is a way to break the site. inject breaks it and returns what mends it again.
type kind struct {
	name   string
	costs  loss          // what it may cost
	hits   part          // what no other fault may hit at the same time
	lasts  time.Duration // at the most; 0 = mostFault
	inject func(s *site, rng *rand.Rand) (heal func())
}

// part is what a fault hits: two faults at once hit different parts.
type part uint

const (
	redisServer part = 1 << iota
	postgresServer
	aProcess
	wayToRedis
	wayToPostgres
	wayToReplica
)

// serverKinds are ways to break servers and processes. A plan draws from those that cost no more than it allows.
var serverKinds = []kind{
	{name: "kill redis", hits: redisServer, inject: killRedis},
	{name: "freeze redis", hits: redisServer, inject: freezeRedis},
	{name: "redis out of memory", hits: redisServer, inject: exhaustRedis},
	{name: "kill postgres", hits: postgresServer, inject: killPostgres},
	{name: "freeze postgres", hits: postgresServer, inject: freezePostgres},
	{name: "kill a process", hits: aProcess, inject: killNode},
	{name: "stop a process", hits: aProcess, inject: stopNode},
	{name: "freeze a process", hits: aProcess, inject: freezeNode},
	{name: "promote the replica", hits: redisServer | wayToRedis | wayToReplica, costs: behind, inject: promote},
	{name: "empty redis", hits: redisServer, costs: all, inject: emptyRedis},
	{name: "kill redis and tear its file", hits: redisServer, costs: all, inject: tearRedis},
}

// linkKinds are ways to break the links of a process to its stores.
var linkKinds = []kind{
	{name: "cut a process from redis", hits: wayToRedis, inject: cutRedis},
	{name: "cut a process from postgres", hits: wayToPostgres, inject: cutPostgres},
	{name: "drop redis' replies", hits: wayToRedis, inject: poison(toRedis, `{"name":"drop","type":"timeout","stream":"downstream","attributes":{"timeout":300}}`)},
	{name: "drop what is said to redis", hits: wayToRedis, inject: poison(toRedis, `{"name":"drop","type":"timeout","stream":"upstream","attributes":{"timeout":300}}`)},
	{name: "break redis' replies off", hits: wayToRedis, inject: poison(toRedis, `{"name":"limit","type":"limit_data","stream":"downstream","attributes":{"bytes":4000}}`)},
	{name: "slow way to redis", hits: wayToRedis, inject: poison(toRedis, `{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":200,"jitter":150}}`)},
	{name: "drop postgres' replies", hits: wayToPostgres, inject: poison(toPostgres, `{"name":"drop","type":"timeout","stream":"downstream","attributes":{"timeout":500}}`)},
	{name: "break postgres' replies off", hits: wayToPostgres, inject: poison(toPostgres, `{"name":"limit","type":"limit_data","stream":"downstream","attributes":{"bytes":3000}}`)},
	{name: "slow way to postgres", hits: wayToPostgres, inject: poison(toPostgres, `{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":150,"jitter":100}}`)},
}

func killRedis(s *site, _ *rand.Rand) func() {
	require.NoError(s.t, s.redis.Kill())
	return func() { require.NoError(s.t, s.redis.Restart(s.t.Context())) }
}

func freezeRedis(s *site, _ *rand.Rand) func() {
	require.NoError(s.t, s.redis.Pause())
	return func() { require.NoError(s.t, s.redis.Resume()) }
}

// exhaustRedis has no memory left for anything that needs some.
func exhaustRedis(s *site, _ *rand.Rand) func() {
	s.redis.ask(s.t, "CONFIG", "SET", "maxmemory", "1mb")
	return func() { s.redis.ask(s.t, "CONFIG", "SET", "maxmemory", "0") }
}

// promote puts the replica in the primary's place as long as that one still sells: processes hear of it one by one, and what
// the replica did not have yet is gone.
func promote(s *site, rng *rand.Rand) func() {
	old, next := s.redis, s.standby
	s.awaitReplica()
	next.ask(s.t, "REPLICAOF", "NO", "ONE")
	for _, i := range rng.Perm(len(s.nodes)) {
		s.nodes[i].lead(next)
		pause.For(s.t.Context(), between(rng, 0, mostSplit))
	}
	s.redis, s.standby = next, old
	return func() { old.follow(s.t, next) }
}

// awaitReplica waits until the replica follows: nobody promotes one that does not, if there is a choice.
func (s *site) awaitReplica() {
	devtest.Eventually(s.t, comeback, "the replica to follow", func() bool {
		return strings.Contains(s.standby.ask(s.t, "INFO", "replication"), "master_link_status:up")
	})
}

// mostSplit is for how long one process may go on with the old primary when another has the new one, at the most.
const mostSplit = 800 * time.Millisecond

func emptyRedis(s *site, _ *rand.Rand) func() {
	s.redis.ask(s.t, "FLUSHALL")
	return func() {}
}

// maxTorn is how much of the end of Redis' file a crash takes at the most, in bytes.
const maxTorn = 2000

// tearRedis is a crash that takes the end of the append-only file along, in the middle of a script as a rule.
func tearRedis(s *site, rng *rand.Rand) func() {
	require.NoError(s.t, s.redis.Kill())
	file, err := s.redis.AppendOnlyFile()
	require.NoError(s.t, err)
	info, err := os.Stat(file)
	require.NoError(s.t, err)
	require.NoError(s.t, os.Truncate(file, max(0, info.Size()-rng.Int64N(maxTorn))))
	return func() { require.NoError(s.t, s.redis.Restart(s.t.Context())) }
}

func killPostgres(s *site, _ *rand.Rand) func() {
	require.NoError(s.t, s.postgres.Kill())
	return func() { require.NoError(s.t, s.postgres.Restart(s.t.Context())) }
}

func freezePostgres(s *site, _ *rand.Rand) func() {
	require.NoError(s.t, s.postgres.Pause())
	return func() { require.NoError(s.t, s.postgres.Resume()) }
}

func (s *site) anyNode(rng *rand.Rand) *node { return s.nodes[rng.IntN(len(s.nodes))] }

func killNode(s *site, rng *rand.Rand) func() {
	n := s.anyNode(rng)
	n.kill()
	return n.start
}

func stopNode(s *site, rng *rand.Rand) func() {
	n := s.anyNode(rng)
	n.stop()
	return n.start
}

// freezeNode also freezes a drainer in the middle of its transaction, and the one who leads a partition.
func freezeNode(s *site, rng *rand.Rand) func() {
	n := s.anyNode(rng)
	n.signal(syscall.SIGSTOP)
	return func() { n.signal(syscall.SIGCONT) }
}

func cutRedis(s *site, rng *rand.Rand) func() {
	n := s.anyNode(rng)
	n.redis.cut()
	return n.redis.join
}

func cutPostgres(s *site, rng *rand.Rand) func() {
	n := s.anyNode(rng)
	n.postgres.cut()
	return n.postgres.join
}

func toRedis(n *node) *link    { return n.redis }
func toPostgres(n *node) *link { return n.postgres }

// poison spoils the way of one process to one store.
func poison(way func(*node) *link, toxic string) func(*site, *rand.Rand) func() {
	return func(s *site, rng *rand.Rand) func() {
		l := way(s.anyNode(rng))
		l.poison(toxic)
		return l.cure
	}
}
