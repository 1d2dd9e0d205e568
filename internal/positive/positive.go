// Package positive reads settings of which only what is above zero says anything.
package positive

import "time"

// Or returns the value, or the fallback for anything that is not positive.
func Or[T int | int64 | time.Duration](value, fallback T) T {
	if value <= 0 {
		return fallback
	}
	return value
}
