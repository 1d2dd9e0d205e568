package engine

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is said of a product, in characters, hundredths and units.
const (
	MaxName       = 200
	MaxReason     = 200
	MaxPriceCents = 1_000_000_000_000
	MaxPerUser    = 1_000_000_000
)

// What the numbers of a product allow, in words for error messages.
const (
	PriceRule   = "must be a number from 0 to 10000000000 with at most 2 decimals and no exponent"
	PerUserRule = "must be an integer from 0 (no limit) to 1000000000"
	StockRule   = "must be an integer from 0 to 1000000000000"
	HoldRule    = "must be an integer from 0 (no bound of its own) to 86400"
)

// ErrWindow refuses a sale that would end before it starts.
var ErrWindow = Invalid("endsAt", "must be after startsAt")

// CheckWindow fails with [ErrWindow] unless the sale ends after it starts.
func (t *Terms) CheckWindow() error {
	if !t.StartsAt.IsZero() && !t.EndsAt.IsZero() && !t.EndsAt.After(t.StartsAt) {
		return ErrWindow
	}
	return nil
}

// ValidText tells whether text is of minimum to maximum characters, none of them a control character.
func ValidText(text string, minimum, maximum int) bool {
	length := utf8.RuneCountInString(text)
	return length >= minimum && length <= maximum && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// maxYear is the last that RFC 3339 can write; an offset may push a time beyond it.
const maxYear = 9999

// ParseTime returns an RFC 3339 time after 1970, in UTC, cut to milliseconds, which is what the scripts compare.
func ParseTime(text string) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339, text)
	t = t.UTC().Truncate(time.Millisecond)
	return t, err == nil && t.UnixMilli() > 0 && t.Year() <= maxYear
}
