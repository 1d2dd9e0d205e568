package persist

import (
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

func TestAChangeUnderWayIsNoVersionConflict(t *testing.T) {
	pool := ledger(t, 10)
	exec(t, pool, `UPDATE products SET change_number = 2`)
	s := &Store{pool: pool}
	units := int64(1)
	_, err := s.record(t.Context(), "lamp", engine.ProductChange{AdjustStock: &units})
	require.ErrorIs(t, err, errChangeUnderWay)
	_, err = s.record(t.Context(), "lamp", engine.ProductChange{AdjustStock: &units, IfVersion: 1})
	require.ErrorIs(t, err, errChangeUnderWay)
	_, err = s.record(t.Context(), "lamp", engine.ProductChange{AdjustStock: &units, IfVersion: 7})
	require.ErrorIs(t, err, errVersion)
}
