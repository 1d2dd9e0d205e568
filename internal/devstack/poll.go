package devstack

import (
	"context"
	"slices"
	"time"
)

const pollInterval = 10 * time.Millisecond

// poll asks until the answer is yes or an error, or ctx ends.
func poll(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func containsAll(have, wanted []string) bool {
	for _, want := range wanted {
		if !slices.Contains(have, want) {
			return false
		}
	}
	return true
}
