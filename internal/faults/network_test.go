//go:build privileged && linux

package faults

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// network carries packets between machines, in this process. So it can do to them what a proxy of connections can't: lose
// them without a word, in one direction only, delay, shuffle and double them. It needs nothing of the kernel but
// interfaces: sch_netem, which does the same, is not in every kernel.
type network struct {
	mu       sync.Mutex
	rng      *rand.Rand
	machines map[string]*machine   // by address
	primary  map[*machine]*machine // who answers at primaryAddress when this one asks
	ways     map[way]weather       // those that are not fair
	underWay atomic.Int64
}

// way is a direction between two machines.
type way struct{ from, to *machine }

// weather is what happens to packets on a way.
type weather struct {
	silent        bool    // none arrives
	loss, doubles float64 // how many of them, up to 1
	delay, jitter time.Duration
}

// mostUnderWay bounds the packets that are delayed at a time; what is more gets lost, as on a router.
const mostUnderWay = 4096

func newNetwork(seed uint64) *network {
	return &network{
		rng: rand.New(rand.NewPCG(seed, packetStream)), machines: make(map[string]*machine),
		primary: make(map[*machine]*machine), ways: make(map[way]weather),
	}
}

// packetStream keeps the packets' dice apart from those of plan and buyers.
const packetStream = 1 << 32

// add plugs a machine in until the test ends.
func (n *network) add(t testing.TB, m *machine) *machine {
	n.mu.Lock()
	n.machines[m.address] = m
	n.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.carryFrom(m)
	}()
	t.Cleanup(func() {
		m.cable.Close()
		<-done
	})
	return m
}

// carryFrom takes what a machine sends where it belongs until the machine is no more.
func (n *network) carryFrom(m *machine) {
	for {
		packet := make([]byte, mtu)
		size, err := m.cable.Read(packet)
		if err != nil {
			return
		}
		n.carry(m, packet[:size])
	}
}

func (n *network) carry(from *machine, packet []byte) {
	to, copies, w := n.route(from, packet)
	for _, delay := range copies {
		switch {
		case w.delay+w.jitter == 0:
			_, _ = to.cable.Write(packet) // its interface may be down
		case n.underWay.Add(1) > mostUnderWay:
			n.underWay.Add(-1)
		default:
			time.AfterFunc(delay, func() {
				n.underWay.Add(-1)
				_, _ = to.cable.Write(packet)
			})
		}
	}
}

// route says where a packet goes, and after how long each copy of it arrives; none of them is lost.
func (n *network) route(from *machine, packet []byte) (to *machine, copies []time.Duration, w weather) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if to = n.target(from, packet); to == nil {
		return nil, nil, w
	}
	w = n.ways[way{from, to}]
	if w.silent || n.rng.Float64() < w.loss {
		return to, nil, w
	}
	copies = append(copies, n.late(w))
	if n.rng.Float64() < w.doubles {
		copies = append(copies, n.late(w))
	}
	return to, copies, w
}

// late draws how long a packet takes. Who draws less overtakes.
func (n *network) late(w weather) time.Duration {
	return w.delay + time.Duration(n.rng.Float64()*float64(w.jitter))
}

// target is the machine that a packet is for; nil is nobody.
func (n *network) target(from *machine, packet []byte) *machine {
	const headerLength, version4 = 20, 4
	if len(packet) < headerLength || packet[0]>>4 != version4 {
		return nil
	}
	address := netip.AddrFrom4([4]byte(packet[16:20])).String()
	if address == primaryAddress {
		return n.primary[from]
	}
	return n.machines[address]
}

// lead has a machine find another one at primaryAddress. Its connections to the one before are unknown there.
func (n *network) lead(m, primary *machine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.primary[m] = primary
}

// direction is one of the two between machines, or both.
type direction int

const (
	there direction = 1 << iota
	back
	both = there | back
)

// spoil has a weather on the ways between a machine and others, until it is mended.
func (n *network) spoil(w weather, d direction, m *machine, others ...*machine) (mend func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var spoilt []way
	for _, other := range others {
		if d&there != 0 {
			spoilt = append(spoilt, way{m, other})
		}
		if d&back != 0 {
			spoilt = append(spoilt, way{other, m})
		}
	}
	for _, bad := range spoilt {
		n.ways[bad] = w
	}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, bad := range spoilt {
			delete(n.ways, bad)
		}
	}
}

// others are all machines but these.
func (n *network) others(but ...*machine) []*machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Values(n.machines)), func(m *machine) bool { return slices.Contains(but, m) })
}
