// Package engine is the domain and the hot path: who gets a unit, decided in Redis by scripts that run on batches.
//
// A [Reservation] is queued in the lane of its product's partition. While one call of a lane is in flight the next
// batch gathers, and where calls have been large of late it waits a millisecond at the most for most of those who usually come. A
// batch gets its order ids when it is taken. The scripts are in package lua; this package builds their arguments, runs
// them, decodes their replies and tells apart the three outcomes a caller can meet: yes, no and unknown.
//
// The engine never talks to Postgres. Package persist tells it which epoch is in force ([Engine.Install]) and how far
// the ledger has come ([Engine.Advance]), and drives a partition's life through [Engine.Partition].
package engine
