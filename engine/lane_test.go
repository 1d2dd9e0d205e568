package engine

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// batchOf returns how many orders a call of reserve.lua carries.
func batchOf(t tester, command []string) int {
	t.Helper()
	require.True(t, isScript(command, &reserveScript), "%q is no call of reserve.lua", command[:2])
	args := command[3+9:]
	products, err := strconv.Atoi(args[5])
	require.NoError(t, err)
	require.Equal(t, "0", args[6], "wishes")
	orders := args[9+products:]
	require.Len(t, args[7], tokenSize+6*len(orders), "the token and the rest of each id, beside one argument an order")
	return len(orders)
}

// held is an engine whose calls of reserve.lua wait until the test lets them go.
type held struct {
	*node
	taps    *tap
	arrived chan int      // size of a batch that is held
	release chan struct{} // lets one go
}

func newHeld(t *testing.T, config Config) *held {
	t.Helper()
	h := &held{taps: &tap{Client: connectTo(t, devtest.SharedRedis(t))}, arrived: make(chan int), release: make(chan struct{})}
	h.node = startNode(t, h.taps, config)
	h.product(t, "a", 1000, onSale)
	h.taps.mu.Lock()
	h.taps.hold = func(command []string) {
		if isScript(command, &reserveScript) && command[0] == "EVALSHA" {
			select {
			case h.arrived <- batchOf(t, command):
			case <-t.Context().Done(): // failed: nobody asks any more, and the node could not end
				return
			}
			select {
			case <-h.release:
			case <-t.Context().Done():
			}
		}
	}
	h.taps.mu.Unlock()
	return h
}

// buyers start n buyers who each buy one unit, and return what they get.
func (h *held) buyers(n int) <-chan error {
	outcomes := make(chan error, n)
	for i := range n {
		go func() {
			_, err := h.buy("a", "u"+strconv.Itoa(i), 1)
			outcomes <- err
		}()
	}
	return outcomes
}

func (h *held) awaitQueue(t *testing.T, n int) {
	t.Helper()
	eventually(t, strconv.Itoa(n)+" queued orders", func() bool { return h.State(0).Queued == n })
}

func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		require.FailNow(t, "waited in vain", "for %s", what)
		panic("unreachable")
	}
}

func TestLaneGathersWhileACallIsInFlight(t *testing.T) {
	h := newHeld(t, Config{Prefix: "gather", InFlight: 1, BatchSize: 10, Timeout: patience})
	first := h.buyers(1)
	require.Equal(t, 1, next(t, h.arrived, "the first call"), "an idle lane sends a batch of one at once")
	rest := h.buyers(25)
	h.awaitQueue(t, 25) // one call in flight at a time
	h.release <- struct{}{}
	require.NoError(t, next(t, first, "the first order"))
	for _, want := range []int{10, 10, 5} {
		require.Equal(t, want, next(t, h.arrived, "the next batch"), "what gathered goes together, at most a batch")
		h.release <- struct{}{}
	}
	for range 25 {
		require.NoError(t, next(t, rest, "an order"))
	}
	require.Equal(t, int64(26), h.stock(t, "a").Sold)
}

func TestLaneKeepsInFlightCallsUnderWay(t *testing.T) {
	h := newHeld(t, Config{Prefix: "inflight", InFlight: 2, Timeout: patience})
	outcomes := h.buyers(1)
	next(t, h.arrived, "the first call")
	second := h.buyers(1)
	require.Equal(t, 1, next(t, h.arrived, "the second call"), "two calls may be under way")
	third := h.buyers(1)
	h.awaitQueue(t, 1) // no third call
	go func() {
		for range h.arrived { // the sizes do not matter
		}
	}()
	close(h.release)
	for _, c := range []<-chan error{outcomes, second, third} {
		require.NoError(t, next(t, c, "an order"))
	}
	h.stop()
	close(h.arrived)
}

// twentyUnderWay has a call of 20 orders under way alone, which is a slow one after a while.
func twentyUnderWay(t *testing.T, prefix string, slow time.Duration) (h *held, outcomes []<-chan error) {
	t.Helper()
	h = newHeld(t, Config{Prefix: prefix, InFlight: 2, Timeout: patience})
	l := h.partitions[0].lane
	l.mu.Lock()
	l.slow = slow
	l.mu.Unlock()
	for _, what := range []string{"the first call", "the second call"} {
		outcomes = append(outcomes, h.buyers(1))
		next(t, h.arrived, what)
	}
	outcomes = append(outcomes, h.buyers(20))
	h.awaitQueue(t, 20)
	h.release <- struct{}{}
	require.Equal(t, 20, next(t, h.arrived, "what gathered behind two small calls"))
	h.release <- struct{}{} // the other small one
	return h, outcomes
}

func (h *held) finish(t *testing.T, calls int, outcomes []<-chan error) {
	t.Helper()
	for range calls {
		h.release <- struct{}{}
	}
	for _, c := range outcomes {
		for range cap(c) {
			require.NoError(t, next(t, c, "an order"))
		}
	}
}

