package engine

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// RequestText is what a request to buy asks for, as it is compared with what an earlier request of the same
// idempotency key asked for: quantity;holdMs.
func RequestText(quantity, holdMs int64) string {
	return strconv.FormatInt(quantity, 10) + ";" + strconv.FormatInt(holdMs, 10)
}

// idempotencyFieldSize is the length of a field of the hashes of idempotency keys, in bytes: long enough that two keys
// never meet, short enough for millions of them.
const idempotencyFieldSize = 16

// IdempotencyField names the request of a buyer for a product under a key, in the hashes Even and Odd.
func IdempotencyField(product, user, key string) string {
	sum := sha256.Sum256([]byte(BuyerField(product, user) + string(joint) + key))
	return string(sum[:idempotencyFieldSize])
}

// IdempotencyValue is what those hashes have of a request: the id of its order (16 bytes), createdMs and the request.
func IdempotencyValue(o *Order) string {
	return string(o.ID[:]) + strconv.FormatInt(o.CreatedAtMs, 10) + "," + o.Request
}

// parseIdempotencyValue is the inverse of IdempotencyValue, the request aside.
func parseIdempotencyValue(value string) (id OrderID, createdMs int64, err error) {
	if len(value) < len(id) {
		return id, 0, fmt.Errorf("idempotency value %q is too short", value)
	}
	copy(id[:], value)
	created, _, _ := strings.Cut(value[len(id):], ",")
	if err := parseCount(created, &createdMs); err != nil {
		return id, 0, fmt.Errorf("idempotency value %q: %w", value, err)
	}
	return id, createdMs, nil
}
