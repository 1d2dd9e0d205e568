//go:build privileged && linux

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/pause"
)

// hardware is what a site stands on where each process and each server has a machine of its own and a disk that may ail.
type hardware struct {
	*network
	processes []*machine // of the site's nodes
	stores    map[*store]*machine
	disks     map[*store]*disk
	postgres  *machine
	wal       *disk // of Postgres
}

const (
	redisPort    = "6379"
	postgresPort = "5432"
	// The last numbers of addresses.
	redisNumber, standbyNumber, postgresNumber, processNumber = 1, 2, 3, 10
)

// newSiteOnMachines is newSite on hardware of its own.
func newSiteOnMachines(t testing.TB, seed uint64, nodes int, products ...string) (*site, *hardware) {
	t.Helper()
	h := &hardware{network: newNetwork(seed), stores: make(map[*store]*machine), disks: make(map[*store]*disk)}
	s := &site{t: t, products: products}
	s.redis, s.standby = h.newStore(t, seed, redisNumber), h.newStore(t, seed+1, standbyNumber)
	s.postgres = h.newLedger(t, seed)
	for id := range nodes {
		s.nodes = append(s.nodes, h.newNode(t, id))
		h.lead(h.processes[id], h.stores[s.redis])
	}
	s.open()
	return s, h
}

func (h *hardware) newStore(t testing.TB, seed uint64, number int) *store {
	t.Helper()
	m, d := h.add(t, newMachine(t, number, primaryAddress)), newDisk(t, seed)
	r := newStoreAt(t, m.do, m.address, redisPort, "bind 0.0.0.0", "protected-mode no", "dir "+d.path)
	h.stores[r], h.disks[r] = m, d
	return r
}

