package persist

import (
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

func TestAnEarlierAttemptCanPublishNoMore(t *testing.T) {
	pool := ledger(t, 100)
	l := &leader{follower: &follower{partition: 0}, conn: connOf(t, pool), last: t.Context()}
	paused := positionOf(t, pool)
	var err error
	paused.attempt, err = l.beginAttempt(t.Context(), paused)
	require.NoError(t, err)
	later := positionOf(t, pool)
	later.attempt, err = l.beginAttempt(t.Context(), later)
	require.NoError(t, err)
	require.Equal(t, paused.attempt+1, later.attempt)

	next := engine.Epoch{Number: 2, Namespace: "2-0123456789abcdef", Replid: "r"}
	require.ErrorIs(t, l.publish(t.Context(), paused, next), errMoved, "it was paused while another began")
	require.NoError(t, l.publish(t.Context(), later, next))
	require.ErrorIs(t, l.publish(t.Context(), later, next), errMoved, "once")

	at := positionOf(t, pool)
	require.Equal(t, next, at.epoch)
	require.Zero(t, at.sequence)
	require.Equal(t, []string{"1-0123456789abcdef"}, at.stale, "the old namespace is to be dropped")
}

func TestAnAttemptOfAnotherEpochDoesNotBegin(t *testing.T) {
	pool := ledger(t, 100)
	l := &leader{follower: &follower{partition: 0}, conn: connOf(t, pool), last: t.Context()}
	at := positionOf(t, pool)
	exec(t, pool, `UPDATE partitions SET epoch = 2`)
	_, err := l.beginAttempt(t.Context(), at)
	require.ErrorIs(t, err, errMoved)
}
