package rival

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

func connectTo(t *testing.T, url string) rueidis.Client {
	t.Helper()
	client, err := Connect(url)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func rivals(t *testing.T) []Rival {
	t.Helper()
	client := connectTo(t, devtest.Redis(t, "appendfsync everysec").URL())
	postgres, err := NewPostgres(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(postgres.Close)
	drained := NewDrained(client, "bench-drained", postgres)
	t.Cleanup(drained.Close)
	return []Rival{NewScript(client, "bench-script"), drained, NewLock(client, "bench-lock"), postgres}
}

var orders atomic.Int64

func order(product, user string, quantity int64) *Order {
	return &Order{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", orders.Add(1)), Product: product, User: user, Quantity: quantity, At: time.Now()}
}

// TestEveryRivalSellsExactlyItsStock has more buyers come at once than there are units, some of them too often.
func TestEveryRivalSellsExactlyItsStock(t *testing.T) {
	const units, buyers, at = 40, 60, 8
	for _, r := range rivals(t) {
		t.Run(r.Name(), func(t *testing.T) {
			ctx := t.Context()
			require.NoError(t, r.Stock(ctx, "shoe", units))
			require.NoError(t, r.Stock(ctx, "other", units))

			require.NoError(t, r.Sell(ctx, order("shoe", "greedy", 1)))
			require.ErrorIs(t, r.Sell(ctx, order("shoe", "greedy", PerUser)), ErrLimit, "with what is bought already")
			require.ErrorIs(t, r.Sell(ctx, order("shoe", "eager", PerUser+1)), ErrLimit)
			books, err := r.Books(ctx, "shoe")
			require.NoError(t, err)
			require.Equal(t, Books{Left: units - 1, Orders: 1, Units: 1}, books, "a refusal leaves no trace")

			sold, refused := crowd(t, r, buyers, at)
			assert.EqualValues(t, units-1, sold)
			assert.EqualValues(t, buyers-units+1, refused)
			books, err = r.Books(ctx, "shoe")
			require.NoError(t, err)
			assert.Equal(t, Books{Left: 0, Orders: units, Units: units}, books)
			require.ErrorIs(t, r.Sell(ctx, order("shoe", "late", 1)), ErrSoldOut)
			books, err = r.Books(ctx, "other")
			require.NoError(t, err)
			assert.Equal(t, Books{Left: units}, books, "another product is another stock")
		})
	}
}

// crowd has each buyer come once, so many at a time.
func crowd(t *testing.T, r Rival, buyers, at int) (sold, refused int64) {
	t.Helper()
	var next, yes, no atomic.Int64
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for i := next.Add(1); i <= int64(buyers); i = next.Add(1) {
				switch err := r.Sell(t.Context(), order("shoe", fmt.Sprintf("u-%d", i), 1)); {
				case err == nil:
					yes.Add(1)
				case errors.Is(err, ErrSoldOut):
					no.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return yes.Load(), no.Load()
}

// TestLockThatIsNotToBeHad belongs to somebody who never gives it back.
func TestLockThatIsNotToBeHad(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	l := NewLock(client, "bench-held")
	l.wait = 50 * time.Millisecond
	t.Cleanup(func() { require.NoError(t, Clean(context.Background(), client, "bench-held")) })
	require.NoError(t, l.Stock(t.Context(), "shoe", 10))
	lock := keysOf("bench-held", "shoe").stock + ":lock"
	require.NoError(t, client.Do(t.Context(), client.B().Set().Key(lock).Value("somebody").Build()).Error())
	require.ErrorIs(t, l.Sell(t.Context(), order("shoe", "u", 1)), ErrBusy)
	books, err := l.Books(t.Context(), "shoe")
	require.NoError(t, err)
	require.Equal(t, Books{Left: 10}, books)
	owner, err := client.Do(t.Context(), client.B().Get().Key(lock).Build()).ToString()
	require.NoError(t, err)
	require.Equal(t, "somebody", owner, "nobody removes another's lock")
}

// TestBuyerWhoGivesUpLeavesNoLockBehind asks for the lock of a Redis that holds all writes back, until the time to wait is over
// or the buyer has gone.
func TestBuyerWhoGivesUpLeavesNoLockBehind(t *testing.T) {
	const patience = 30 * time.Second
	for name, buyerGoes := range map[string]bool{"the wait is over": false, "the buyer has gone": true} {
		t.Run(name, func(t *testing.T) {
			url := devtest.Redis(t).URL()
			client, other := connectTo(t, url), connectTo(t, url)
			l := NewLock(client, "bench-left")
			l.wait = time.Millisecond
			require.NoError(t, l.Stock(t.Context(), "shoe", 10))
			say := func(command ...string) string {
				reply, err := other.Do(t.Context(), other.B().Arbitrary(command...).Build()).ToString()
				require.NoError(t, err)
				return reply
			}
			say("CLIENT", "PAUSE", strconv.FormatInt(patience.Milliseconds(), 10), "WRITE")
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			began, done := time.Now(), make(chan error, 1)
			go func() { done <- l.Sell(ctx, order("shoe", "ann", 1)) }()
			devtest.Eventually(t, patience, "Redis to hold the write back", func() bool {
				return strings.Contains(say("INFO", "clients"), "blocked_clients:1\r\n") && time.Since(began) > l.wait
			})
			if buyerGoes {
				leave()
			}
			say("CLIENT", "UNPAUSE")
			err := <-done
			if buyerGoes {
				require.ErrorIs(t, err, context.Canceled)
			} else {
				require.NoError(t, err, "the lock came late, but it came")
			}
			held, err := other.Do(t.Context(), other.B().Exists().Key(keysOf("bench-left", "shoe").stock+":lock").Build()).AsInt64()
			require.NoError(t, err)
			require.Zero(t, held, "a lock is left behind")
		})
	}
}

func TestCleanRemovesOnlyItsOwn(t *testing.T) {
	client := connectTo(t, devtest.Redis(t).URL())
	for _, prefix := range []string{"bench-a", "bench-ab"} {
		r := NewScript(client, prefix)
		require.NoError(t, r.Stock(t.Context(), "shoe", 10))
		require.NoError(t, r.Sell(t.Context(), order("shoe", "u", 1)))
	}
	require.NoError(t, Clean(t.Context(), client, "bench-a"))
	size, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.EqualValues(t, 4, size, "stock, buyers, log and order of the other")
}
