// Package faults breaks a running shop on purpose, from outside: API processes, each with links of its own to one Redis
// and one Postgres, all of them real, under load. A seed decides what is killed, frozen, cut and emptied, and when. At the
// end every order that anybody was told about is held against the ledger: none lost, none twice, none that nobody asked
// for, and never more sold than there was (docs/durability.md).
//
// It has tests only: `make test` runs short plans, `make test-faults SEED=… DURATION=…` long ones, and `make
// test-faults-privileged`, as root, those on machines of their own (network namespaces) with disks that fill up, slow down
// and fail.
package faults
