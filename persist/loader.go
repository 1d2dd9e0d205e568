package persist

import (
	"context"

	"flashsale/engine"
)

// loader writes into the hashes and the sorted set of a namespace, chunk by chunk.
type loader struct {
	engine *engine.Engine
	keys   engine.Keys
	replid string
	chunks int
	pairs  map[string][]string // target -> field, value, .. (of the sorted set: score, member, ..)

	// generation is the one that idempotency keys of now belong to, which meta must say: floor(nowMs / ttl).
	generation int64
}

// chunkFields is how many fields a chunk brings; Lua's unpack takes 7,900 values.
const chunkFields = 1000

func (o *loader) add(ctx context.Context, target, field, value string) error {
	o.pairs[target] = append(o.pairs[target], field, value)
	if len(o.pairs[target]) < 2*chunkFields {
		return nil
	}
	return o.flush(ctx, target)
}

func (o *loader) flush(ctx context.Context, target string) error {
	o.chunks++
	pairs := o.pairs[target]
	o.pairs[target] = nil // the call may outlive its context, so its strings stay as they are
	return o.engine.Load(ctx, o.keys, target, o.chunks, o.replid, pairs)
}

// end writes what is left, and begins the namespace of an empty partition.
func (o *loader) end(ctx context.Context) error {
	for _, target := range o.keys.All() {
		if len(o.pairs[target]) == 0 {
			continue
		}
		if err := o.flush(ctx, target); err != nil {
			return err
		}
	}
	if o.chunks > 0 {
		return nil
	}
	return o.flush(ctx, o.keys.Buyers)
}
