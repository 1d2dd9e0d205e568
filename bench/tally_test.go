package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTallyAddsUp(t *testing.T) {
	a, b := newTally(time.Second), newTally(time.Second)
	a.note(outcome{fate: fateAccepted, orderID: "1"}, time.Millisecond)
	a.note(outcome{fate: fateRefused, why: "sold_out"}, time.Microsecond)
	b.note(outcome{fate: fateAccepted, orderID: "2"}, 3*time.Millisecond)
	b.note(outcome{fate: fateRefused, why: "sold_out"}, time.Microsecond)
	b.note(outcome{fate: fateUnknown, why: "504", orderID: "3"}, time.Second)
	b.note(outcome{fate: fateUnknown, why: "timeout"}, time.Second)
	b.note(outcome{fate: fateFailed, why: "503"}, time.Second)
	a.add(b)
	assert.Equal(t, []string{"1", "2"}, a.accepted)
	assert.Equal(t, []string{"3"}, a.unknown)
	assert.EqualValues(t, 1, a.nameless)
	assert.Equal(t, map[string]int64{"sold_out": 2}, a.refused)
	assert.Equal(t, map[string]int64{"504": 1, "timeout": 1, "503": 1}, a.failed)
	assert.EqualValues(t, 2, a.acceptedUs.TotalCount())
	assert.InDelta(t, 3000, a.acceptedUs.Max(), 3)
}

func TestTallyBoundsItsReasons(t *testing.T) {
	reasons := map[string]int64{}
	for i := range maxReasons + 10 {
		count(reasons, fmt.Sprint(i), 1)
	}
	assert.Len(t, reasons, maxReasons+1)
	assert.EqualValues(t, 10, reasons[otherReasons])
	assert.EqualValues(t, maxReasons+10, total(reasons))
}

func TestLatencyBeyondTheRangeCountsAsItsEnd(t *testing.T) {
	tally := newTally(time.Millisecond)
	tally.note(outcome{fate: fateAccepted, orderID: "1"}, time.Hour)
	assert.EqualValues(t, 1, tally.acceptedUs.TotalCount())
}
