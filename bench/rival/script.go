package rival

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// sellOne does all that an order needs in one atomic step: six calls.
//
// KEYS stock, buyers, order, log; ARGV id, user, quantity, limit, ms. Returns what came of it.
const sellOne = `#!lua
local quantity, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
if tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '0') + quantity > limit then return 'limit' end
if tonumber(redis.call('GET', KEYS[1]) or '0') < quantity then return 'sold_out' end
redis.call('DECRBY', KEYS[1], quantity)
redis.call('HINCRBY', KEYS[2], ARGV[2], quantity)
redis.call('HSET', KEYS[3], 'user', ARGV[2], 'quantity', ARGV[3], 'status', 'confirmed', 'createdMs', ARGV[5])
redis.call('XADD', KEYS[4], '*', 'id', ARGV[1], 'user', ARGV[2], 'quantity', ARGV[3])
return 'ok'
`

// Script sells by one EVALSHA an order.
type Script struct {
	client rueidis.Client
	prefix string
	sell   *rueidis.Lua
}

// NewScript keeps its keys behind a prefix.
func NewScript(client rueidis.Client, prefix string) *Script {
	return &Script{client: client, prefix: prefix, sell: rueidis.NewLuaScript(sellOne)}
}

// Name says how it sells.
func (s *Script) Name() string { return "one EVALSHA per order" }

// Stock puts a product on sale.
func (s *Script) Stock(ctx context.Context, product string, units int64) error {
	k := keysOf(s.prefix, product)
	return stockProduct(ctx, s.client, &k, units)
}

// Sell runs the script.
func (s *Script) Sell(ctx context.Context, o *Order) error {
	k := keysOf(s.prefix, o.Product)
	outcome, err := s.sell.Exec(ctx, s.client, []string{k.stock, k.buyers, k.order + o.ID, k.log}, []string{
		o.ID, o.User, strconv.FormatInt(o.Quantity, 10), strconv.Itoa(PerUser), strconv.FormatInt(o.At.UnixMilli(), 10),
	}).ToString()
	switch {
	case err != nil:
		return fmt.Errorf("sell: %w", err)
	case outcome == "limit":
		return ErrLimit
	case outcome == "sold_out":
		return ErrSoldOut
	}
	return nil
}

// Books reads the counters.
func (s *Script) Books(ctx context.Context, product string) (Books, error) {
	k := keysOf(s.prefix, product)
	return booksOf(ctx, s.client, &k)
}
