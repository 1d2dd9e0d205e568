package cost

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// floorPipeline is how many calls of a floor are sent together.
const floorPipeline = 128

// floor scripts are the least that one call can be.
var floorScripts = []struct{ name, script string }{
	{"an empty EVALSHA", "#!lua\nreturn 0"},
	{"an EVALSHA with one HINCRBY", "#!lua\nreturn redis.call('HINCRBY', KEYS[1], 'n', 1)"},
}

// floor returns what a call of a script costs, in µs.
func (m *measurement) floor(ctx context.Context, script string) (float64, error) {
	c := m.server.client
	key := freshName()
	sha, err := c.Do(ctx, c.B().ScriptLoad().Script(script).Build()).ToString()
	if err != nil {
		return 0, fmt.Errorf("load: %w", err)
	}
	defer func() { _ = c.Do(context.WithoutCancel(ctx), c.B().Unlink().Key(key).Build()).Error() }()
	calls := 0
	us, err := m.server.cpuOf(ctx, func() error {
		for ; calls < m.Orders; calls += floorPipeline {
			if err := m.pipeline(ctx, sha, key); err != nil {
				return err
			}
		}
		return nil
	})
	return us / float64(calls), err
}

func (m *measurement) pipeline(ctx context.Context, sha, key string) error {
	calls := make(rueidis.Commands, floorPipeline)
	for i := range calls {
		calls[i] = m.server.client.B().Evalsha().Sha1(sha).Numkeys(1).Key(key).Build()
	}
	for _, reply := range m.server.client.DoMulti(ctx, calls...) {
		if err := reply.Error(); err != nil {
			return fmt.Errorf("evalsha: %w", err)
		}
	}
	return nil
}
