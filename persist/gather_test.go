package persist

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestOnlyAStreamOfOrdersIsWorthWaitingFor(t *testing.T) {
	const batch = 5000
	for brought, want := range map[int64]bool{
		0: false, 1: false, gatherFrom - 1: false, // one by one: durable at once
		gatherFrom: true, 137: true, batch/2 - 1: true,
		batch / 2: false, batch: false, // a backlog: on with it
	} {
		assert.Equal(t, want, worthWaiting(brought, batch), "after %d orders", brought)
	}
}

func TestAPauseIsShortForAWhileAfterAnotherProcessAsked(t *testing.T) {
	l := &leader{follower: &follower{Keeper: &Keeper{config: KeeperConfig{}.withDefaults()}}}
	now := time.Now()
	assert.Equal(t, defaultGatherPause, l.gatherFor(now), "nobody ever asked")
	l.hurried = now
	assert.Equal(t, hurriedPause, l.gatherFor(now))
	assert.Equal(t, hurriedPause, l.gatherFor(now.Add(hurriedFor-1)))
	assert.Equal(t, defaultGatherPause, l.gatherFor(now.Add(hurriedFor)))
	l.config.GatherPause = hurriedPause / 2
	assert.Equal(t, hurriedPause/2, l.gatherFor(now), "and never longer for it")
	assert.Greater(t, hurriedFor, followInterval, "it is said again before it is forgotten")
}

func TestWhatIsHeardOfAHurryMayBeAnything(t *testing.T) {
	k := &Keeper{hurry: []chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}}
	for _, payload := range []string{"", "two", "-1", "2", "1 or so"} {
		k.hurryUp(payload)
	}
	assert.Empty(t, k.hurry[0])
	assert.Empty(t, k.hurry[1])
	k.hurryUp("1")
	k.hurryUp("1") // before the leader has taken it in
	assert.Empty(t, k.hurry[0])
	assert.Len(t, k.hurry[1], 1)
}
