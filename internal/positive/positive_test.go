package positive_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/positive"
)

func TestOr(t *testing.T) {
	require.Equal(t, 3, positive.Or(3, 7))
	require.Equal(t, 7, positive.Or(0, 7))
	require.Equal(t, time.Second, positive.Or(-time.Minute, time.Second))
}
