package persist

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOnlyAStreamOfOrdersIsWorthWaitingFor(t *testing.T) {
	const batch = 5000
	for brought, want := range map[int64]bool{
		0: false, 1: false, gatherFrom - 1: false, // one by one: durable at once
		gatherFrom: true, 137: true, batch/2 - 1: true,
		batch / 2: false, batch: false, // a backlog: on with it
	} {
		assert.Equal(t, want, worthWaiting(brought, batch), "after %d orders", brought)
	}
}
