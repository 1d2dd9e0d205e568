package load

import "time"

// clock counts from the beginning of a run; it never jumps.
type clock struct{ start time.Time }

func (c *clock) now() time.Duration { return time.Since(c.start) }
