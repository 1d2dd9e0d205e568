// Package persist is the ledger in Postgres: what is committed there is true for good.
//
// [Store] reads it and gives product changes their numbers. [Keeper] follows the epoch in force of every partition in
// each process; of all processes one leads a partition: it drains the partition's log into the ledger, exactly once by
// a compare-and-set on epoch and sequence, and brings Redis in line after a restart, a failover or a loss. An advisory
// lock elects who tries; only the compare-and-set decides.
//
// The package never talks to Redis itself: package engine does.
package persist
