package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWatermarkCovers(t *testing.T) {
	w := Watermark{Epoch: 3, Sequence: 10}
	for _, test := range []struct {
		epoch, sequence uint64
		want            bool
	}{
		{3, 9, true},
		{3, 10, true},
		{3, 11, false},
		{2, 10, true},
		{2, 99, true}, // a later epoch began after the log of the earlier one was drained
		{4, 0, false},
		{4, 1, false},
	} {
		t.Run(fmt.Sprintf("%d-%d", test.epoch, test.sequence), func(t *testing.T) {
			require.Equal(t, test.want, w.covers(test.epoch, test.sequence))
		})
	}
}

func TestWatermarkOnlyAdvances(t *testing.T) {
	var board watermarkBoard
	steps := []struct{ show, want Watermark }{
		{Watermark{Epoch: 1, Sequence: 5, Orders: 50}, Watermark{Epoch: 1, Sequence: 5, Orders: 50}},
		{Watermark{Epoch: 1, Sequence: 4, Orders: 40}, Watermark{Epoch: 1, Sequence: 5, Orders: 50}},
		{Watermark{Epoch: 1, Sequence: 5, Orders: 99}, Watermark{Epoch: 1, Sequence: 5, Orders: 50}},
		{Watermark{Epoch: 2, Sequence: 0, Orders: 60}, Watermark{Epoch: 2, Sequence: 0, Orders: 60}},
		{Watermark{Epoch: 1, Sequence: 9, Orders: 90}, Watermark{Epoch: 2, Sequence: 0, Orders: 60}},
		{Watermark{Epoch: 2, Sequence: 1, Orders: 61}, Watermark{Epoch: 2, Sequence: 1, Orders: 61}},
	}
	for _, step := range steps {
		board.advance(step.show)
		require.Equal(t, step.want, board.get(), "after %+v was shown", step.show)
	}
}

// waitFor begins to wait and returns once the board knows of it.
func waitFor(ctx context.Context, t *testing.T, board *watermarkBoard, epoch, sequence uint64) <-chan any {
	t.Helper()
	result := make(chan any, 1)
	go func() {
		w, err := board.wait(ctx, epoch, sequence)
		if err != nil {
			result <- err
			return
		}
		result <- w
	}()
	eventually(t, "somebody waiting", func() bool {
		board.mu.Lock()
		defer board.mu.Unlock()
		return board.changed != nil
	})
	return result
}

func TestWatermarkWait(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	t.Run("does not wait for what is there", func(t *testing.T) {
		var board watermarkBoard
		board.advance(Watermark{Epoch: 1, Sequence: 7})
		over, cancel := context.WithCancel(ctx)
		cancel()
		w, err := board.wait(over, 1, 7)
		require.NoError(t, err)
		require.Equal(t, uint64(7), w.Sequence)
	})
	t.Run("wakes when the entry is in the ledger, not before", func(t *testing.T) {
		var board watermarkBoard
		board.advance(Watermark{Epoch: 1, Sequence: 1})
		near, far := waitFor(ctx, t, &board, 1, 2), waitFor(ctx, t, &board, 1, 4)
		board.advance(Watermark{Epoch: 1, Sequence: 3})
		require.Equal(t, Watermark{Epoch: 1, Sequence: 3}, <-near)
		eventually(t, "the other waiting on", func() bool {
			board.mu.Lock()
			defer board.mu.Unlock()
			return board.changed != nil
		})
		require.Empty(t, far, "entry 4 is not in the ledger yet")
		board.advance(Watermark{Epoch: 1, Sequence: 4})
		require.Equal(t, Watermark{Epoch: 1, Sequence: 4}, <-far)
	})
	t.Run("wakes at a later epoch", func(t *testing.T) {
		var board watermarkBoard
		waiting := waitFor(ctx, t, &board, 1, 100)
		board.advance(Watermark{Epoch: 2, Sequence: 0, Refused: 3})
		require.Equal(t, Watermark{Epoch: 2, Refused: 3}, <-waiting, "the caller sees by the epoch that the rows decide")
	})
	t.Run("ends with its context", func(t *testing.T) {
		var board watermarkBoard
		short, cancel := context.WithCancel(ctx)
		waiting := waitFor(short, t, &board, 1, 1)
		cancel()
		require.Equal(t, context.Canceled, <-waiting)
	})
}

func TestDrainRate(t *testing.T) {
	var board watermarkBoard
	start := time.Now()
	measure := func(after time.Duration, orders int64) float64 {
		board.mu.Lock()
		board.now.Orders = orders
		board.measure(start.Add(after))
		board.mu.Unlock()
		return board.drainRate()
	}
	require.Zero(t, measure(0, 100), "one reading is no rate")
	require.Zero(t, measure(rateWindow/2, 600), "nor is half a window")
	require.InDelta(t, 1000, measure(rateWindow, 1100), 1e-9)
	require.InDelta(t, 1000, measure(9*rateWindow, 1200), 1e-9, "the rate is that of the last busy window, not of a pause")
	require.InDelta(t, 300, measure(10*rateWindow, 1500), 1e-9)
}
