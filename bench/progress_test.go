package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"flashsale/bench/load"
)

func TestALineOfProgressStaysOne(t *testing.T) {
	assert.Equal(t, "rush  1", fit("rush  12/s", 8))
	assert.Equal(t, "rush   ", fit("rush", 8))
	assert.Equal(t, "r", fit("rush", 0), "a terminal that is said to have no column")
}

func TestTheLastLookTellsTheRateOfTheOneBefore(t *testing.T) {
	looks := []load.Progress{
		{Elapsed: time.Second, Accepted: 1000},
		{Elapsed: 3 * time.Second, Accepted: 5000},
		{Elapsed: 3*time.Second + time.Millisecond, Accepted: 5064}, // the answers under way, once the load is over
	}
	paces := pace{now: func() (next load.Progress) {
		next, looks = looks[0], looks[1:]
		return next
	}}
	for _, want := range []string{"1,000/s  accepted 1,000", "2,000/s  accepted 5,000", "2,000/s  accepted 5,064"} {
		assert.Contains(t, paces.text(), want)
	}
}
