package persist

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

func TestReadAheadServesOnlyWhatFollows(t *testing.T) {
	var reads []uint64
	var fault error
	read := func(after uint64) (portion, error) {
		reads = append(reads, after)
		return portion{entries: []engine.Entry{entryOf(after+1, 2)}}, fault
	}
	take := func(r *readAhead, after uint64) uint64 {
		p, err := r.take(after, read)
		require.NoError(t, err)
		return p.entries[0].Sequence
	}
	var r readAhead
	r.start(0, read)
	require.Nil(t, r.next, "nobody drains")

	r.begin()
	require.EqualValues(t, 1, take(&r, 0))
	r.start(1, read)
	require.EqualValues(t, 2, take(&r, 1))
	require.Equal(t, []uint64{0, 1}, reads, "what was read ahead is not read again")

	r.start(2, read)
	require.EqualValues(t, 2, take(&r, 1), "the commit failed: the same is to be had again")
	require.Equal(t, []uint64{0, 1, 2, 1}, reads)

	fault = errors.New("cut off")
	r.start(2, read)
	require.NotNil(t, r.next)
	r.end()
	fault, reads = nil, nil
	require.EqualValues(t, 3, take(&r, 2), "a read that failed is tried again")
	require.Equal(t, []uint64{2}, reads, "what was read ahead is forgotten at the end of a drain")
}

func TestABacklogIsReadAheadAndDrainedOnce(t *testing.T) {
	rig := newDrainRig(t, 1)
	l := rig.leaders[0]
	l.config.BatchOrders = 100
	rig.log(t, l, rig.newOrders(0, 1600))
	began := positionOf(t, rig.pool)
	require.NoError(t, l.engine.Install(0, began.epoch))
	require.NoError(t, l.drain(t.Context(), began, rig.logged[0]))
	require.EqualValues(t, 1600, count(t, rig.pool, `SELECT count(*) FROM orders`))
	require.EqualValues(t, 1600, count(t, rig.pool, `SELECT sold FROM products WHERE id = 'lamp-0'`))
	require.EqualValues(t, 1600, positionOf(t, rig.pool).orders)
	require.Nil(t, l.ahead.next, "no read is left behind")
}

func TestRowsAreEncodedAlikeHoweverTheyAreRead(t *testing.T) {
	rows := ordersOf(fold([]engine.Entry{entryOf(1, 300)}))
	var whole bytes.Buffer
	_, err := whole.ReadFrom(newRowReader(0, 1, rows))
	require.NoError(t, err)
	require.Greater(t, whole.Len(), 2*copyChunk)
	require.NoError(t, iotest.TestReader(newRowReader(0, 1, rows), whole.Bytes()))
}
