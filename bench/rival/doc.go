// Package rival has what one would write instead of the engine, each as well as it is usually written: one script call an
// order, the classic lock, a row in Postgres. They sell the same: a unit of a stock that is never oversold, a limit for
// each buyer, a record of the order. None has holds, keys, windows, or an answer to a lost reply. [Drained] moves what Redis sold
// into a ledger, as the engine does; the others leave it where it is.
package rival
