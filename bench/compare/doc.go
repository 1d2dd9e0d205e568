// Package compare has several ways to sell compete on the same machine in the same run: each behind an HTTP server of its
// own, loaded by the same closed loop, round after round in turn, so that what the machine does meanwhile hits all of
// them, and in another order each round, so that nobody always comes right after the same other. After every round the
// books are checked: what was sold is what was answered, and what is left is the rest. Last, each has to sell out a small
// stock. All of that is done with one number of connections after another, for how far one is ahead of another goes with how
// many buyers wait at the same time.
package compare
