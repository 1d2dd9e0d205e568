package load

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func noted(p *Plan, samples ...sample) *tally {
	full := p.withDefaults()
	t := newTally(&full)
	n := newNotebook(t)
	for _, s := range samples {
		n.note(s)
	}
	n.handOver()
	return t
}

func TestTallyCountsByFate(t *testing.T) {
	tally := noted(&Plan{Warmup: time.Second},
		sample{Outcome: Outcome{Fate: Accepted}, at: 500 * time.Millisecond, took: time.Hour},
		sample{Outcome: Outcome{Fate: Accepted}, at: time.Second, took: 3 * time.Millisecond},
		sample{Outcome: Outcome{Fate: Refused, Why: "sold_out"}, at: 2 * time.Second, took: time.Microsecond},
		sample{Outcome: Outcome{Fate: Failed, Why: "503"}, at: 2 * time.Second, took: time.Second},
		sample{Outcome: Outcome{Fate: Unknown, Why: "504"}, at: 3 * time.Second, took: time.Second},
	)
	op := &tally.ops[0]
	assert.Equal(t, Counts{Accepted: 1, Refused: map[string]int64{}, Failed: map[string]int64{}}, op.Warmup)
	want := Counts{
		Accepted: 1, Refused: map[string]int64{"sold_out": 1}, Failed: map[string]int64{"503": 1, "504": 1}, Unknown: 1,
	}
	assert.Equal(t, want, op.Counts)
	assert.EqualValues(t, 2, op.Counts.Answered())
	assert.EqualValues(t, 4, op.Counts.All())
	assert.InDelta(t, 3000, op.AcceptedUs.Max(), 3)
	assert.EqualValues(t, 2, op.AnsweredUs().TotalCount())
	assert.Equal(t, 3*time.Second, tally.last)
}

// TestLatenessIsOfWhatIsMeasured: like all latencies, it leaves the warm-up out, and it counts visits, not requests.
func TestLatenessIsOfWhatIsMeasured(t *testing.T) {
	answered := Outcome{Fate: Failed, Why: "timeout"}
	tally := noted(&Plan{Warmup: time.Second},
		sample{Outcome: answered, at: 900 * time.Millisecond, paced: true, late: time.Second},
		sample{Outcome: answered, at: 2 * time.Second, paced: true, late: 3 * time.Millisecond},
		sample{Outcome: answered, at: 2 * time.Second, late: time.Second},
	)
	assert.EqualValues(t, 1, tally.lateUs.TotalCount())
	assert.InDelta(t, 3000, tally.lateUs.Max(), 3)
}

func TestTallyKeepsTheFirstExplanation(t *testing.T) {
	tally := noted(&Plan{},
		sample{Outcome: Outcome{Fate: Failed, Why: "400"}}, sample{Outcome: Outcome{Fate: Failed, Why: "400", Detail: "no replica"}},
		sample{Outcome: Outcome{Fate: Failed, Why: "400", Detail: "another"}},
	)
	assert.Equal(t, map[string]string{"400": "no replica"}, tally.ops[0].Details)
}

// TestSlotsAreJoined: a long run has no more of them than a short one.
func TestSlotsAreJoined(t *testing.T) {
	var samples []sample
	for second := range 1000 {
		samples = append(samples, sample{Outcome: Outcome{Fate: Accepted}, at: time.Duration(second) * time.Second, took: time.Duration(second) * time.Millisecond})
	}
	tally := noted(&Plan{}, samples...)
	assert.LessOrEqual(t, len(tally.slots), maxSlots)
	assert.Greater(t, len(tally.slots), maxSlots/4)
	assert.EqualValues(t, 1000, sumOf(tally.slots).Accepted)
	assert.EqualValues(t, 999_000, tally.slots[len(tally.slots)-1].SlowestUs)
}

func TestTallyBoundsItsReasons(t *testing.T) {
	counts := newCounts()
	for i := range 2 * maxWhy {
		counts.note(Outcome{Fate: Failed, Why: fmt.Sprint(i)})
	}
	assert.Len(t, counts.Failed, maxWhy+1)
	assert.EqualValues(t, maxWhy, counts.Failed[otherWhy])
	sum := newCounts()
	sum.add(&counts)
	assert.EqualValues(t, 2*maxWhy, Total(sum.Failed))
}

func TestLatencyBeyondTheRangeCountsAsItsEnd(t *testing.T) {
	tally := noted(&Plan{Timeout: time.Millisecond}, sample{Outcome: Outcome{Fate: Accepted}, at: time.Second, took: time.Hour})
	assert.EqualValues(t, 1, tally.ops[0].AcceptedUs.TotalCount())
}
