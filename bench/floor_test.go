package bench

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/bench/load"
)

func TestFloor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Floor(ctx, ln) }()

	where, err := load.ParseTarget("http://" + ln.Addr().String())
	require.NoError(t, err)
	c := newConn(t.Context(), &where, 10*time.Second, "")
	defer c.close()

	placed, err := c.post("/orders", []byte("anything"), "")
	require.NoError(t, err)
	assert.Equal(t, 201, placed.status)
	assert.NotEmpty(t, placed.text("orderId"))
	other, err := c.get("/orders")
	require.NoError(t, err)
	assert.Equal(t, 404, other.status)
	other, err = c.post("/order", nil, "")
	require.NoError(t, err)
	assert.Equal(t, 404, other.status)

	cancel()
	require.NoError(t, <-ended)
	_, err = ln.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestFloorAnswersLikeTheEngine(t *testing.T) {
	assert.InDelta(t, 300, len(floorBody), 20)
	assert.True(t, json.Valid([]byte(floorBody)))
}

func TestFloorWithoutAListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	require.ErrorContains(t, Floor(t.Context(), ln), "serve floor")
}
