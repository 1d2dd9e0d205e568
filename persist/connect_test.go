package persist

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestABadAddressIsNotRepeated(t *testing.T) {
	for _, address := range []string{"host=h password = canary x", "password='my canary", "postgres://u:can%ary@h/db", "canary"} {
		_, err := Connect(t.Context(), address, 1)
		require.ErrorIs(t, err, errAddress, address)
		require.NotContains(t, err.Error(), "canary")
	}
}
