package httpapi

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"strings"
	"time"

	"flashsale/engine"
)

// What a product can be refused for.
var (
	errNewID        = engine.Invalid("id", engine.ProductIDRule+", or a JSON integer")
	errName         = engine.Invalid("name", "must be a string of 1 to 200 characters without control characters")
	errPrice        = engine.Invalid("price", engine.PriceRule)
	errPerUser      = engine.Invalid("perUserLimit", engine.PerUserRule)
	errActive       = engine.Invalid("flashSaleActive", "must be true or false")
	errStartsAt     = engine.Invalid("startsAt", "must be an RFC 3339 time after 1970, or null")
	errEndsAt       = engine.Invalid("endsAt", "must be an RFC 3339 time after 1970, or null")
	errInitialStock = engine.Invalid("initialStock", engine.StockRule)
	errCurrentStock = engine.Invalid("currentStock", engine.StockRule)
	errAdjustStock  = engine.Invalid("adjustStock", "must be an integer from -1000000000000 to 1000000000000, and not 0")
	errBothStocks   = engine.Invalid("adjustStock", "can't stand beside currentStock")
	errProductHold  = engine.Invalid("holdSeconds", engine.HoldRule)
	errReason       = engine.Invalid("reason", "must be a string of at most 200 characters without control characters")
	errNoChange     = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "the body asks for no change"}
)

// actorAdmin is who the audit says made a change: whoever has the admin token.
const actorAdmin = "admin"

// takeTerms reads a member that new products and changes have in common; known is false for any other.
func takeTerms(c *engine.ProductChange, name string, value json.RawMessage) (known bool, err error) {
	var ok bool
	switch name {
	case "name":
		ok, err = set(&c.Name, errName)(plainText(value, 1, engine.MaxName))
	case "price":
		cents, isPrice := parseCents(value)
		ok, err = set(&c.PriceCents, errPrice)(cents, isPrice && cents <= engine.MaxPriceCents)
	case "perUserLimit":
		ok, err = set(&c.PerUserLimit, errPerUser)(integerValue(value, 0, engine.MaxPerUser))
	case "flashSaleActive":
		ok, err = set(&c.Active, errActive)(boolValue(value))
	case "startsAt":
		ok, err = set(&c.StartsAt, errStartsAt)(timeValue(value))
	case "endsAt":
		ok, err = set(&c.EndsAt, errEndsAt)(timeValue(value))
	case "holdSeconds":
		ok, err = set(&c.HoldSeconds, errProductHold)(integerValue(value, 0, engine.MaxHoldSeconds))
	case "reason":
		reason, isReason := plainText(value, 0, engine.MaxReason)
		c.Reason = reason
		ok, err = set(new(*string), errReason)(reason, isReason)
	}
	return ok, err
}

// set returns a function that points place at a value, or gives wrong where the value is not good.
func set[T any](place **T, wrong *engine.Error) func(value T, ok bool) (known bool, err error) {
	return func(value T, ok bool) (bool, error) {
		if !ok {
			return true, wrong
		}
		*place = &value
		return true, nil
	}
}

// decodeNewProduct reads a body of POST /inventory. A product without an id gets one.
func decodeNewProduct(body []byte) (engine.NewProduct, error) {
	p := engine.NewProduct{Actor: actorAdmin}
	var terms engine.ProductChange
	var initial *int64
	err := eachMember(body, func(name string, value json.RawMessage) error {
		switch name {
		case "id":
			p.ID = productIDValue(value)
			if !engine.ValidProductID(p.ID) {
				return errNewID
			}
			return nil
		case "initialStock":
			_, err := set(&initial, errInitialStock)(integerValue(value, 0, engine.MaxStock))
			return err
		}
		return takeOnlyTerms(&terms, name, value)
	})
	if err == nil {
		err = fillNewProduct(&p, &terms, initial)
	}
	return p, err
}

func takeOnlyTerms(c *engine.ProductChange, name string, value json.RawMessage) error {
	known, err := takeTerms(c, name, value)
	if !known {
		return unknownField(name)
	}
	return err
}

func fillNewProduct(p *engine.NewProduct, terms *engine.ProductChange, initial *int64) error {
	switch {
	case terms.Name == nil:
		return missingField("name")
	case terms.PriceCents == nil:
		return missingField("price")
	case initial == nil:
		return missingField("initialStock")
	}
	p.Name, p.PriceCents, p.Reason = *terms.Name, *terms.PriceCents, terms.Reason
	p.Stock = engine.Stock{Initial: *initial, Current: *initial}
	p.Terms = engine.Terms{
		PerUserLimit: orZero(terms.PerUserLimit), Active: terms.Active == nil || *terms.Active,
		StartsAt: orZero(terms.StartsAt), EndsAt: orZero(terms.EndsAt), HoldSeconds: orZero(terms.HoldSeconds),
	}
	if p.ID == "" {
		p.ID = newProductID()
	}
	return p.Terms.CheckWindow()
}

func orZero[T any](value *T) T {
	if value == nil {
		var zero T
		return zero
	}
	return *value
}

// decodeChange reads a body of PUT /inventory/{productId}.
func decodeChange(body []byte) (engine.ProductChange, error) {
	c := engine.ProductChange{Actor: actorAdmin}
	changes := 0
	err := eachMember(body, func(name string, value json.RawMessage) (err error) {
		if name != "reason" {
			changes++
		}
		switch name {
		case "currentStock":
			_, err = set(&c.CurrentStock, errCurrentStock)(integerValue(value, 0, engine.MaxStock))
			return err
		case "adjustStock":
			n, ok := integerValue(value, -engine.MaxStock, engine.MaxStock)
			_, err = set(&c.AdjustStock, errAdjustStock)(n, ok && n != 0)
			return err
		}
		return takeOnlyTerms(&c, name, value)
	})
	switch {
	case err != nil:
		return c, err
	case changes == 0:
		return c, errNoChange
	case c.CurrentStock != nil && c.AdjustStock != nil:
		return c, errBothStocks
	}
	window := engine.Terms{StartsAt: orZero(c.StartsAt), EndsAt: orZero(c.EndsAt)}
	return c, window.CheckWindow()
}

// productIDValue returns the id in a JSON string or, in its decimal text, a JSON integer; "" for anything else.
func productIDValue(value json.RawMessage) string {
	if isInteger(value) {
		return string(value)
	}
	id, _ := textValue(value)
	return id
}

// timeValue returns an RFC 3339 time, cut to milliseconds, which is what the scripts compare; null is the zero time.
func timeValue(value json.RawMessage) (t time.Time, ok bool) {
	if string(value) == "null" {
		return time.Time{}, true
	}
	text, ok := textValue(value)
	if !ok {
		return time.Time{}, false
	}
	return engine.ParseTime(text)
}

// newProductID makes an id of 80 random bits.
func newProductID() string {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	return "p-" + strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
}
