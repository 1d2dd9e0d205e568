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
	product []byte
	user    []byte
	number  []byte
}

// orderFields are the values of one body before they are judged; nil where the body has none.
type orderFields struct {
	product, user, quantity, hold, durability *fastjson.Value

	wrong error // unknown or repeated field
}

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
	value, err := d.parser.ParseBytes(body)
	if err != nil {
		return errMalformed
	}
	object, err := value.Object()
	if err != nil {
		return errNoObject
	}
	var fields orderFields
	object.Visit(fields.take)
	if fields.wrong != nil {
		return fields.wrong
	}
	return d.judge(&fields, r)
}

// take notes one member of the body. The first mistake sticks.
func (f *orderFields) take(key []byte, value *fastjson.Value) {
	var place **fastjson.Value
	switch string(key) {
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
		f.wrong = unknownField(string(key))
	case *place != nil:
		f.wrong = repeatedField(string(key))
	default:
		*place = value
	}
}

// judge checks each value and copies it out of the parser's memory.
func (d *orderDecoder) judge(f *orderFields, r *engine.Reservation) error {
	product := d.productID(f.product)
	if !engine.ValidProductID(product) {
		return errProductID
	}
	user, err := d.userID(f.user)
	if err != nil {
		return err
	}
	quantity, ok := d.integer(f.quantity)
	if !ok || quantity < 1 || quantity > engine.MaxQuantity {
		return engine.ErrQuantity
	}
	if f.hold != nil {
		seconds, ok := d.integer(f.hold)
		if !ok || seconds < 1 || seconds > int64(d.maxHold/time.Second) {
			return errHoldSeconds(d.maxHold)
		}
		r.HoldMs = seconds * 1000
	}
	if f.durability != nil {
		if err := takeDurability(f.durability, &r.Durability); err != nil {
			return err
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

// takeDurability reads the mode that is asked for.
func takeDurability(v *fastjson.Value, into *engine.Durability) error {
	mode, ok := engine.ParseDurability(stringOf(v))
	if !ok {
		return errDurability
	}
	*into = mode
	return nil
}

// userID returns whom the order is for: the body's user, who must be the caller where the caller is one buyer.
func (d *orderDecoder) userID(v *fastjson.Value) ([]byte, error) {
	if v == nil && d.onlyFor != "" {
		d.user = append(d.user[:0], d.onlyFor...)
		return d.user, nil
	}
	user := stringOf(v)
	if !engine.ValidUserID(user) {
		return nil, errUserID
	}
	if d.onlyFor != "" && string(user) != d.onlyFor {
		return nil, errOtherUser
	}
	return user, nil
}

// productID returns the id in a string or, in its decimal text, a JSON integer; empty for anything else.
func (d *orderDecoder) productID(v *fastjson.Value) []byte {
	if v == nil || v.Type() != fastjson.TypeNumber {
		return stringOf(v)
	}
	d.product = v.MarshalTo(d.product[:0])
	if !isInteger(d.product) {
		return nil
	}
	return d.product
}

// integer returns the value of a JSON integer, judged by its text: fastjson itself takes 1e2 and 01 for numbers.
func (d *orderDecoder) integer(v *fastjson.Value) (n int64, ok bool) {
	if v == nil {
		return 0, false
	}
	d.number = v.MarshalTo(d.number[:0])
	return parseInteger(d.number)
}

// stringOf returns the bytes of a string, which belong to the parser; empty for anything else.
func stringOf(v *fastjson.Value) []byte {
	if v == nil {
		return nil
	}
	text, err := v.StringBytes()
	if err != nil {
		return nil
	}
	return text
}

func errHoldSeconds(most time.Duration) error {
	return engine.Invalid("holdSeconds", "must be an integer from 1 to "+strconv.FormatInt(int64(most/time.Second), 10))
}
