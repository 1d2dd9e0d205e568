package cost

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// counter is the least engine that can be measured: it writes down who came for what.
type counter struct {
	client rueidis.Client
	fail   error // of every order

	mu     sync.Mutex
	opened []Shape
	open   int
	came   map[Kind]map[int]int // buyer -> times
	sizes  map[int]int          // of batches -> times
	forgot int
}

func newCounter(t *testing.T, url string) *counter {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(t, err)
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return &counter{client: client, came: map[Kind]map[int]int{}, sizes: map[int]int{}}
}

func (c *counter) Open(_ context.Context, shape Shape) (Partition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, shape)
	c.open++
	return &counted{counter: c, name: fmt.Sprintf("counted-%d", c.open)}, nil
}

type counted struct {
	*counter
	name string
}

func (c *counted) Keys() Keys {
	return Keys{Log: c.name + ":log", Meta: c.name + ":meta", Orders: c.name + ":orders", Buyers: c.name + ":buyers"}
}

func (c *counted) Decide(ctx context.Context, what Kind, first, n int) error {
	if c.fail != nil {
		return c.fail
	}
	keys := c.Keys()
	write := c.client.B().Hset().Key(keys.Buyers).FieldValue()
	for i := first; i < first+n; i++ {
		write = write.FieldValue(fmt.Sprintf("buyer-%09d", i), strings.Repeat("v", 100))
	}
	record := c.client.B().Hset().Key(keys.Orders).FieldValue().FieldValue(fmt.Sprint(first), strings.Repeat("r", 50*n)).Build()
	for _, reply := range c.client.DoMulti(ctx, write.Build(), record) {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sizes[n]++
	if c.came[what] == nil {
		c.came[what] = map[int]int{}
	}
	for i := first; i < first+n; i++ {
		c.came[what][i]++
	}
	return nil
}

func (c *counted) Forget(ctx context.Context) error {
	c.mu.Lock()
	c.forgot++
	c.mu.Unlock()
	return c.client.Do(ctx, c.client.B().Del().Key(c.Keys().Orders).Build()).Error()
}

func (c *counted) Close(ctx context.Context) error {
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
	keys := c.Keys()
	return c.client.Do(ctx, c.client.B().Unlink().Key(keys.Buyers, keys.Orders, keys.Log).Build()).Error()
}

func TestMeasure(t *testing.T) {
	server := devtest.Redis(t)
	c := newCounter(t, server.URL())
	report, err := Measure(t.Context(), server.URL(), c, Options{
		Batches: []int{1, 50}, Orders: 120, Rounds: 2, Products: []int{1, 7}, Buyers: []int{10, 20},
	})
	require.NoError(t, err)
	assert.Equal(t, []Shape{{1, 10}, {7, 10}, {1, 20}, {Products: 1}}, c.opened, "one thing varies at a time; then memory")
	require.Len(t, report.Shapes, 3)
	for _, s := range report.Shapes {
		require.Len(t, s.Batches, 2)
		for _, b := range s.Batches {
			for _, kind := range Kinds() {
				assert.Positive(t, b.Us[kind], "%v %d %s", s.Shape, b.Batch, kind)
			}
		}
	}
	require.Len(t, report.Floors, 2)
	assert.Positive(t, report.Floors[0].Us)

	// Per shape and round 120 orders one by one, and 150 in batches of 50.
	assert.Equal(t, 3*2*4*120, c.sizes[1])
	assert.Equal(t, 3*2*4*3, c.sizes[50])
	assert.Equal(t, 19, c.sizes[memoryBatch], "ten times as many for memory")
	assert.Equal(t, c.came[Hold], c.came[Confirm], "who holds is who confirms")
	assert.Equal(t, 3*2*2+1, c.forgot)

	assert.InDelta(t, 150, report.Memory.Undrained.Buyer, 40, "100 bytes and a name")
	assert.InDelta(t, 50, report.Memory.Undrained.Record, 20)
	assert.Zero(t, report.Memory.Drained.Record)
	assert.InDelta(t, 250, report.Memory.Undrained.Server, 150, "both, and what else the server needs")

	assert.Zero(t, c.open, "every partition is closed")
	assertEmpty(t, c.client)
}

// assertEmpty holds a server to having no key.
func assertEmpty(t *testing.T, client rueidis.Client) {
	t.Helper()
	size, err := client.Do(context.Background(), client.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	assert.Zero(t, size, "keys are left behind")
}

func TestMeasureBehindABacklog(t *testing.T) {
	server := devtest.Redis(t)
	c := newCounter(t, server.URL())
	report, err := Measure(t.Context(), server.URL(), c, Options{
		Batches: []int{64}, Orders: 64, Rounds: 1, Backlog: 1025, Kinds: []Kind{Sale}, NoMemory: true,
	})
	require.NoError(t, err)
	assert.Nil(t, report.Memory)
	assert.Equal(t, map[int]int{512: 2, 1: 1, 64: 1}, c.sizes)
	assert.Zero(t, c.forgot, "a backlog stays")
}

func TestMeasureThatFails(t *testing.T) {
	server := devtest.Redis(t)
	c := newCounter(t, server.URL())
	c.fail = errors.New("no")
	_, err := Measure(t.Context(), server.URL(), c, Options{Batches: []int{2}, Orders: 8})
	require.ErrorIs(t, err, c.fail)
	require.ErrorContains(t, err, "sale in batches of 2")
	assert.Zero(t, c.open)
	assertEmpty(t, c.client)
}

func TestOptionsThatCannotBe(t *testing.T) {
	tests := map[string]Options{
		"--batches 0: from 1 to 1024":                        {Batches: []int{1, 0}},
		"--batches 2000: from 1 to 1024":                     {Batches: []int{2000}},
		"--products 0: from 1 to 1000000":                    {Products: []int{0}},
		"--buyers -1: from 0 to 100000000":                   {Buyers: []int{-1}},
		"--rounds 1000: from 1 to 100":                       {Rounds: 1000},
		"--in-flight 65: from 1 to 64":                       {InFlight: 65},
		"--backlog -1: from 0 to 10000000":                   {Backlog: -1},
		"--kinds gift: [sale keyed hold confirm] or several": {Kinds: []Kind{"gift"}},
		"--kinds confirm: it needs hold too":                 {Kinds: []Kind{Confirm}},
		"--products and --buyers have 18 values: at most 17": {Products: make17()},
		"--orders 20000000: from 1 to 10000000":              {Orders: 20_000_000},
		"redis address":                                      {},
		"--buyers 1000000000: from 0 to 100000000":           {Buyers: []int{1_000_000_000}},
	}
	for want, o := range tests {
		t.Run(want, func(t *testing.T) {
			_, err := Measure(t.Context(), "no address", nil, o)
			require.ErrorIs(t, err, ErrOptions)
			require.ErrorContains(t, err, want)
			if strings.HasPrefix(want, "--") {
				require.ErrorContains(t, o.Check(), want)
			}
		})
	}
	require.NoError(t, (&Options{}).Check())
}

func make17() (values []int) {
	for i := range 17 {
		values = append(values, i+1)
	}
	return values
}

func TestMedian(t *testing.T) {
	assert.Zero(t, median(nil))
	assert.InDelta(t, 2, median([]float64{9, 1, 2}), 0)
	assert.InDelta(t, 2.5, median([]float64{9, 1, 2, 3}), 0)
}

func TestTable(t *testing.T) {
	us := func(sale float64) map[Kind]float64 { return map[Kind]float64{Sale: sale, Hold: 2 * sale} }
	one := Report{
		Redis: "7.0.15", Orders: 10_000, Rounds: 3, InFlight: 2, Kinds: []Kind{Sale, Hold},
		Floors: []Floor{{"an empty EVALSHA", 0.95}, {"an EVALSHA with one HINCRBY", 2.1}},
		Shapes: []ShapeCost{{Shape{1, 1000}, []BatchCost{{1, us(40)}, {64, us(3.456)}}}},
		Memory: &Memory{Orders: 100_032, Batch: 64, Undrained: Parts{104, 146, 114, 374}, Drained: Parts{0, 0.04, 114, 123}},
	}
	more := one
	more.Backlog, more.Memory = 5_000_000, nil
	more.Shapes = append(more.Shapes, ShapeCost{Shape{10_000, 1000}, []BatchCost{{1, us(44)}, {64, us(4)}}})
	for name, report := range map[string]Report{"one": one, "more": more} {
		t.Run(name, func(t *testing.T) {
			var page strings.Builder
			require.NoError(t, report.WriteTable(&page))
			compareGolden(t, filepath.Join("testdata", name+".golden"), page.String())
		})
	}
}

// compareGolden fails where the file is missing; `go test ./bench/cost -update` writes it.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with -update")
	assert.Equal(t, string(want), got)
}