func (h *hardware) newLedger(t testing.TB, seed uint64) *ledger {
	t.Helper()
	h.postgres, h.wal = h.add(t, newMachine(t, postgresNumber)), newDisk(t, seed+2)
	l := newLedger(t, h.postgres.do, "fsync=on", "listen_addresses="+h.postgres.address, "recovery_init_sync_method=syncfs")
	rights, err := os.OpenFile(l.setting(t, "hba_file"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer rights.Close()
	_, err = fmt.Fprintf(rights, "host all all %s0/24 trust\n", subnet)
	require.NoError(t, err)
	l.moveWAL(t, h.wal)
	return l
}

func (h *hardware) newNode(t testing.TB, id int) *node {
	t.Helper()
	m := h.add(t, newMachine(t, processNumber+id))
	n := newNode(t, id, primaryAddress+":"+redisPort, h.postgres.address+":"+postgresPort)
	n.at, n.client = m.do, newClient(m.dial)
	n.lead = func(to *store) { h.lead(m, h.stores[to]) }
	h.processes = append(h.processes, m)
	return n
}

// TestANetworkThatLies: packets vanish without a word, in one direction or both, come late, twice and out of order; cables
// are pulled, disks are slow and fail, and servers die. No proxy of connections can do that: it has to break them or to keep
// them. Nothing that was answered is lost.
func TestANetworkThatLies(t *testing.T) { attackMachines(t, none) }

// TestASplitNetwork: besides, the network splits in two halves, each with a process and a Redis, and the half with the
// ledger goes on, while the other half still believes that it may sell.
func TestASplitNetwork(t *testing.T) { attackMachines(t, behind) }

func attackMachines(t *testing.T, worst loss) {
	t.Helper()
	t.Parallel()
	p := newPlan(t, worst, serverKinds)
	s, h := newSiteOnMachines(t, p.seed, 2, "lamp", "chair", "table")
	p.kinds = append(p.kinds, append(h.networkKinds(), h.diskKinds()...)...)
	p.attack(s)
}

// longSilence is longer than it takes to give a silent connection up.
const longSilence = 6 * time.Second

var (
	silent   = weather{silent: true}
	lossy    = weather{loss: 0.2, doubles: 0.1}
	shuffled = weather{delay: 20 * time.Millisecond, jitter: 250 * time.Millisecond}
)

func (h *hardware) networkKinds() []kind {
	kinds := []kind{
		{name: "pull a process' cable", hits: aProcess | wayToRedis | wayToPostgres, lasts: longSilence, inject: h.pullCable},
		{name: "a process hears and is heard by nobody", hits: aProcess | wayToRedis | wayToPostgres, lasts: longSilence, inject: h.isolate(h.aProcess)},
		{name: "redis hears and is heard by nobody", hits: redisServer | wayToRedis | wayToReplica, lasts: longSilence, inject: h.isolate(h.primaryRedis)},
		{name: "postgres hears and is heard by nobody", hits: postgresServer | wayToPostgres, lasts: longSilence, inject: h.isolate(h.ledgers)},
		{name: "no word between redis and its replica", hits: wayToReplica, lasts: longSilence, inject: h.betweenStores(silent)},
		{name: "packets to the replica are lost", hits: wayToReplica, lasts: longSilence, inject: h.betweenStores(lossy)},
		{name: "split", costs: behind, hits: ^part(0), lasts: longSilence, inject: h.split},
	}
	for _, store := range []struct {
		name string
		way  part
		at   choice
	}{{"redis", wayToRedis, h.bothRedis}, {"postgres", wayToPostgres, h.ledgers}} {
		for _, fault := range []struct {
			name string
			weather
			direction
		}{
			{"no word between a process and ", silent, both},
			{"no word reaches ", silent, there},
			{"no word comes from ", silent, back},
			{"packets are lost on the way to ", lossy, both},
			{"packets overtake each other on the way to ", shuffled, both},
		} {
			kinds = append(kinds, kind{
				name: fault.name + store.name, hits: store.way, lasts: longSilence, inject: h.fromAProcess(fault.weather, fault.direction, store.at),
			})
		}
	}
	return kinds
}

// choice names machines of a site.
type choice func(s *site, rng *rand.Rand) []*machine

func (h *hardware) aProcess(_ *site, rng *rand.Rand) []*machine {
	return []*machine{h.processes[rng.IntN(len(h.processes))]}
}

func (h *hardware) primaryRedis(s *site, _ *rand.Rand) []*machine {
	return []*machine{h.stores[s.redis]}
}

func (h *hardware) bothRedis(s *site, _ *rand.Rand) []*machine {
	return []*machine{h.stores[s.redis], h.stores[s.standby]}
}

func (h *hardware) ledgers(*site, *rand.Rand) []*machine { return []*machine{h.postgres} }

// fromAProcess spoils the ways between one process and what it needs.
func (h *hardware) fromAProcess(w weather, d direction, to choice) func(*site, *rand.Rand) func() {
	return func(s *site, rng *rand.Rand) func() {
		return h.spoil(w, d, h.aProcess(s, rng)[0], to(s, rng)...)
	}
}

func (h *hardware) betweenStores(w weather) func(*site, *rand.Rand) func() {
	return func(s *site, _ *rand.Rand) func() { return h.spoil(w, both, h.stores[s.redis], h.stores[s.standby]) }
}

// isolate keeps a machine's packets from everybody and everybody's from it. Connections stay open on both sides.
func (h *hardware) isolate(who choice) func(*site, *rand.Rand) func() {
	return func(s *site, rng *rand.Rand) func() {
		m := who(s, rng)[0]
		return h.spoil(silent, both, m, h.others(m)...)
	}
}

// pullCable has a process know that it has no network: what it sends fails at once.
func (h *hardware) pullCable(s *site, rng *rand.Rand) func() {
	m := h.aProcess(s, rng)[0]
	m.ip("link set eth0 down")
	return func() { m.ip("link set eth0 up") }
}

// split leaves one process with the old primary, and the others with the ledger and the replica, which becomes the primary.
// When the halves meet again, that process may go on with the old primary for a while.
func (h *hardware) split(s *site, rng *rand.Rand) func() {
	mend := h.splitOff(s, rng.IntN(len(s.nodes)))
	return func() { mend(between(rng, 0, mostSplit)) }
}

// splitOff splits a process off with the old primary. mend has the halves meet, and the process change to the new primary
// a while after that.
func (h *hardware) splitOff(s *site, lone int) (mend func(after time.Duration)) {
	s.awaitReplica()
	old, next := s.redis, s.standby
	half := []*machine{h.processes[lone], h.stores[old]}
	var mends []func()
	for _, m := range half {
		mends = append(mends, h.spoil(silent, both, m, h.others(half...)...))
	}
	next.ask(s.t, "REPLICAOF", "NO", "ONE")
	for i, n := range s.nodes {
		if i != lone {
			n.lead(next)
		}
	}
	s.redis, s.standby = next, old
	return func(after time.Duration) {
		for _, mend := range mends {
			mend()
		}
		pause.For(s.t.Context(), after)
		s.nodes[lone].lead(next)
		old.follow(s.t, next)
	}
}

func (h *hardware) diskKinds() []kind {
	slow := trouble{least: 50 * time.Millisecond, most: 400 * time.Millisecond}
	return []kind{
		{name: "slow disk of redis", hits: redisServer, lasts: longSilence, inject: h.slowStore(slow)},
		{name: "redis' disk fails to write", hits: redisServer, inject: h.failStore(trouble{failWrites: true})},
		{name: "redis' disk fails to sync", hits: redisServer, inject: h.failStore(trouble{failSyncs: true})},
		{name: "slow disk of postgres", hits: postgresServer, lasts: longSilence, inject: func(*site, *rand.Rand) func() { return h.wal.fail(slow) }},
		{name: "postgres' disk fails to write", hits: postgresServer, inject: h.failLedger(trouble{failWrites: true})},
		{name: "postgres' disk fails to sync", hits: postgresServer, inject: h.failLedger(trouble{failSyncs: true})},
	}
}

func (h *hardware) slowStore(with trouble) func(*site, *rand.Rand) func() {
	return func(s *site, _ *rand.Rand) func() { return h.disks[s.redis].fail(with) }
}

// failStore has Redis end, which it does where it can't keep the word of appendfsync always: whoever runs it starts it again.
func (h *hardware) failStore(with trouble) func(*site, *rand.Rand) func() {
	return func(s *site, _ *rand.Rand) func() {
		failing := s.redis
		mend := h.disks[failing].fail(with)
		return func() {
			mend()
			require.NoError(s.t, failing.Restart(s.t.Context()))
		}
	}
}

// failLedger has Postgres panic, and start over if the disk lets it: whoever runs it starts it again.
func (h *hardware) failLedger(with trouble) func(*site, *rand.Rand) func() {
	return func(s *site, _ *rand.Rand) func() {
		mend := h.wal.fail(with)
		return func() {
			mend()
			require.NoError(s.t, s.postgres.Restart(s.t.Context()))
		}
	}
}
