package bench

import "fmt"

// notableStolen is the share of CPU time from which reports speak of it.
const notableStolen = 0.02

// StolenNote says how much of this machine's CPU time its host gave to others while a load ran (load.Result, Stolen); "" where it
// was too little to matter.
func StolenNote(share float64) string {
	if share < notableStolen {
		return ""
	}
	return fmt.Sprintf("the host gave %.0f %% of the CPU time of this virtual machine to others meanwhile: the figures are lower for it", 100*share)
}
