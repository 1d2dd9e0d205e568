package httpapi

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"flashsale/internal/positive"
)

// Limit is how often one client may ask. The zero value is no limit.
type Limit struct {
	Requests int           // that a client earns in each
	Per      time.Duration // of these, evenly spread; at most an hour; default a second
	Burst    int           // requests that a client may have in hand; default Requests
}

// maxLimit bounds both numbers of a limit. With intervals of at most an hour no sum of theirs overflows.
const maxLimit = 1_000_000

// limitUnits are what the requests of a limit can be counted by.
var limitUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// ParseLimit reads a limit: 50/s, or 600/m:20 where the burst is another than the requests. "" is no limit.
func ParseLimit(text string) (Limit, error) {
	if text == "" {
		return Limit{}, nil
	}
	rate, burst, hasBurst := strings.Cut(text, ":")
	requests, unit, _ := strings.Cut(rate, "/")
	if !hasBurst {
		burst = requests
	}
	limit := Limit{Requests: limitNumber(requests), Per: limitUnits[unit], Burst: limitNumber(burst)}
	if limit.Requests == 0 || limit.Per == 0 || limit.Burst == 0 {
		return Limit{}, fmt.Errorf("%q is no limit: it must be like 50/s or 600/m:20, requests a second, minute (m) or hour (h) "+
			"and after the colon how many at once, both from 1 to %d", text, maxLimit)
	}
	return limit, nil
}

// limitNumber returns a number that a limit may have, or 0.
func limitNumber(text string) int {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > maxLimit {
		return 0
	}
	return int(n)
}

// set tells whether there is a limit at all.
func (l Limit) set() bool { return l.Requests > 0 }

func (l Limit) withDefaults() Limit {
	l.Per, l.Burst = positive.Or(l.Per, time.Second), positive.Or(l.Burst, l.Requests)
	return l
}

// interval is the time in which a client earns one request.
func (l Limit) interval() time.Duration { return max(l.Per/time.Duration(l.Requests), 1) }

// window is the time in which a client that has used its burst earns it again, in whole seconds.
func (l Limit) window() int64 { return wholeSeconds(l.interval() * time.Duration(l.Burst)) }

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
