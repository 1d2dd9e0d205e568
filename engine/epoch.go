package engine

import "fmt"

// Epoch is one history of a partition: who wrote its log, where, and on which server. The ledger names the one in
// force; a namespace is never used twice.
type Epoch struct {
	Number    uint64
	Namespace string // "" = none yet: Redis has never held this partition
	Replid    string // master_replid of the server that it lives on
	Held      string // why an operator keeps it shut; "" = nobody does
}

// NewNamespace names a namespace for an epoch that nobody has used before.
func NewNamespace(number uint64) string {
	var random [8]byte
	randomBytes(random[:])
	return fmt.Sprintf("%d-%x", number, random)
}

// Guard is what the check at the head of every writing script said. See lua/guard.lua.
type Guard string

// The answers of the guard.
const (
	GuardOK      Guard = "OK"
	GuardMissing Guard = "MISSING"
	GuardClosed  Guard = "CLOSED"
	GuardFenced  Guard = "FENCED"
	GuardBehind  Guard = "BEHIND"
	GuardLate    Guard = "LATE"
)

// PartitionStatuses are the states that a partition can be in; "open" is the only one in which it takes orders.
var PartitionStatuses = []string{statusOpen, statusMissing, statusClosed, statusFenced, statusBehind, statusHeld}

const (
	statusOpen    = "open"
	statusMissing = "missing" // Redis does not hold its epoch
	statusClosed  = "closed"  // being brought in line
	statusFenced  = "fenced"  // Redis was restarted or failed over
	statusBehind  = "behind"  // Redis has forgotten entries
	statusHeld    = "held"    // by an operator
)

var guardStatuses = map[Guard]string{
	GuardOK: statusOpen, GuardMissing: statusMissing, GuardClosed: statusClosed, GuardFenced: statusFenced,
	GuardBehind: statusBehind,
}

// guardReasons say in words why a partition takes no orders.
var guardReasons = map[Guard]string{
	GuardMissing: "Redis does not hold this partition's epoch",
	GuardClosed:  "the partition is being brought in line with the ledger",
	GuardFenced:  "Redis was restarted or failed over",
	GuardBehind:  "Redis has forgotten entries that the ledger holds",
}
