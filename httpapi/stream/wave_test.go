package stream

import (
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A thousand writes don't come in one go, and are done when the next update is due.
func TestAWaveIsSpread(t *testing.T) {
	const interval = 200 * time.Millisecond
	h := New(Config{Interval: interval, Update: func() (json.RawMessage, *Refusal) { return json.RawMessage(`{}`), nil }})
	var boxes []*outbox
	for range 4 * waveParts {
		here, _ := net.Pipe()
		c := &client{hub: h, outbox: newOutbox(here)}
		c.subscribed.Store(true)
		h.clients[c] = struct{}{}
		boxes = append(boxes, c.outbox)
	}
	began := time.Now()
	h.broadcast(t.Context())
	require.GreaterOrEqual(t, time.Since(began), (waveParts-1)*interval/(waveParts*waveShare))
	for _, o := range boxes {
		require.Len(t, o.queue, 1)
	}
}
