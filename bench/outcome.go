package bench

import (
	"errors"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"
)

// Codes of problem documents that mean something here (DESIGN, HTTP).
const (
	codeSoldOut         = "sold_out"
	codeOverloaded      = "overloaded"
	codeUnavailable     = "unavailable"
	codePartitionClosed = "partition_closed"
)

// fate is what became of an order, as far as its buyer can tell.
type fate int

const (
	fateUnknown  fate = iota // it may have been placed or not
	fateAccepted             // 201 with an order id
	fateRefused              // 409 with a code
	fateFailed               // it was not placed, and not for a reason of the sale
)

// outcome is the end of one order.
type outcome struct {
	fate    fate
	why     string // the code of a refusal; status and code, or the error, of a failure
	orderID string // of what was accepted; of an unknown one, where the answer names it
}

// outcomeOf judges an answer to POST /orders, or the error in place of one.
func outcomeOf(r reply, err error) outcome {
	if err != nil {
		return outcomeOfError(err)
	}
	code, id := r.text("code"), r.text("orderId")
	switch {
	case r.status == fasthttp.StatusCreated && id != "":
		return outcome{fate: fateAccepted, orderID: id}
	case r.status == fasthttp.StatusCreated:
		return outcome{why: "201 without an orderId"}
	case r.status == fasthttp.StatusConflict && code != "":
		return outcome{fate: fateRefused, why: code}
	}
	failure := outcome{why: strconv.Itoa(r.status), orderID: id}
	if code != "" {
		failure.why += " " + code
	}
	if surelyNotPlaced(r.status, code) {
		failure.fate = fateFailed
	}
	return failure
}

// surelyNotPlaced is true for answers after which the order can't come true.
func surelyNotPlaced(status int, code string) bool {
	switch code {
	case codeOverloaded, codeUnavailable, codePartitionClosed:
		return true
	}
	return status >= 400 && status < 500
}

// outcomeOfError judges a request that got no answer. Only where no connection was made it surely did nothing.
func outcomeOfError(err error) outcome {
	o := outcome{why: rootCause(err).Error()}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, fasthttp.ErrDialTimeout) {
		o.fate = fateFailed
	}
	return o
}

// rootCause leaves out addresses and ports, so that equal failures count together.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
