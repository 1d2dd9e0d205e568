package rival

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"flashsale/internal/pause"
)

// The lock of a product: how long it holds if its owner dies, and how it is waited for.
const (
	lockTTL      = 5 * time.Second
	lockWait     = time.Second // then the buyer is sent away
	lockRetry    = time.Millisecond
	lockRetryMax = 16 * time.Millisecond // the pauses double up to there, and each is cut by chance
	unlockWait   = lockTTL               // for a lock to be given back; then it lapses by itself
)

// unlockMine removes a lock only if it is still one's own.
const unlockMine = `#!lua
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`

// Lock sells as the system that the engine replaces: take the product's lock (SET NX PX), read, check, write, release.
type Lock struct {
	client rueidis.Client
	prefix string
	unlock *rueidis.Lua
	wait   time.Duration // for the lock
}

// NewLock keeps its keys behind a prefix.
func NewLock(client rueidis.Client, prefix string) *Lock {
	return &Lock{client: client, prefix: prefix, unlock: rueidis.NewLuaScript(unlockMine), wait: lockWait}
}

// Name says how it sells.
func (l *Lock) Name() string { return "lock: SET NX, read, write, DEL" }

// Stock puts a product on sale.
func (l *Lock) Stock(ctx context.Context, product string, units int64) error {
	k := keysOf(l.prefix, product)
	return stockProduct(ctx, l.client, &k, units)
}

// Sell waits for the lock and sells under it.
func (l *Lock) Sell(ctx context.Context, o *Order) error {
	k := keysOf(l.prefix, o.Product)
	lock := k.stock + ":lock"
	if err := l.acquire(ctx, lock, o.ID); err != nil {
		return err
	}
	outcome := l.sellLocked(ctx, &k, o)
	if err := l.release(ctx, lock, o.ID); err != nil && outcome == nil {
		return err
	}
	return outcome
}

// acquire tries until the wait is over. A try is never cut short by the wait: Redis may have set the lock already, and then it
// is the buyer's, who would leave it behind for all others to wait for.
func (l *Lock) acquire(ctx context.Context, lock, owner string) error {
	retry, began := lockRetry, time.Now()
	for {
		take := l.client.B().Set().Key(lock).Value(owner).Nx().PxMilliseconds(lockTTL.Milliseconds()).Build()
		err := l.client.Do(ctx, take).Error()
		if err == nil {
			return nil
		}
		if !rueidis.IsRedisNil(err) {
			return errors.Join(fmt.Errorf("lock: %w", err), l.release(ctx, lock, owner)) // nobody knows whether it was set
		}
		left := l.wait - time.Since(began)
		if left <= 0 {
			return ErrBusy
		}
		if !pause.For(ctx, min(left, retry/2+rand.N(retry/2+1))) {
			return ErrBusy
		}
		retry = min(2*retry, lockRetryMax)
	}
}

// release gives the lock back, also for a buyer who has gone: then ctx has ended.
func (l *Lock) release(ctx context.Context, lock, owner string) error {
	if ctx.Err() != nil {
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockWait)
		defer cancel()
		ctx = fresh
	}
	if err := l.unlock.Exec(ctx, l.client, []string{lock}, []string{owner}).Error(); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}

// sellLocked reads, checks and writes, each in one round trip.
func (l *Lock) sellLocked(ctx context.Context, k *keys, o *Order) error {
	b := l.client.B
	read := l.client.DoMulti(ctx, b().Get().Key(k.stock).Build(), b().Hget().Key(k.buyers).Field(o.User).Build())
	left, err := read[0].AsInt64()
	if err != nil && !rueidis.IsRedisNil(err) {
		return fmt.Errorf("read stock: %w", err)
	}
	bought, err := read[1].AsInt64()
	if err != nil && !rueidis.IsRedisNil(err) {
		return fmt.Errorf("read buyer: %w", err)
	}
	switch {
	case bought+o.Quantity > PerUser:
		return ErrLimit
	case left < o.Quantity:
		return ErrSoldOut
	}
	quantity := strconv.FormatInt(o.Quantity, 10)
	written := l.client.DoMulti(ctx,
		b().Set().Key(k.stock).Value(strconv.FormatInt(left-o.Quantity, 10)).Build(),
		b().Hset().Key(k.buyers).FieldValue().FieldValue(o.User, strconv.FormatInt(bought+o.Quantity, 10)).Build(),
		b().Hset().Key(k.order+o.ID).FieldValue().FieldValue("user", o.User).FieldValue("quantity", quantity).
			FieldValue("status", "confirmed").FieldValue("createdMs", strconv.FormatInt(o.At.UnixMilli(), 10)).Build(),
		b().Xadd().Key(k.log).Id("*").FieldValue().FieldValue("id", o.ID).FieldValue("user", o.User).FieldValue("quantity", quantity).Build(),
	)
	for _, reply := range written {
		if err := reply.Error(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// Books reads the counters.
func (l *Lock) Books(ctx context.Context, product string) (Books, error) {
	k := keysOf(l.prefix, product)
	return booksOf(ctx, l.client, &k)
}
