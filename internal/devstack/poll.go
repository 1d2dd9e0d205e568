package devstack

import (
	"context"
	"os"
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

// removeDir removes a folder of servers that have ended. What they forked may be
// writing there for a moment more.
func removeDir(dir string) error {
	err := os.RemoveAll(dir)
	for began := time.Now(); err != nil && time.Since(began) < killAfter; {
		<-time.After(pollInterval)
		err = os.RemoveAll(dir)
	}
	return err
}

func containsAll(have, wanted []string) bool {
	for _, want := range wanted {
		if !slices.Contains(have, want) {
			return false
		}
	}
	return true
}
