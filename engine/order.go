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
	Index       int    // within that entry; only what was read from the log has it
	Number      int64  // running count of orders that the partition had logged with this one, over all epochs
	Reason      string // why it failed; only the ledger knows

	// IdempotencyKey is what the buyer's client called this request; "" = it did not. Request is what it asked for, in
	// the form of [RequestText].
	IdempotencyKey string
	Request        string
}

// OrderView is an order wherever it is now, with its product.
type OrderView struct {
	Order
	Durable     bool // the ledger has it as it is
	ProductName string
	PriceCents  int64
}

// recordFields counts the comma-separated fields of a record:
// letter,version,quantity,createdMs,updatedMs,expiresMs,sequence,number,identity.
const recordFields = 9

// ParseRecord reads an order's record as the scripts write it.
func ParseRecord(id OrderID, record string) (Order, error) {
	o := Order{ID: id}
	if err := o.parse(record); err != nil {
		return Order{}, fmt.Errorf("order %s: record %q: %w", id, record, err)
	}
	return o, nil
}

var (
	errRecordFields = fmt.Errorf("not %d fields", recordFields)
	errRecordState  = errors.New("an unknown state")
	errRecordOwner  = errors.New("no product and user")
)

func (o *Order) parse(record string) error {
	f := strings.SplitN(record, ",", recordFields)
	if len(f) != recordFields || len(f[0]) != 1 {
		return errRecordFields
	}
	o.Status = statusLetters[f[0][0]]
	if o.Status == "" {
		return errRecordState
	}
	var sequence int64
	numbers := [...]*int64{&o.Version, &o.Quantity, &o.CreatedAtMs, &o.UpdatedAtMs, &o.ExpiresAtMs, &sequence, &o.Number}
	for i, n := range numbers {
		if err := parseCount(f[1+i], n); err != nil {
			return err
		}
	}
	o.Sequence = uint64(sequence)
	if err := o.checkBounds(); err != nil {
		return err
	}
	return o.parseIdentity(f[recordFields-1])
}

// parseIdentity reads the end of a record: product|user, and of a request with an idempotency key |request|key behind
// it. The key comes last, for it may have any character.
func (o *Order) parseIdentity(text string) error {
	f := strings.SplitN(text, string(joint), 4)
	if len(f) != 2 && len(f) != 4 {
		return errRecordOwner
	}
	o.Product, o.User = f[0], f[1]
	if !ValidProductID(o.Product) || !ValidUserID(o.User) {
		return errRecordOwner
	}
	if len(f) == 2 {
		return nil
	}
	if o.Request, o.IdempotencyKey = f[2], f[3]; o.IdempotencyKey == "" {
		return errRecordOwner
	}
	return nil
}

// Record returns an order's record as the scripts write it.
func (o *Order) Record() string {
	var letter byte
	for l, status := range statusLetters {
		if status == o.Status {
			letter = l
		}
	}
	record := fmt.Sprintf("%c,%d,%d,%d,%d,%d,%d,%d,%s", letter, o.Version, o.Quantity, o.CreatedAtMs, o.UpdatedAtMs,
		o.ExpiresAtMs, o.Sequence, o.Number, BuyerField(o.Product, o.User))
	if o.IdempotencyKey != "" {
		record += string(joint) + o.Request + string(joint) + o.IdempotencyKey
	}
	return record
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