func TestACallWaitsUntilItIsHalfOfTheOneUnderWay(t *testing.T) {
	h, outcomes := twentyUnderWay(t, "enough", patience)
	outcomes = append(outcomes, h.buyers(9))
	h.awaitQueue(t, 9)
	outcomes = append(outcomes, h.buyers(1))
	require.Equal(t, 10, next(t, h.arrived, "a call of half the size"))
	h.finish(t, 2, outcomes)
}

// The connection of a slow call may be to blame, and the other one well.
func TestNobodyWaitsForASlowCall(t *testing.T) {
	h, outcomes := twentyUnderWay(t, "slow", 0)
	outcomes = append(outcomes, h.buyers(1))
	require.Equal(t, 1, next(t, h.arrived, "a call beside a slow one"))
	h.finish(t, 2, outcomes)
}

// It may have become slow only after the last order came.
func TestNobodyWaitsForACallThatTurnsOutSlow(t *testing.T) {
	h, outcomes := twentyUnderWay(t, "turns-slow", 300*time.Millisecond)
	outcomes = append(outcomes, h.buyers(1))
	require.Equal(t, 1, next(t, h.arrived, "a call beside a slow one"))
	h.finish(t, 2, outcomes)
}

// largeOfLate has a lane whose calls have had 20 orders each, and where a request may wait for others for so long.
func largeOfLate(t *testing.T, prefix string, gather time.Duration) *held {
	t.Helper()
	h := newHeld(t, Config{Prefix: prefix, InFlight: 1, Timeout: patience})
	l := h.partitions[0].lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.usual, l.gather = 20, gather
	return h
}

func TestACallWaitsForMostOfWhatCallsUsuallyHave(t *testing.T) {
	h := largeOfLate(t, "usual", patience)
	outcomes := []<-chan error{h.buyers(14)}
	h.awaitQueue(t, 14) // none is under way, and each would have gone at once
	outcomes = append(outcomes, h.buyers(1))
	require.Equal(t, 15, next(t, h.arrived, "a call of three quarters of the usual size"))
	h.finish(t, 1, outcomes)
}

func TestNobodyWaitsLongForThoseWhoDoNotCome(t *testing.T) {
	h := largeOfLate(t, "alone", gatherFor)
	for _, call := range []string{"an order that nobody joins", "the next one"} {
		outcome := h.buyers(1)
		require.Equal(t, 1, next(t, h.arrived, call))
		h.finish(t, 1, []<-chan error{outcome})
	}
}

func TestWhatCallsUsuallyHaveFollowsThem(t *testing.T) {
	h := largeOfLate(t, "follow", gatherFor)
	l := h.partitions[0].lane
	for range 40 {
		outcome := h.buyers(1)
		require.Equal(t, 1, next(t, h.arrived, "an order alone"))
		h.finish(t, 1, []<-chan error{outcome})
	}
	l.mu.Lock()
	l.gather = patience
	l.mu.Unlock()
	outcome := h.buyers(1)
	require.Equal(t, 1, next(t, h.arrived, "an order that waits for nobody, as calls had one each"))
	h.finish(t, 1, []<-chan error{outcome})
}

// A burst larger than a batch, on a lane whose calls were small: those left over find that much more is usual now.
func TestNobodyIsLeftBehindByABurst(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "burst", Timeout: patience})
	l := newLane(n.Engine, n.partitions[0], func() call[*Reservation] { return nil })
	deadline := time.Now().Add(patience)
	for i := range defaultBatchSize + 2 {
		r := n.order("a", "u"+strconv.Itoa(i), 1)
		r.deadline = deadline
		require.True(t, l.push(r))
	}
	batch, began := l.take(nil)
	require.Len(t, batch, defaultBatchSize)
	l.done(len(batch), began)
	left := make(chan int, 1)
	go func() {
		rest, _ := l.take(nil)
		left <- len(rest)
	}()
	t.Cleanup(l.close)
	require.Equal(t, 2, next(t, left, "those left over"))
}

// A worker asks on a connection of its own. Where that fails the client's own one is asked again, which finds the way to
// another server too, and the next batch has a new one.
func TestWhatFailsOnAnOwnConnectionIsAskedAgainByTheClient(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "own", InFlight: 1, Timeout: patience})
	n.product(t, "a", 10, onSale)
	buy := func(user string) []string {
		taps.scripts()
		taps.own.Store(0)
		_, err := n.buy("a", user, 1)
		require.NoError(t, err)
		var ways []string
		for i := range taps.scripts() {
			ways = append(ways, map[bool]string{true: "own", false: "client"}[int64(i) < taps.own.Load()])
		}
		return ways
	}
	require.Equal(t, []string{"own"}, buy("first"))
	taps.killOwn(t)
	require.Equal(t, []string{"own", "client"}, buy("second"))
	require.Equal(t, []string{"own"}, buy("third"))
	require.Equal(t, int64(3), n.stock(t, "a").Sold)
}

