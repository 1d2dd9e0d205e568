// Package cost measures what orders cost Redis: CPU by the size of a batch, beside the least that a script call can cost,
// and memory. CPU is Redis's own count (INFO cpu), which does not move with noise on the machine as rates do.
//
// The engine is handed in as an [Engine]; the floors and the counts are asked of Redis directly. The server must have
// nothing else to do meanwhile: whatever it does is counted.
package cost
