package httpapi

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"

	"flashsale/engine"
)

// What a request to buy can be refused for before anybody is asked, each made once.
var (
	errIdempotencyKey = engine.Invalid("Idempotency-Key", "must be one key of 1 to 255 printable ASCII characters, plain or as a quoted string")
	errContentType    = engine.Invalid("Content-Type", "must be application/json")
	errMalformed      = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "the body is not well-formed JSON"}
	errNoObject       = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "the body must be one JSON object"}
	errProductID      = engine.Invalid("productId", engine.ProductIDRule+", or a JSON integer")
	errDurability     = engine.Invalid("durability", "must be fast, replicated or ledger")
	errUserID         = engine.Invalid("userId", engine.UserIDRule)
)

// orderDecoder decodes bodies of POST /orders, one at a time. It keeps its memory between them.
type orderDecoder struct {
	maxHold time.Duration // longest hold that may be asked for
	parser  fastjson.Parser
	onlyFor string // the one user that the caller may order for; "" = any
	user    []byte
	numbers []byte // of a body that the parser reads, as they were written
}

// orderFields are the values of one body before they are judged.
type orderFields struct {
	product, user, quantity, hold, durability member

	wrong error // unknown or repeated field
}

// member is one of them. What it says belongs to the body, or to whoever reads it, and holds until the next one is read.
type member struct {
	kind memberKind
	text []byte // of a string what it says, of a number how it was written, of anything else nothing
}

type memberKind uint8

const (
	memberNone memberKind = iota // the body does not have it
	memberString
	memberNumber
	memberOther
)

// decode reads a request into r, which then owns its strings: one allocation holds both.
func (d *orderDecoder) decode(request *fasthttp.Request, r *engine.Reservation) error {
	if err := checkContentType(&request.Header); err != nil {
		return err
	}
	if err := d.decodeBody(request.Body(), r); err != nil {
		return err
	}
	key, err := idempotencyKey(&request.Header)
	r.Key = key
	return err
}

// checkContentType takes application/json, whatever its parameters, and no type at all.
func checkContentType(h *fasthttp.RequestHeader) error {
	contentType := h.ContentType()
	if len(contentType) == 0 || bytes.Equal(contentType, typeJSON) {
		return nil
	}
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	if !bytes.EqualFold(bytes.TrimSpace(media), typeJSON) {
		return errContentType
	}
	return nil
}

func (d *orderDecoder) decodeBody(body []byte, r *engine.Reservation) error {
	var fields orderFields
	if !fields.readPlain(body) {
		fields = orderFields{}
		if err := d.parse(body, &fields); err != nil {
			return err
		}
	}
	if fields.wrong != nil {
		return fields.wrong
	}
	return d.judge(&fields, r)
}

// parse reads any JSON object.
func (d *orderDecoder) parse(body []byte, fields *orderFields) error {
	value, err := d.parser.ParseBytes(body)
	if err != nil {
		return errMalformed
	}
	object, err := value.Object()
	if err != nil {
		return errNoObject
	}
	d.numbers = d.numbers[:0]
	object.Visit(func(name []byte, value *fastjson.Value) { fields.take(name, d.memberOf(value)) })
	return nil
}

// memberOf returns what the parser made of a value, which is its own.
func (d *orderDecoder) memberOf(value *fastjson.Value) member {
	switch value.Type() {
	case fastjson.TypeString:
		text, _ := value.StringBytes() // it is one
		return member{memberString, text}
	case fastjson.TypeNumber:
		begin := len(d.numbers)
		d.numbers = value.MarshalTo(d.numbers)
		return member{memberNumber, d.numbers[begin:]}
	default:
		return member{kind: memberOther}
	}
}

// take notes one member of the body. The first mistake sticks.
func (f *orderFields) take(name []byte, value member) {
	var place *member
	switch string(name) {
	case "productId":
		place = &f.product
	case "userId":
		place = &f.user
	case "quantity":
		place = &f.quantity
	case "holdSeconds":
		place = &f.hold
	case "durability":
		place = &f.durability
	}
	switch {
	case f.wrong != nil:
	case place == nil:
		f.wrong = unknownField(string(name))
	case place.kind != memberNone:
		f.wrong = repeatedField(string(name))
	default:
		*place = value
	}
}

// judge checks each value and copies it out of the memory that it is in.
func (d *orderDecoder) judge(f *orderFields, r *engine.Reservation) error {
	product := f.product.id()
	if !engine.ValidProductID(product) {
		return errProductID
	}
	user, err := d.userID(&f.user)
	if err != nil {
		return err
	}
	quantity, ok := f.quantity.integer()
	if !ok || quantity < 1 || quantity > engine.MaxQuantity {
		return engine.ErrQuantity
	}
	if f.hold.kind != memberNone {
		seconds, ok := f.hold.integer()
		if !ok || seconds < 1 || seconds > int64(d.maxHold/time.Second) {
			return errHoldSeconds(d.maxHold)
		}
		r.HoldMs = seconds * 1000
	}
	if f.durability.kind != memberNone {
		if r.Durability, ok = engine.ParseDurability(f.durability.words()); !ok {
			return errDurability
		}
	}
	var both strings.Builder
	both.Grow(len(product) + len(user))
	both.Write(product)
	both.Write(user)
	text := both.String()
	r.Product, r.User, r.Quantity = text[:len(product)], text[len(product):], quantity
	return nil
}

// userID returns whom the order is for: the body's user, who must be the caller where the caller is one buyer.
func (d *orderDecoder) userID(m *member) ([]byte, error) {
	if m.kind == memberNone && d.onlyFor != "" {
		d.user = append(d.user[:0], d.onlyFor...)
		return d.user, nil
	}
	user := m.words()
	if !engine.ValidUserID(user) {
		return nil, errUserID
	}
	if d.onlyFor != "" && string(user) != d.onlyFor {
		return nil, errOtherUser
	}
	return user, nil
}

// id returns the id in a string or, in its decimal text, a JSON integer; empty for anything else.
func (m *member) id() []byte {
	if m.kind == memberNumber && isInteger(m.text) {
		return m.text
	}
	return m.words()
}

// integer returns the value of a JSON integer, judged by its text: fastjson itself takes 1e2 and 01 for numbers.
func (m *member) integer() (n int64, ok bool) {
	if m.kind != memberNumber {
		return 0, false
	}
	return parseInteger(m.text)
}

// words returns what a string says; nothing for anything else.
func (m *member) words() []byte {
	if m.kind != memberString {
		return nil
	}
	return m.text
}

func errHoldSeconds(most time.Duration) error {
	return engine.Invalid("holdSeconds", "must be an integer from 1 to "+strconv.FormatInt(int64(most/time.Second), 10))
}
