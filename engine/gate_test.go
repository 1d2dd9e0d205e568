package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/internal/devstack/devtest"
)

// Promise 18: the sign can only refuse, only what is more than Redis said is left, and for no longer than its time.
func TestGateSign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		left := rapid.Int64Range(0, 2*gateHeight).Draw(t, "left")
		quantity := rapid.Int64Range(1, 2*gateHeight).Draw(t, "quantity")
		ttl := time.Duration(rapid.Int64Range(1, int64(maxGateTTL)).Draw(t, "ttl ns"))
		asked := processStart.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "asked at ns")))
		age := time.Duration(rapid.Int64Range(0, 2*int64(maxGateTTL)).Draw(t, "age ns"))
		var s shelf
		require.False(t, s.refuses(quantity, asked), "no sign")
		s.hang(left, asked, ttl)
		want := left < gateHeight && quantity > left && age < ttl
		require.Equal(t, want, s.refuses(quantity, asked.Add(age)), "refuses %d with %d left, %s after asking", quantity, left, age)
		s.hang(left+gateHeight, asked, ttl)
		require.False(t, s.refuses(quantity, asked), "a sign must come down where enough is left")
	})
}

func TestGateTTLIsAtMost50Milliseconds(t *testing.T) {
	config := Config{}.withDefaults()
	require.Equal(t, 50*time.Millisecond, config.GateTTL)
	require.NoError(t, config.validate())
	config.GateTTL++
	require.ErrorContains(t, config.validate(), "gate")
}

func TestGateAnswersForRedis(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "gate", LockTTL: 0})
	n.product(t, "few", 2, onSale)
	n.product(t, "many", gateHeight+1, onSale)
	now := time.Now()
	reserve := func(product string, quantity int64, now time.Time) (int, error) {
		taps.scripts()
		err := n.Reserve(n.order(product, "u", quantity), now)
		return len(taps.scripts()), err
	}

	calls, err := reserve("few", 3, now)
	require.ErrorIs(t, err, ErrSoldOut)
	require.Equal(t, 1, calls, "the first refusal is Redis's")
	asked := time.Now()
	calls, err = reserve("few", 3, now)
	require.ErrorIs(t, err, ErrSoldOut)
	require.Zero(t, calls, "the second within the time is the gate's")
	calls, err = reserve("few", 1, now)
	require.NoError(t, err, "a smaller quantity is left")
	require.Equal(t, 1, calls)

	calls, err = reserve("few", 3, asked.Add(maxGateTTL+time.Second))
	require.ErrorIs(t, err, ErrSoldOut)
	require.Equal(t, 1, calls, "past its time the gate asks Redis")

	n.change(t, Change{Product: "few", Number: 2, Amount: 5, Terms: onSale})
	calls, err = reserve("few", 3, now)
	require.NoError(t, err, "a restock must open the gate at once")
	require.Equal(t, 1, calls)

	for range 2 {
		calls, err = reserve("many", 2*gateHeight, now)
		require.ErrorIs(t, err, ErrSoldOut)
		require.Equal(t, 1, calls, "no sign where much is left")
	}
}

// Where the sale itself is shut, too little stock is not what the buyer is to be told: they are told when to come back.
func TestTheGateKeepsSilentWhereTheSaleIsShut(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "shutgate"})
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for product, shut := range map[string]struct {
		terms Terms
		want  error
	}{
		"inactive":    {Terms{}, ErrSaleInactive},
		"not-started": {Terms{Active: true, StartsAt: later}, ErrSaleNotStarted},
		"ended":       {Terms{Active: true, EndsAt: before}, ErrSaleEnded},
	} {
		n.product(t, product, 0, shut.terms)
		for i := range 3 {
			_, err := n.buy(product, "u", 1)
			require.Equal(t, shut.want, err, "answer %d", i+1)
		}
	}
}

// Names that Redis does not know must not fill the memory.
func TestUnknownProductsAreNotKept(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "unkept"})
	_, err := n.buy("nothing", "u", 1)
	require.ErrorIs(t, err, ErrUnknownProduct)
	shelf := n.shelves.shards[crc16("nothing")%shelfShards].m["nothing"]
	require.Nil(t, shelf, "a product that does not exist must not be kept")
}
