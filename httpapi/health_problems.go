package httpapi

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"flashsale/engine"
)

// maxHealthyLag is from how far the ledger may be behind Redis before health calls it a problem. In a rush it falls
// behind by design; what has waited longer than this is at the mercy of Redis for too long.
const maxHealthyLag = 10 * time.Second

// problems say in words what is wrong; none = all is well.
func problems(findings []finding, states []engine.PartitionState) []string {
	var said []string
	cause := false // why orders fail in all partitions has been said
	for i := range findings {
		if findings[i].detail != "" {
			said = append(said, findings[i].sentence(sells(findings, states)))
			cause = cause || !findings[i].ordersGoOn
		}
	}
	said = append(said, troubles(states, cause)...)
	if _, orders, lag := waiting(states); lag > maxHealthyLag {
		said = append(said, fmt.Sprintf("the ledger is %s orders behind, the oldest of them for %s seconds",
			grouped(orders), grouped(int64(lag/time.Second))))
	}
	return said
}

// sentence says of a check that fails what its subject does not do, and what that means for orders.
func (f *finding) sentence(sells bool) string {
	said := capitalised(f.name) + " " + f.detail
	if f.detail == detailSilent {
		said = capitalised(f.name) + " does not answer"
	}
	if f.meanwhile != "" && sells == f.ordersGoOn {
		said += "; " + f.meanwhile
	}
	return said
}

// sells tells whether orders can be placed: a partition is open, and what fails is nothing that they need.
func sells(findings []finding, states []engine.PartitionState) bool {
	open := false
	for i := range states {
		open = open || states[i].Open
	}
	for i := range findings {
		open = open && (findings[i].detail == "" || findings[i].ordersGoOn)
	}
	return open
}

// troubles say what keeps partitions from taking orders, or did just now, once for all that it keeps: when Redis is away, it
// is the same for each, and whoever reads it from afar has no time to compare. Where that has been said already, partitions that
// are open have no trouble of their own.
func troubles(states []engine.PartitionState, known bool) (said []string) {
	var kinds []string
	of := make(map[string][]string) // trouble -> partitions
	for i := range states {
		if trouble := troubleOf(&states[i]); trouble != "" && (!known || !states[i].Open) {
			if of[trouble] == nil {
				kinds = append(kinds, trouble)
			}
			of[trouble] = append(of[trouble], strconv.Itoa(states[i].Partition))
		}
	}
	for _, trouble := range kinds {
		said = append(said, subject(of[trouble], len(states))+" "+trouble)
	}
	return said
}

// subject names some of all partitions, and what they are doing: "partitions 0, 1 and 3 are".
func subject(some []string, all int) string {
	last := len(some) - 1
	switch {
	case last == 0:
		return "partition " + some[0] + " is"
	case len(some) == all:
		return "all " + strconv.Itoa(all) + " partitions are"
	default:
		return "partitions " + strings.Join(some[:last], ", ") + " and " + some[last] + " are"
	}
}

// troubleOf says what keeps a partition from taking orders, or did just now.
func troubleOf(p *engine.PartitionState) string {
	switch {
	case !p.Open:
		return "shut: " + p.Reason
	case p.Reason != "":
		return "open, but " + p.Reason
	default:
		return ""
	}
}

func capitalised(name string) string {
	if name == "" {
		return ""
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// grouped writes a number, not negative, as people read it: 12,000.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// overall is down where no order can be placed at all.
func overall(findings []finding, states []engine.PartitionState, said []string) string {
	switch {
	case !sells(findings, states):
		return statusDown
	case len(said) > 0:
		return statusDegraded
	default:
		return statusOK
	}
}
