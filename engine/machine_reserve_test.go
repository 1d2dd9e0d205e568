package engine

import (
	"fmt"
	"slices"
	"strconv"

	"pgregory.net/rapid"
)

// Three products that may exist and one that never does; ids with every byte that could be taken for a separator.
var modelProducts = []string{"a", "b", "c", "a", "b", "a", "ghost"}

func modelID(i int) string { return fmt.Sprintf("id,|\x00\n\xff%%s{p}%04d", i) }

// quantities are texts with what they mean, 0 for those to be refused.
var quantities = []struct {
	text  string
	units int64
}{
	{"1", 1},
	{"2", 2},
	{"1", 1},
	{"3", 3},
	{"1", 1},
	{"2", 2},
	{"1", 1},
	{"1", 1},
	{"1", 1},
	{"1", 1},
	{"1", 1},
	{"2", 2},
	{"5", 5},
	{"7.0", 7},
	{" 2", 2},
	{"0x3", 3},
	{"1e1", 10},
	{"1000000", 1_000_000},
	{"0", 0},
	{"-1", 0},
	{"-5", 0},
	{"1.5", 0},
	{"0.5", 0},
	{"1000001", 0},
	{"9007199254740993", 0},
	{"1e400", 0},
	{"nan", 0},
	{"-inf", 0},
	{"inf", 0},
	{"", 0},
	{"two", 0},
	{"1,2", 0},
	{"1 2", 0},
	{"-0", 0},
}

func (mc *machine) orders(t *rapid.T) []modelOrder {
	orders := make([]modelOrder, rapid.IntRange(1, 20).Draw(t, "batch"))
	for i := range orders {
		id := mc.idAgain(t)
		if id == "" {
			mc.minted++
			id = modelID(mc.minted)
		}
		quantity := rapid.SampledFrom(quantities).Draw(t, "quantity")
		orders[i] = modelOrder{
			id:       id,
			product:  rapid.SampledFrom(modelProducts).Draw(t, "product"),
			user:     rapid.SampledFrom(modelUsers).Draw(t, "user"),
			quantity: quantity.text, units: quantity.units,
		}
		orders[i].wish = mc.wish(t, &orders[i])
	}
	return orders
}

// idAgain draws an id that was used before; "" = none. One whose record was trimmed is not among them: nobody repeats an
// attempt after its deadline, and trim's grace is longer.
func (mc *machine) idAgain(t *rapid.T) string {
	if mc.minted == 0 || rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "new id") {
		return ""
	}
	id := modelID(mc.minted - rapid.IntRange(0, min(mc.minted, 30)-1).Draw(t, "ids ago"))
	_, accepted := mc.ledger.orders[id]
	if _, there := mc.model.records[id]; accepted && !there {
		return ""
	}
	return id
}

var modelUsers = []string{"u", "v", "w@x:y+z"}

// wish draws what an order asks for beyond being sold at once; nil = nothing.
func (mc *machine) wish(t *rapid.T, o *modelOrder) *modelWish {
	w := modelWish{
		holdMs: rapid.SampledFrom([]int64{0, 0, 1, 5, 30, 5000, 100_000}).Draw(t, "holdMs, 0 = sell at once"),
		key:    rapid.SampledFrom([]string{"", "", "", "k", "k", "a,|key\x00\n\xff%"}).Draw(t, "key"),
	}
	if w.key != "" { // what the field is made of does not matter to the script
		w.field = fmt.Sprintf("%q", []string{o.product, o.user, w.key})
		w.request = o.quantity + ";" + text(w.holdMs)
	}
	if w.holdMs == 0 && w.key == "" {
		return nil
	}
	return &w
}

func (mc *machine) reserve(t *rapid.T) {
	watermark, deadlineMs := mc.head(t)
	lockMs := rapid.SampledFrom([]int64{0, 60_000, 0, 2, 60_000}).Draw(t, "lockMs")
	orders := mc.orders(t)
	var products, runs, wishes, ids, buyers []string
	for i, o := range orders {
		if !slices.Contains(products, o.product) {
			products = append(products, o.product)
		}
		if w := o.wish; w != nil {
			wishes = append(wishes, strconv.Itoa(i+1), text(w.holdMs), w.field, w.request, w.key)
		}
		last := len(runs) - 3
		if i > 0 && runs[last] == o.product && runs[last+1] == o.quantity {
			runs[last+2] = text(number(runs[last+2]) + 1)
		} else {
			runs = append(runs, o.product, o.quantity, "1")
		}
		ids, buyers = append(ids, o.id), append(buyers, o.product+"|"+o.user)
	}
	args := slices.Concat([]string{
		mc.model.caller, text(watermark), text(deadlineMs), text(lockMs), strconv.Itoa(MaxQuantity),
		strconv.Itoa(len(runs) / 3), strconv.Itoa(len(wishes) / 5),
	}, runs, wishes, ids, buyers)
	code, nowMs, reply := mc.run(t, &reserveScript, mc.n.reserveKeys(mc.keys), args)
	mc.require(t, mc.model.guard(nowMs, watermark, deadlineMs), code, reply, func() []string {
		return mc.model.reserve(modelReserve{nowMs, lockMs, mc.keyMs}, products, orders)
	})
}
