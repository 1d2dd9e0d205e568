// Package bench sells a product to many buyers at once, over HTTP and as a stranger would, measures how fast that went,
// and then proves that every unit was sold once, that no order was lost, and that the ledger has them all.
//
// [Rush] is the measured sale. [Floor] is the server that does nothing: what Rush and wrk reach against the engine is
// only comparable between machines as a ratio to what they reach against the floor in the same run.
package bench
