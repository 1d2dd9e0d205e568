package httpapi

import (
	"time"

	"flashsale/engine"
)

// lastReconciled returns the last comparison of Redis with the ledger, if there was one.
func (s *Server) lastReconciled() (engine.Reconciled, bool) {
	if !s.opened.Load() || s.deps.Reconciled == nil {
		return engine.Reconciled{}, false
	}
	return s.deps.Reconciled()
}

// driftProblems says in words what the last reconciliation found and nobody has repaired.
func (s *Server) driftProblems() []string {
	last, ok := s.lastReconciled()
	if !ok || last.Drift == 0 {
		return nil
	}
	if last.Drift == 1 {
		return []string{"the last reconciliation found 1 thing on which Redis and the ledger differ"}
	}
	return []string{"the last reconciliation found " + grouped(last.Drift) + " things on which Redis and the ledger differ"}
}

// appendReconciled appends what came of the last reconciliation and how long ago that was; null where there was none.
func (s *Server) appendReconciled(dst []byte) []byte {
	last, ok := s.lastReconciled()
	if !ok {
		return append(dst, `,"reconciliation":null`...)
	}
	dst = appendIntMember(dst, `,"reconciliation":{"run":`, last.Run)
	dst = appendStringMember(dst, `,"outcome":`, string(last.Outcome))
	dst = appendIntMember(dst, `,"drift":`, last.Drift)
	dst = appendIntMember(dst, `,"repaired":`, last.Repaired)
	dst = appendTime(append(dst, `,"finishedAt":`...), last.FinishedAt.UnixMilli())
	age := max(0, time.Since(last.FinishedAt).Milliseconds())
	return append(appendThousandths(append(dst, `,"ageSeconds":`...), age), '}')
}
