// Package reconcile compares Redis and the ledger while sales go on, says in words where they differ, and repairs it where
// it is told to.
//
// Both are functions of a partition's log: Redis has it up to its end, the ledger up to its watermark. So a comparison takes
// one snapshot of the ledger, reads what Redis has at one later instant, and plays the log entries in between on top of the
// snapshot: what comes out must be what Redis has, whatever is on its way. See docs/decisions/0025.
package reconcile
