package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// Three products that may exist and one that never does; ids with every byte that could be taken for a separator.
var modelProducts = []string{"a", "b", "c", "a", "b", "a", "ghost"}

func modelToken(i int) string { return fmt.Sprintf("t,|\x00\n\xff%%%03d", i) }

// modelID is the i-th id of a batch. Those of every other batch look like the beginning of a record.
func modelID(batch, i int) string {
	return modelToken(batch) + fmt.Sprintf([]string{",\x00|%03d", "c,1,%02d"}[batch%2], i)
}

// machineBatch are the orders that were asked for with one token, each once.
type machineBatch struct {
	number    int
	orders    []modelOrder
	forgotten bool // an entry with the token was trimmed
}

// quantities are what orders ask for, mostly little. The last three are none.
var quantities = []int64{1, 2, 1, 3, 1, 2, 1, 1, 1, 1, 1, 2, 5, 7, 10, MaxQuantity, 0, MaxQuantity + 1, 1<<24 - 1}

// orders draws a batch, mostly of new orders with a new token. It may be an earlier one, whole or in part, with others beside
// what comes again: another attempt, or a batch that has the same token by chance.
func (mc *machine) orders(t *rapid.T) []modelOrder {
	b, again := mc.batchAgain(t)
	if whole := b.repeatable(mc.model); again && len(whole) > 0 && rapid.Bool().Draw(t, "as it was") {
		return whole
	}
	orders := make([]modelOrder, rapid.IntRange(1, 20).Draw(t, "batch"))
	for i := range orders {
		earlier := b.repeatable(mc.model)
		if len(earlier) == 0 || rapid.SampledFrom([]bool{true, true, !again, !again}).Draw(t, "new order") {
			orders[i] = mc.newOrder(t, modelID(b.number, len(b.orders)), rapid.Bool().Draw(t, "with a wish"))
			b.orders = append(b.orders, orders[i])
			continue
		}
		orders[i] = rapid.SampledFrom(earlier).Draw(t, "order again")
		if rapid.IntRange(0, 3).Draw(t, "and asks for something else if 3") == 3 {
			orders[i] = mc.newOrder(t, orders[i].id, orders[i].wish != nil)
		}
	}
	return orders
}

// batchAgain draws a batch whose token was used before, one of the latest, or begins a new one.
func (mc *machine) batchAgain(t *rapid.T) (b *machineBatch, again bool) {
	n := len(mc.batches)
	if n > 0 && !rapid.SampledFrom([]bool{true, true, false}).Draw(t, "new token") {
		return mc.batches[n-1-rapid.IntRange(0, min(n, 6)-1).Draw(t, "batches ago")], true
	}
	b = &machineBatch{number: n}
	mc.batches = append(mc.batches, b)
	return b, false
}

// repeatable are the orders of a batch of which an attempt may come again. Nobody repeats one after its deadline, and trim's
// grace is longer: so none is among them of a token whose entry is trimmed, but what is still known by its id, and asks for more
// than to be sold at once.
func (b *machineBatch) repeatable(m *model) (orders []modelOrder) {
	for _, o := range b.orders {
		if _, there := m.records[o.id]; !b.forgotten || there && o.wish != nil {
			orders = append(orders, o)
		}
	}
	return orders
}

// forget notes the tokens of entries that were trimmed.
func (mc *machine) forget(trimmed []modelEntry) {
	for i := range trimmed {
		if trimmed[i].fields[0] != "accepted" {
			continue
		}
		for _, b := range mc.batches {
			b.forgotten = b.forgotten || strings.HasPrefix(trimmed[i].fields[3], modelToken(b.number))
		}
	}
}

func (mc *machine) newOrder(t *rapid.T, id string, wish bool) modelOrder {
	o := modelOrder{
		id:       id,
		product:  rapid.SampledFrom(modelProducts).Draw(t, "product"),
		user:     rapid.SampledFrom(modelUsers).Draw(t, "user"),
		quantity: rapid.SampledFrom(quantities).Draw(t, "quantity"),
	}
	if rapid.IntRange(0, 2).Draw(t, "a buyer who was never here if 2") == 2 {
		o.user = "n" + strconv.Itoa(len(mc.model.buyers)) + "." + strconv.Itoa(len(mc.batches))
	}
	if wish {
		o.wish = mc.wish(t, &o)
	}
	return o
}

var modelUsers = []string{"u", "v", "w@x:y+z"}

// wish draws what an order asks for beyond being sold at once.
func (mc *machine) wish(t *rapid.T, o *modelOrder) *modelWish {
	w := modelWish{key: rapid.SampledFrom([]string{"", "", "", "k", "k", "a,|key\x00\n\xff%"}).Draw(t, "key")}
	holds := []int64{1, 5, 30, 5000, 100_000}
	if w.key != "" {
		holds = append(holds, 0, 0)
	}
	w.holdMs = rapid.SampledFrom(holds).Draw(t, "holdMs, 0 = sell at once")
	if w.key != "" { // what the field is made of does not matter to the script
		w.field = fmt.Sprintf("%q", []string{o.product, o.user, w.key})
		w.request = text(o.quantity) + ";" + text(w.holdMs)
	}
	return &w
}

func (mc *machine) reserve(t *rapid.T) {
	watermark, deadlineMs := mc.head(t)
	lockMs := rapid.SampledFrom([]int64{0, 60_000, 0, 2, 60_000}).Draw(t, "lockMs")
	orders := mc.orders(t)
	var products, wishes, buyers []string
	var runs []testRun
	ids := orders[0].id[:10]
	for i, o := range orders {
		if !slices.Contains(products, o.product) {
			products = append(products, o.product)
		}
		if w := o.wish; w != nil {
			wishes = append(wishes, strconv.Itoa(i+1), text(w.holdMs), w.field, w.request, w.key)
		}
		runs = append(runs, testRun{slices.Index(products, o.product) + 1, o.quantity, 1})
		if i > 0 && o.product == orders[i-1].product && o.quantity == orders[i-1].quantity {
			runs = runs[:len(runs)-1]
			runs[len(runs)-1].orders++
		}
		ids += o.id[10:]
		buyers = append(buyers, o.product+"|"+o.user)
	}
	args := slices.Concat([]string{
		mc.model.caller, text(watermark), text(deadlineMs), text(lockMs), strconv.Itoa(MaxQuantity),
		strconv.Itoa(len(products)), strconv.Itoa(len(wishes) / 5), ids, runsText(runs...),
	}, products, wishes, buyers)
	code, nowMs, reply := mc.run(t, &reserveScript, mc.n.reserveKeys(mc.keys), args)
	mc.require(t, mc.model.guard(nowMs, watermark, deadlineMs), code, reply, func() []string {
		return mc.model.reserve(modelReserve{nowMs, lockMs, mc.keyMs}, products, orders)
	})
}
