package sheet

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"flashsale/engine"
)

// column is how one value of a product is read and written.
type column struct {
	name     string
	required bool
	rule     string                                    // what a value may be, for error messages
	read     func(p *engine.Product, text string) bool // false = the value breaks the rule; text is not empty
	write    func(p *engine.Product) string
}

const (
	required = true
	optional = false // an empty value is as good as none
)

// columns are those of an import, in the order of an export. To know one more value of a product takes one line here.
var columns = []column{
	{"id", required, engine.ProductIDRule, readID, func(p *engine.Product) string { return guard(p.ID) }},
	{"name", required, nameRule, readName, func(p *engine.Product) string { return guard(p.Name) }},
	{"price", required, engine.PriceRule, readPrice, writePrice},
	whole("initialStock", required, engine.StockRule, engine.MaxStock, func(p *engine.Product) *int64 { return &p.Stock.Initial }),
	whole("perUserLimit", optional, engine.PerUserRule, engine.MaxPerUser, func(p *engine.Product) *int64 { return &p.Terms.PerUserLimit }),
	{"flashSaleActive", optional, "must be true or false", readActive, writeActive},
	moment("startsAt", func(p *engine.Product) *time.Time { return &p.Terms.StartsAt }),
	moment("endsAt", func(p *engine.Product) *time.Time { return &p.Terms.EndsAt }),
	whole("holdSeconds", optional, engine.HoldRule, engine.MaxHoldSeconds, func(p *engine.Product) *int64 { return &p.Terms.HoldSeconds }),
}

// counters are columns that are only written.
var counters = []column{
	{name: "currentStock", write: func(p *engine.Product) string { return strconv.FormatInt(p.Stock.Current, 10) }},
	{name: "heldStock", write: func(p *engine.Product) string { return strconv.FormatInt(p.Stock.Held, 10) }},
	{name: "soldStock", write: func(p *engine.Product) string { return strconv.FormatInt(p.Stock.Sold, 10) }},
}

// Columns names the columns of an import.
func Columns() []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return names
}

// newProduct is a product as it is where optional columns say nothing.
func newProduct() engine.Product { return engine.Product{Terms: engine.Terms{Active: true}} }

func readID(p *engine.Product, text string) bool {
	p.ID = unguard(text)
	return engine.ValidProductID(p.ID)
}

const nameRule = "must be 1 to 200 characters of UTF-8 without control characters"

func readName(p *engine.Product, text string) bool {
	p.Name = unguard(text)
	return engine.ValidText(p.Name, 1, engine.MaxName)
}

func readPrice(p *engine.Product, text string) bool {
	cents, ok := engine.ParseCents(text)
	p.PriceCents = cents
	return ok && cents <= engine.MaxPriceCents
}

func writePrice(p *engine.Product) string {
	return fmt.Sprintf("%d.%02d", p.PriceCents/100, p.PriceCents%100)
}

// readActive takes TRUE and FALSE too, which is what spreadsheets make of the words when they save them.
func readActive(p *engine.Product, text string) bool {
	word := strings.ToLower(text)
	p.Terms.Active = word == "true"
	return word == "true" || word == "false"
}

func writeActive(p *engine.Product) string { return strconv.FormatBool(p.Terms.Active) }

// whole is a column of integers from 0 to maximum.
func whole(name string, required bool, rule string, maximum int64, field func(*engine.Product) *int64) column {
	read := func(p *engine.Product, text string) bool {
		n, ok := engine.ParseInteger(text)
		*field(p) = n
		return ok && n >= 0 && n <= maximum
	}
	write := func(p *engine.Product) string { return strconv.FormatInt(*field(p), 10) }
	return column{name, required, rule, read, write}
}

// timeFormat is RFC 3339 with the milliseconds that the scripts compare.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// moment is a column of times; an empty one sets no bound.
func moment(name string, field func(*engine.Product) *time.Time) column {
	read := func(p *engine.Product, text string) bool {
		t, ok := engine.ParseTime(text)
		*field(p) = t
		return ok
	}
	write := func(p *engine.Product) string {
		t := *field(p)
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(timeFormat)
	}
	return column{name, optional, "must be an RFC 3339 time after 1970, or empty", read, write}
}
