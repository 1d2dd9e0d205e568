package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Status is the state of an order.
type Status string

// The states of an order. DESIGN: pending -> confirmed | cancelled | expired, expired -> confirmed,
// confirmed -> cancelled, and failed where the ledger refuses.
const (
	StatusPending   Status = "pending"
	StatusConfirmed Status = "confirmed"
	StatusCancelled Status = "cancelled"
	StatusExpired   Status = "expired"
	StatusFailed    Status = "failed"
)

// statusLetters are the letters of the states in a record.
var statusLetters = map[byte]Status{
	'p': StatusPending, 'c': StatusConfirmed, 'x': StatusCancelled, 'e': StatusExpired, 'f': StatusFailed,
}

// Order is one order as its record or its row has it. Times are milliseconds since 1970 by the clock of Redis.
type Order struct {
	ID          OrderID
	Product     string
	User        string
	Quantity    int64
	Status      Status
	Version     int64 // counts the changes of this order, from 1
	CreatedAtMs int64
	UpdatedAtMs int64
	ExpiresAtMs int64  // of a hold; 0 = none
	Sequence    uint64 // of the log entry of its last change, in the epoch it belongs to
	Index       int    // within that entry
	Reason      string // why it failed; only the ledger knows
}

// OrderView is an order wherever it is now, with its product.
type OrderView struct {
	Order
	Durable     bool // the ledger has it as it is
	ProductName string
	PriceCents  int64
}

// recordFields counts the comma-separated fields of a record:
// letter,version,quantity,createdMs,updatedMs,expiresMs,sequence,index,product|user.
const recordFields = 9

// ParseRecord reads an order's record as reserve.lua writes it.
func ParseRecord(id OrderID, record string) (Order, error) {
	f := strings.SplitN(record, ",", recordFields)
	if len(f) != recordFields || len(f[0]) != 1 {
		return Order{}, fmt.Errorf("order %s: record %q has not %d fields", id, record, recordFields)
	}
	o := Order{ID: id, Status: statusLetters[f[0][0]]}
	if o.Status == "" {
		return Order{}, fmt.Errorf("order %s: record %q has an unknown state", id, record)
	}
	numbers := [...]*int64{&o.Version, &o.Quantity, &o.CreatedAtMs, &o.UpdatedAtMs, &o.ExpiresAtMs}
	for i, n := range numbers {
		if err := parseCount(f[1+i], n); err != nil {
			return Order{}, fmt.Errorf("order %s: record %q: %w", id, record, err)
		}
	}
	var sequence, index int64
	if err := parseCount(f[6], &sequence); err != nil {
		return Order{}, fmt.Errorf("order %s: record %q: %w", id, record, err)
	}
	if err := parseCount(f[7], &index); err != nil {
		return Order{}, fmt.Errorf("order %s: record %q: %w", id, record, err)
	}
	o.Sequence, o.Index = uint64(sequence), int(index)
	if err := o.checkBounds(); err != nil {
		return Order{}, fmt.Errorf("order %s: record %q: %w", id, record, err)
	}
	var ok bool
	if o.Product, o.User, ok = SplitBuyerField(f[8]); !ok || !ValidProductID(o.Product) || !ValidUserID(o.User) {
		return Order{}, fmt.Errorf("order %s: record %q: no product and user", id, record)
	}
	return o, nil
}

// maxTimeMs is the end of the year 9999, the last that ISO 8601 can write.
const maxTimeMs = 253_402_300_799_999

var errOrderBounds = errors.New("a version, quantity or time that no order can have")

// checkBounds refuses numbers that no script writes: sums of them could overflow, and no row could hold them.
func (o *Order) checkBounds() error {
	if o.Version < 1 || o.Quantity < 1 || o.Quantity > MaxQuantity ||
		max(o.CreatedAtMs, o.UpdatedAtMs, o.ExpiresAtMs) > maxTimeMs {
		return errOrderBounds
	}
	return nil
}

// parseCount reads digits and nothing else, as the scripts do: no sign.
func parseCount(text string, into *int64) error {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return err
	}
	*into = int64(n)
	return nil
}
