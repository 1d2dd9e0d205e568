// Package bench sells to many buyers at once, over HTTP and as a stranger would, measures how fast that went, and then proves
// that every unit was sold once, that no order was lost, and that the ledger has them all.
//
// [Run] is one measured sale, by one of the [Scenarios]. [Floor] is the server that does nothing: what is reached against
// the engine is only comparable between machines as a ratio to what is reached against the floor in the same run.
package bench
