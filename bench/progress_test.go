package bench

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestALineOfProgressStaysOne(t *testing.T) {
	assert.Equal(t, "rush  1", fit("rush  12/s", 8))
	assert.Equal(t, "rush   ", fit("rush", 8))
	assert.Equal(t, "r", fit("rush", 0), "a terminal that is said to have no column")
}
