package faults

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/pause"
)

// plan draws faults from a seed: which, for how long, and how long after the one before.
type plan struct {
	seed     uint64
	duration time.Duration
	worst    loss // that its faults may cost
	only     string
	kinds    []kind
}

const (
	leastFault = 50 * time.Millisecond
	mostFault  = 1500 * time.Millisecond
	leastCalm  = 100 * time.Millisecond
	mostCalm   = 700 * time.Millisecond
	// doubles is how many steps there are for each in which a second fault comes while the first one lasts.
	doubles = 3

	defaultDuration = 8 * time.Second
)

// newPlan takes seed and duration from the environment: FAULTS_SEED (any number; else a new one each time) and
// FAULTS_DURATION. FAULTS_ONLY is a part of the names of the faults to draw from.
func newPlan(t testing.TB, worst loss, kinds ...[]kind) plan {
	t.Helper()
	p := plan{seed: rand.Uint64() >> 1, duration: defaultDuration, worst: worst, only: os.Getenv("FAULTS_ONLY"), kinds: slices.Concat(kinds...)}
	if text := os.Getenv("FAULTS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "FAULTS_SEED")
		p.seed = seed
	}
	if text := os.Getenv("FAULTS_DURATION"); text != "" {
		duration, err := time.ParseDuration(text)
		require.NoError(t, err, "FAULTS_DURATION")
		p.duration = duration
	}
	t.Logf("again with FAULTS_SEED=%d FAULTS_DURATION=%s", p.seed, p.duration)
	return p
}

// cost is what faults of one kind did.
type cost struct {
	times    int
	slowest  time.Duration // from the end of the fault to the next order accepted
	together time.Duration
}

type costs map[string]*cost

func (c costs) add(name string, took time.Duration) {
	if c[name] == nil {
		c[name] = &cost{}
	}
	c[name].times++
	c[name].together += took
	c[name].slowest = max(c[name].slowest, took)
}

func (c costs) String() string {
	lines := make([]string, 0, len(c))
	for name, of := range c {
		lines = append(lines, fmt.Sprintf("  %-56s %3d times, sells again after %6.0f ms on average, %6.0f ms at the most", name, of.times,
			float64(of.together.Milliseconds())/float64(of.times), float64(of.slowest.Milliseconds())))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// run breaks the site again and again until the plan's time is over; everything is mended then. One fault at a time, and now
// and then a second one of another part before the first is mended.
func (p *plan) run(s *site, c *crowd) costs {
	rng := rand.New(rand.NewPCG(p.seed, 0))
	drawn := slices.DeleteFunc(slices.Clone(p.kinds), func(k kind) bool {
		return k.costs > p.worst || !strings.Contains(k.name, p.only)
	})
	require.NotEmpty(s.t, drawn, "FAULTS_ONLY")
	found := make(costs)
	for until := time.Now().Add(p.duration); time.Now().Before(until); {
		name := p.step(s, rng, drawn)
		took, sells := c.acceptedWithin(comeback)
		if !sells {
			s.t.Errorf("after %q nothing was sold for %s", name, comeback)
			return found
		}
		if strings.Contains(name, also) {
			name = "two at once"
		}
		found.add(name, took)
		pause.For(s.t.Context(), between(rng, leastCalm, mostCalm))
	}
	return found
}

// also joins the names of two faults.
const also = ", and meanwhile "

// step breaks something, and perhaps something else as well, mends it, and tells what it was.
func (p *plan) step(s *site, rng *rand.Rand, drawn []kind) (name string) {
	first := drawn[rng.IntN(len(drawn))]
	others := slices.DeleteFunc(slices.Clone(drawn), func(k kind) bool { return k.hits&first.hits != 0 })
	twice := rng.IntN(doubles) == 0 && len(others) > 0
	heal := first.inject(s, rng)
	// Pauses are a fault's own length, not a wait for something to happen.
	pause.For(s.t.Context(), between(rng, leastFault, first.longest()))
	if !twice {
		heal()
		return first.name
	}
	second := others[rng.IntN(len(others))]
	mends := []func(){heal, second.inject(s, rng)}
	rng.Shuffle(len(mends), func(i, j int) { mends[i], mends[j] = mends[j], mends[i] })
	for _, mend := range mends {
		pause.For(s.t.Context(), between(rng, leastFault, mostFault))
		mend()
	}
	return first.name + also + second.name
}

func (k kind) longest() time.Duration { return cmp.Or(k.lasts, mostFault) }

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}