func TestFullQueueIsShed(t *testing.T) {
	h := newHeld(t, Config{Prefix: "shed", InFlight: 1, QueueLength: 5, Timeout: patience})
	first := h.buyers(1)
	next(t, h.arrived, "the first call")
	waiting := h.buyers(5)
	h.awaitQueue(t, 5)
	_, err := h.buy("a", "late", 1)
	require.ErrorIs(t, err, ErrQueueFull, "the sixth is shed at once")
	require.Positive(t, ErrQueueFull.RetryAfter)
	h.release <- struct{}{}
	require.NoError(t, next(t, first, "the first order"))
	require.Equal(t, 5, next(t, h.arrived, "the queue"))
	h.release <- struct{}{}
	for range 5 {
		require.NoError(t, next(t, waiting, "a queued order"))
	}
	require.Equal(t, int64(6), h.stock(t, "a").Sold, "the order that was shed must not have happened")
}

// At SIGTERM what is queued is decided, and what comes later refused.
func TestStopDecidesWhatIsQueued(t *testing.T) {
	h := newHeld(t, Config{Prefix: "stop", InFlight: 1, Timeout: patience})
	first := h.buyers(1)
	next(t, h.arrived, "the first call")
	waiting := h.buyers(3)
	h.awaitQueue(t, 3)
	stopped := make(chan struct{})
	go func() { h.stop(); close(stopped) }()
	eventually(t, "the lane shut", func() bool {
		h.partitions[0].lane.mu.Lock()
		defer h.partitions[0].lane.mu.Unlock()
		return h.partitions[0].lane.closed
	})
	_, err := h.buy("a", "late", 1)
	require.ErrorIs(t, err, ErrQueueFull)
	h.release <- struct{}{}
	require.Equal(t, 3, next(t, h.arrived, "the queue"))
	h.release <- struct{}{}
	next(t, stopped, "the end")
	for _, c := range []<-chan error{first, waiting, waiting, waiting} {
		require.NoError(t, next(t, c, "an order"))
	}
}

// An order whose deadline passes in the queue is never sent.
func TestLateInTheQueueIsADefiniteNo(t *testing.T) {
	h := newHeld(t, Config{Prefix: "late", InFlight: 1, Timeout: patience})
	first := h.buyers(1)
	next(t, h.arrived, "the first call")
	late := make(chan error, 1)
	go func() {
		late <- h.Reserve(h.order("a", "late", 1), time.Now().Add(-patience))
	}()
	h.awaitQueue(t, 1)
	h.release <- struct{}{}
	require.NoError(t, next(t, first, "the first order"))
	require.ErrorIs(t, next(t, late, "the late order"), ErrTooLate)
	require.Equal(t, int64(1), h.stock(t, "a").Sold)
}

func TestBacklogCap(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "backlog", BacklogCap: 3})
	n.product(t, "a", 10, onSale)
	for i := range 3 {
		r, err := n.buy("a", "u", 1)
		require.NoError(t, err)
		require.Equal(t, int64(i), r.Ahead, "orders that the ledger takes before this one")
	}
	_, err := n.buy("a", "u", 1)
	require.ErrorIs(t, err, ErrBacklogFull)
	n.Advance(0, Watermark{Epoch: 1, Sequence: 2, Orders: 1})
	r, err := n.buy("a", "u", 1)
	require.NoError(t, err, "the ledger has come along")
	require.Equal(t, int64(2), r.Ahead)
}

// Promise 1, in small: 100 buyers after 30 units, on several partitions, two units at the most each.
func TestNeverOversold(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "oversold", Partitions: 4, BatchSize: 7})
	products := []string{"a", "b", "c", "d", "e"}
	for _, p := range products {
		n.product(t, p, 30, Terms{Active: true, PerUserLimit: 2})
	}
	var mu sync.Mutex
	sold := map[string]int64{}
	var buyers sync.WaitGroup
	for i := range 100 {
		buyers.Go(func() {
			for k := range 3 * len(products) {
				product := products[(i+k)%len(products)]
				r, err := n.buy(product, "u"+strconv.Itoa(i), int64(1+i%2))
				if err == nil {
					mu.Lock()
					sold[r.Order.Product] += r.Order.Quantity
					mu.Unlock()
					continue
				}
				if !errors.Is(err, ErrSoldOut) && !errors.Is(err, ErrLimitExceeded) {
					t.Errorf("buyer %d of %s: %v", i, product, err)
				}
			}
		})
	}
	buyers.Wait()
	for _, p := range products {
		s := n.stock(t, p)
		require.Equal(t, sold[p], s.Sold, "%s: units answered as sold and units counted", p)
		require.Equal(t, int64(30), s.Sold, "%s: 100 buyers leave nothing", p)
	}
}
