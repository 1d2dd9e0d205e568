package load

import (
	"errors"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// Script is what the visitors of one connection do. A visit is one request or several in turn; visits are numbered from 0
// over all connections, and what a visit does should follow from its number alone, so that a run can be repeated. Calls
// never overlap; each connection has a script of its own.
type Script interface {
	// Request appends the visit's next HTTP request, a whole message, to b. Step counts the visit's requests from 0. What
	// is returned empty ends the visit.
	Request(b []byte, visit int64, step int) []byte
	// Answer judges what became of that request: an answer, or the error that came in place of one.
	Answer(visit int64, step int, a Answer, err error) Outcome
}

// Fate is what became of a request, as far as its sender can tell.
type Fate uint8

// The fates.
const (
	Unknown  Fate = iota // it may have had its effect or not
	Accepted             // it had
	Refused              // it had not, for a reason of the sale
	Failed               // it had not, for any other reason
)

// Outcome is the end of one request.
type Outcome struct {
	Op   int // index into [Plan.Ops]
	Fate Fate
	Why  string // the code of a refusal; status and code, or the error, of a failure
	// Detail is how the service explained the first answer of that kind, for people; "" = not at all.
	Detail string
}

// maxWhy bounds the kinds of reasons that are told apart.
const (
	maxWhy   = 64
	otherWhy = "other"
)

// maxDetail bounds an explanation, in bytes.
const maxDetail = 300

// Judge reads answers. It makes the text of each reason once.
type Judge struct{ reasons map[reason]explained }

// explained is a reason's text, and what the service said to the first request that got it.
type explained struct{ why, detail string }

type reason struct {
	status int
	code   string
}

// Order judges an answer to POST /orders: 201 with an orderId is accepted; 409, 410 and 422 with a code are refusals. It
// returns the order's id too, which holds as long as the answer; where the outcome is unknown it may still tell.
func (j *Judge) Order(a Answer, err error) (Outcome, []byte) { return j.change(a, err, 201) }

// Change judges an answer to a change of an order, which is accepted with 200.
func (j *Judge) Change(a Answer, err error) Outcome {
	o, _ := j.change(a, err, 200)
	return o
}

func (j *Judge) change(a Answer, err error, yes int) (Outcome, []byte) {
	if err != nil {
		return ofError(err), nil
	}
	id := TextMember(a.Body, "orderId")
	if a.Status == yes {
		if len(id) == 0 {
			return j.outcome(Unknown, a.Status, []byte("without an orderId"), nil), nil
		}
		return Outcome{Fate: Accepted}, id
	}
	return j.no(a), id
}

// Read judges an answer to a GET.
func (j *Judge) Read(a Answer, err error) Outcome {
	switch {
	case err != nil:
		return Outcome{Fate: Failed, Why: ofError(err).Why} // it has no effect to be unsure of
	case a.Status == 200:
		return Outcome{Fate: Accepted}
	}
	return j.outcome(Failed, a.Status, TextMember(a.Body, "code"), a.Body)
}

func (j *Judge) no(a Answer) Outcome {
	code := TextMember(a.Body, "code")
	switch {
	case len(code) > 0 && (a.Status == 409 || a.Status == 410 || a.Status == 422):
		return j.outcome(Refused, 0, code, a.Body)
	case surelyWithoutEffect(a.Status, code):
		return j.outcome(Failed, a.Status, code, a.Body)
	}
	return j.outcome(Unknown, a.Status, code, a.Body)
}

// surelyWithoutEffect is true for answers after which the request can't come true (DESIGN, HTTP).
func surelyWithoutEffect(status int, code []byte) bool {
	switch string(code) {
	case "overloaded", "unavailable", "partition_closed":
		return true
	}
	return status >= 400 && status < 500
}

// outcome is that of an answer; status 0 = the code alone is its reason.
func (j *Judge) outcome(fate Fate, status int, code, body []byte) Outcome {
	e := j.explain(status, code, body)
	return Outcome{Fate: fate, Why: e.why, Detail: e.detail}
}

func (j *Judge) explain(status int, code, body []byte) explained {
	if text, known := j.reasons[reason{status, string(code)}]; known {
		return text
	}
	if j.reasons == nil {
		j.reasons = map[reason]explained{}
	}
	if len(j.reasons) >= maxWhy {
		return explained{why: otherWhy}
	}
	text := string(code)
	if status != 0 {
		text = strconv.Itoa(status)
		if len(code) > 0 {
			text += " " + string(code)
		}
	}
	e := explained{why: text, detail: detailOf(body)}
	j.reasons[reason{status, string(code)}] = e
	return e
}

// detailOf returns the explanation in a problem document (RFC 9457); "" where there is none.
func detailOf(body []byte) string {
	detail := fastjson.GetString(body, "detail")
	if len(detail) > maxDetail {
		return strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return detail
}

// ofError judges a request that got no answer. Only where no connection was made it surely did nothing.
func ofError(err error) Outcome {
	o := Outcome{Why: rootCause(err).Error()}
	if unsent := (*notSent)(nil); errors.As(err, &unsent) {
		o.Fate = Failed
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
