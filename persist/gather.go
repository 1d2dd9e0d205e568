package persist

import (
	"context"
	"strconv"
	"time"
)

// A commit costs Postgres, Redis and the disk the same for ten orders as for a thousand, and they share the machine with the
// sale. So a leader lets orders gather between two commits while they keep coming, unless somebody waits for the ledger: an
// order of mode ledger, a change of a product, a buyer's list. Of those in its own process the engine tells it; other processes
// tell it themselves, once a second at the most. What they say may get lost: then somebody waits some milliseconds longer.

const (
	// defaultGatherPause is how long orders gather where nobody waits.
	defaultGatherPause = 25 * time.Millisecond
	// hurriedPause is how long they do where somebody in another process may.
	hurriedPause = 5 * time.Millisecond
	// hurriedFor is how long a leader goes by what another process said, which says it again, if it is so, once in followInterval.
	hurriedFor = 2 * followInterval
	// gatherFrom is how many orders a commit brought where more are to be expected at once.
	gatherFrom = 32
	// hurryChannel is where a process says that somebody waits for the ledger of a partition, whose number is the payload.
	hurryChannel = "flashsale_hurry"
)

// worthWaiting tells from what the last commit brought whether the next one gains by a pause: not where orders come one
// by one, and not where there is a backlog.
func worthWaiting(brought int64, batchOrders int) bool {
	return brought >= gatherFrom && brought < int64(batchOrders)/2
}

// gather lets orders gather until somebody waits for the ledger, for as long as it may.
func (l *leader) gather(ctx context.Context) {
	timer := time.NewTimer(l.gatherFor(time.Now()))
	defer timer.Stop()
	select {
	case <-l.hurry[l.partition]:
		l.hurried = time.Now()
	case <-l.engine.LedgerWanted(l.partition):
	case <-timer.C:
	case <-ctx.Done():
	}
}

// gatherFor is how long orders may gather if nobody says that they wait.
func (l *leader) gatherFor(now time.Time) time.Duration {
	if now.Sub(l.hurried) < hurriedFor {
		return min(hurriedPause, l.config.GatherPause)
	}
	return l.config.GatherPause
}

// rest waits for d, or until a script of the partition is refused; false means that ctx ended. Once in that time it tells the
// leader where somebody here waits for the ledger.
func (f *follower) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	wanted := f.engine.LedgerWanted(f.partition)
	for {
		select {
		case <-timer.C:
			return true
		case <-f.engine.Alarm(f.partition):
			return true
		case <-wanted:
			f.askToHurry(ctx)
			wanted = nil
		case <-ctx.Done():
			return false
		}
	}
}

// askToHurry tells the leader, in whatever process it is, that somebody here waits for the ledger.
func (f *follower) askToHurry(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, followInterval)
	defer cancel()
	_, _ = f.pool.Exec(ctx, announce, hurryChannel, strconv.Itoa(f.partition)) // if the ledger is away, follow is about to say so
}

// hurryUp takes in that somebody waits for the ledger of a partition, for its leader, if that is of this process. What can't be
// read is of a version that says it in another way.
func (k *Keeper) hurryUp(payload string) {
	partition, err := strconv.Atoi(payload)
	if err != nil || partition < 0 || partition >= len(k.hurry) {
		return
	}
	select {
	case k.hurry[partition] <- struct{}{}:
	default:
	}
}
