package stream

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who was told goodbye is listened to for so long and no longer, whatever it sends meanwhile.
func TestTheLastTimeStands(t *testing.T) {
	var h hearing
	var until time.Time
	set := func(t time.Time) error {
		until = t
		return nil
	}
	first, last, later := time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)
	require.NoError(t, h.until(first, set))
	require.Equal(t, first, until)
	require.NoError(t, h.last(last, set))
	require.NoError(t, h.until(later, set))
	require.Equal(t, last, until)
}

// Who subscribes while a wave is under way may get a newer update first. Nothing goes back behind it.
func TestNoUpdateComesAfterANewerOne(t *testing.T) {
	here, _ := net.Pipe()
	c := &client{outbox: newOutbox(here)}
	older, newer := numbered{encode(Update, 1), 1}, numbered{encode(Update, 2), 2}
	for _, made := range []numbered{newer, older, newer} {
		c.update(made)
	}
	require.Len(t, c.outbox.queue, 1)
	require.Equal(t, piece{bytes: newer.frame}, <-c.outbox.queue)
}
