package engine

import "time"

// Code is the stable name of a failure, the `code` of the problem documents that clients see.
type Code string

// The codes that a client can meet. They are never renamed.
const (
	CodeInvalidRequest  Code = "invalid_request"
	CodeUnauthorized    Code = "unauthorized"
	CodeForbidden       Code = "forbidden"
	CodeNotFound        Code = "not_found"
	CodeSoldOut         Code = "sold_out"
	CodeLimitExceeded   Code = "limit_exceeded"
	CodeDuplicateOrder  Code = "duplicate_order"
	CodeSaleNotStarted  Code = "sale_not_started"
	CodeSaleEnded       Code = "sale_ended"
	CodeSaleInactive    Code = "sale_inactive"
	CodeInvalidState    Code = "invalid_state"
	CodeHoldExpired     Code = "hold_expired"
	CodeVersionConflict Code = "version_conflict"
	CodeKeyConflict     Code = "idempotency_conflict"
	CodeRateLimited     Code = "rate_limited"
	CodeInternal        Code = "internal"
	CodeOverloaded      Code = "overloaded"
	CodeUnavailable     Code = "unavailable"
	CodePartitionClosed Code = "partition_closed"
	CodeOutcomeUnknown  Code = "outcome_unknown"
)

// Error is a failure with a code that a client can act on. Those a buyer can meet on the hot path are values made
// once, so that a storm of refusals allocates nothing.
type Error struct {
	Code       Code
	Detail     string        // one sentence for a person
	Field      string        // of the request, where one is at fault
	RetryAfter time.Duration // 0 = no use in trying again
}

// Error returns the code and the sentence.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

// Invalid returns an invalid_request that names the field and what is allowed.
func Invalid(field, allowed string) *Error {
	return &Error{Code: CodeInvalidRequest, Field: field, Detail: field + " " + allowed}
}

// retrySoon is what a client is told to wait where the cause usually passes within a second.
const retrySoon = time.Second

// The outcomes of a reservation that is not accepted. All but ErrOutcomeUnknown are definite: the order has not
// happened and will not.
var (
	ErrSoldOut        = &Error{Code: CodeSoldOut, Detail: "fewer units are left than the order asks for"}
	ErrLimitExceeded  = &Error{Code: CodeLimitExceeded, Detail: "the order would exceed what one buyer may have of this product"}
	ErrDuplicateOrder = &Error{Code: CodeDuplicateOrder, Detail: "this buyer ordered the same product a moment ago"}
	ErrSaleNotStarted = &Error{Code: CodeSaleNotStarted, Detail: "the sale of this product has not started"}
	ErrSaleEnded      = &Error{Code: CodeSaleEnded, Detail: "the sale of this product has ended"}
	ErrSaleInactive   = &Error{Code: CodeSaleInactive, Detail: "the sale of this product is switched off"}
	ErrUnknownProduct = &Error{Code: CodeNotFound, Field: "productId", Detail: "no product has this id"}
	ErrQuantity       = Invalid("quantity", "must be an integer from 1 to 1000000")
	ErrHoldTooLong    = Invalid("holdSeconds", "is longer than this product allows")
	ErrKeyConflict    = &Error{Code: CodeKeyConflict, Field: "Idempotency-Key", Detail: "this key was used for another request before"}
	ErrCorrupt        = &Error{Code: CodeInternal, Detail: "the product's counters can't be read; reconciliation names the cause"}

	ErrQueueFull       = &Error{Code: CodeOverloaded, Detail: "too many orders are waiting", RetryAfter: retrySoon}
	ErrBacklogFull     = &Error{Code: CodeOverloaded, Detail: "too many orders wait for the ledger", RetryAfter: retrySoon}
	ErrTooLate         = &Error{Code: CodeOverloaded, Detail: "the order could not be decided within its deadline", RetryAfter: retrySoon}
	ErrUnavailable     = &Error{Code: CodeUnavailable, Detail: "Redis takes no orders right now", RetryAfter: retrySoon}
	ErrPartitionClosed = &Error{Code: CodePartitionClosed, Detail: "sales pause while Redis and the ledger are brought in line", RetryAfter: retrySoon}
	ErrOutcomeUnknown  = &Error{Code: CodeOutcomeUnknown, Detail: "the order may or may not have been placed; look it up by its id"}
)

// The outcomes of a transition that changes nothing, beside those above.
var (
	ErrNoOrder      = &Error{Code: CodeNotFound, Detail: "no order has this id"}
	ErrInvalidState = &Error{Code: CodeInvalidState, Detail: "the order's state does not allow this"}
	ErrHoldExpired  = &Error{Code: CodeHoldExpired, Detail: "the hold has expired, and what it held can't be had any more"}
	ErrHoldOver     = &Error{Code: CodeHoldExpired, Detail: "the hold has expired: it can't be extended any more"}
	ErrMoreThanHeld = &Error{Code: CodeInvalidRequest, Field: "quantity", Detail: "quantity must not be more than the order has"}
	ErrHoldExtended = &Error{Code: CodeLimitExceeded, Detail: "the hold can't be extended any further"}
	ErrCorruptOrder = &Error{Code: CodeInternal, Detail: "what Redis has of the order does not add up; reconciliation names the cause"}

	// ErrEpochMoved says that what the ledger has was read in another epoch than is in force, and that Redis was not asked.
	ErrEpochMoved = &Error{Code: CodePartitionClosed, Detail: "sales pause while Redis and the ledger are brought in line", RetryAfter: retrySoon}
)
