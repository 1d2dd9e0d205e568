package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of quantities and stocks, in units.
const (
	MaxQuantity = 1_000_000
	MaxStock    = 1_000_000_000_000

	MaxHoldSeconds = 86_400 // of any hold, whatever the settings
)

// Stock are the counters of a product in Redis, in units. Initial = Current + Held + Sold at every instant.
type Stock struct {
	Current int64
	Held    int64
	Sold    int64
	Initial int64
	Change  int64 // number of the last change taken
}

// ParseStock reads counters as the scripts write them: current,held,sold,initial,change.
func ParseStock(value string) (Stock, error) {
	var s Stock
	f := strings.Split(value, ",")
	numbers := [...]*int64{&s.Current, &s.Held, &s.Sold, &s.Initial, &s.Change}
	if len(f) != len(numbers) {
		return s, fmt.Errorf("counters %q: not %d numbers", value, len(numbers))
	}
	for i, n := range numbers {
		if err := parseCount(f[i], n); err != nil {
			return s, fmt.Errorf("counters %q: %w", value, err)
		}
	}
	return s, nil
}

// String returns the counters as the scripts write them.
func (s Stock) String() string {
	return fmt.Sprintf("%d,%d,%d,%d,%d", s.Current, s.Held, s.Sold, s.Initial, s.Change)
}

// Terms say who may buy a product, when and how much.
type Terms struct {
	PerUserLimit int64     // units one buyer may hold and have bought; 0 = no limit
	Active       bool      // false = nobody may buy
	StartsAt     time.Time // zero = at once
	EndsAt       time.Time // zero = never
	HoldSeconds  int64     // longest hold that a buyer may ask for; 0 = only the setting bounds it
}

// String returns the terms as the scripts read them: limit,active,startsMs,endsMs,holdMs.
func (t Terms) String() string {
	active := "0"
	if t.Active {
		active = "1"
	}
	return strings.Join([]string{
		strconv.FormatInt(t.PerUserLimit, 10), active, unixMs(t.StartsAt), unixMs(t.EndsAt),
		strconv.FormatInt(t.HoldSeconds*1000, 10),
	}, ",")
}

func unixMs(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// Product is a product as the ledger has it, with the counters of the moment.
type Product struct {
	ID         string
	Name       string
	PriceCents int64 // hundredths of the shop's currency unit
	Stock      Stock
	Terms      Terms
	Version    int64 // counts the changes by people, from 1
	CreatedAt  time.Time
}

// ProductChange is what a person wants of a product. Nil fields stay as they are.
type ProductChange struct {
	Name         *string
	PriceCents   *int64
	PerUserLimit *int64
	Active       *bool
	StartsAt     *time.Time // zero time = at once
	EndsAt       *time.Time // zero time = never
	HoldSeconds  *int64     // 0 = only the setting bounds holds
	CurrentStock *int64     // units to be left, absolute; not together with AdjustStock
	AdjustStock  *int64     // units to add, negative to take away

	IfVersion int64  // refuse unless the product has this version; 0 = any
	Actor     string // who asks, for the audit
	Reason    string // why, for the audit
}

// NewProduct is a product to be made. Its Stock.Initial says how many units it starts with.
type NewProduct struct {
	Product
	Actor  string
	Reason string
}
