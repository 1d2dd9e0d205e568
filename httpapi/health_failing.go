package httpapi

import (
	"fmt"
	"math"
	"strings"

	"flashsale/engine"
)

// From here on health calls it a problem that order requests fail, as the alert OrdersFailing does.
const (
	failingShare    = 0.01 // of the requests of the last ten seconds that could be decided, and
	failingRequests = 2    // of them, also where the process has just started: more than one in five seconds
)

// failureProblems say that too many of the last order requests failed, and of what most of the orders: a queue that is full is
// no trouble of a store's.
func (s *Server) failureProblems() []string {
	live := s.traffic.live()
	share := live.failingShare()
	if share <= failingShare || live.failed <= failingRequests {
		return nil
	}
	const thousand = 1000
	said := fmt.Sprintf("%g %% of order requests fail", math.Round(share*thousand)/(thousand/100))
	if code := live.mainFailure(); code != "" {
		said += ": " + strings.ReplaceAll(string(code), "_", " ")
	}
	return []string{said}
}

// mainFailure returns what most of the orders failed of that did; empty = none did, or only changes of orders. Of several as
// frequent it is the first by name.
func (f *figures) mainFailure() (main engine.Code) {
	for code, n := range f.outcomes {
		most := f.outcomes[main]
		if n > 0 && isFailure(code) && (n > most || n == most && code < main) {
			main = code
		}
	}
	return main
}
