package bench

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

// Stock is what the server says about a product, in units.
type Stock struct {
	Initial int64 `json:"initialStock"`
	Current int64 `json:"currentStock"`
	Held    int64 `json:"heldStock"`
	Sold    int64 `json:"soldStock"`
}

func stockOf(doc *fastjson.Value) Stock {
	return Stock{
		Initial: doc.GetInt64("initialStock"), Current: doc.GetInt64("currentStock"),
		Held: doc.GetInt64("heldStock"), Sold: doc.GetInt64("soldStock"),
	}
}

// sound is true where nothing is negative and the parts are the whole.
func (s *Stock) sound() bool {
	return min(s.Initial, s.Current, s.Held, s.Sold) >= 0 && s.Current+s.Held+s.Sold == s.Initial
}

// text returns the equation that must hold.
func (s *Stock) text() string {
	return s.parts() + " of " + grouped(s.Initial)
}

// parts returns the units by what became of them.
func (s *Stock) parts() string {
	return fmt.Sprintf("%s + %s + %s", grouped(s.Current), grouped(s.Held), grouped(s.Sold))
}

func (s *Stock) add(other *Stock) {
	s.Initial += other.Initial
	s.Current += other.Current
	s.Held += other.Held
	s.Sold += other.Sold
}

var errNoStock = errors.New("GET /inventory: status 200, but no stock in the answer")

func (s *sale) readStock(c *conn, product string) (Stock, error) {
	answer, err := c.get("/inventory/" + product)
	if err == nil {
		err = expect(answer, fasthttp.StatusOK, "GET /inventory")
	}
	if err == nil && !answer.doc.Exists("initialStock") {
		err = errNoStock
	}
	if err != nil {
		return Stock{}, fmt.Errorf("stock of %s: %w", product, err)
	}
	return stockOf(answer.doc), nil
}
