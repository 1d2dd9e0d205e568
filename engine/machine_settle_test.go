package engine

import (
	"cmp"
	"strconv"

	"pgregory.net/rapid"
)

// known draws the id of an order that was once accepted, mostly one of the latest.
func (mc *machine) known(t *rapid.T) string {
	ids := mc.ledger.ids
	if len(ids) == 0 || rapid.IntRange(0, 19).Draw(t, "an order that nobody has if 19") == 19 {
		return cmp.Or(mc.stranger(t), modelID(999, 0))
	}
	return ids[len(ids)-1-rapid.IntRange(0, min(len(ids), 25)-1).Draw(t, "orders ago")]
}

// stranger is an id that nobody has, of a batch that there was; "" = there was none.
func (mc *machine) stranger(t *rapid.T) string {
	if len(mc.batches) == 0 {
		return ""
	}
	b := mc.batches[len(mc.batches)-1-rapid.IntRange(0, min(len(mc.batches), 6)-1).Draw(t, "of a batch ago")]
	return modelToken(b.number) + "nobody"
}

// transitions draws a batch. What the ledger has of an order is brought along as engine does, after its record has left
// Redis; while it is there, whatever is brought counts for nothing.
func (mc *machine) transitions(t *rapid.T) []modelTransition {
	now := max(mc.now(t), mc.model.time)
	batch := make([]modelTransition, rapid.IntRange(1, 12).Draw(t, "batch"))
	for i := range batch {
		tr := modelTransition{id: mc.known(t), action: rapid.SampledFrom([]string{"c", "x", "t", "c"}).Draw(t, "action")}
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "the order before again if 4") == 4 {
			tr.id = batch[i-1].id
		}
		switch tr.action {
		case "c":
			tr.amount = rapid.SampledFrom([]int64{0, 0, 0, 1, 2, 3, 8}).Draw(t, "units, 0 = all")
		case "t":
			tr.amount = now + rapid.SampledFrom([]int64{40, 2, 200, 5000, 70_000, 120_000, 0, -1000}).Draw(t, "wanted end - now")
		}
		logged := mc.ledger.orders[tr.id]
		tr.user = rapid.SampledFrom([]string{"", logged.User, logged.User, modelUsers[0]}).Draw(t, "user")
		tr.record = mc.brought(t, tr.id)
		batch[i] = tr
	}
	return batch
}

func (mc *machine) brought(t *rapid.T, id string) string {
	latest := mc.ledger.records[id]
	_, kept := mc.model.keeps(id)
	if !kept && rapid.IntRange(0, 2).Draw(t, "a hold that only the ledger has if 2") == 2 {
		user := cmp.Or(mc.ledger.orders[id].User, modelUsers[0])
		product := cmp.Or(mc.ledger.orders[id].Product, "a")
		return "p,1,1,1,1," + rapid.SampledFrom([]string{"9999999999999", "2"}).Draw(t, "its end") + ",1,1," + product + "|" + user
	}
	others := []string{"", "p,1", "|", "f,2,1,1,1,0,1,1,a|u", "f,2,1,1,1,0,1,1,a|v"}
	if kept {
		others = append(others, "p,1,1,1,1,9999999999999,1,1,a|u", "x,2,1,1,1,0,1,1,a|u")
	}
	if rapid.IntRange(0, 5).Draw(t, "bring something else if 5") == 5 {
		return rapid.SampledFrom(others).Draw(t, "brought along")
	}
	return latest
}

func (mc *machine) settle(t *rapid.T) {
	watermark, deadlineMs := mc.head(t)
	s := modelSettle{
		lateMs:        rapid.SampledFrom([]int64{60_000, 0, 3, 1_000_000}).Draw(t, "lateMs"),
		maxExtensions: rapid.SampledFrom([]int64{1, 3, 0}).Draw(t, "maxExtensions"),
		maxTotalMs:    rapid.SampledFrom([]int64{100_000, 20, 10_000_000}).Draw(t, "maxTotalMs"),
	}
	batch := mc.transitions(t)
	args := []string{
		mc.model.caller, text(watermark), text(deadlineMs), text(s.lateMs), text(s.maxExtensions), text(s.maxTotalMs),
	}
	for _, tr := range batch {
		args = append(args, tr.id, tr.action, text(tr.amount), tr.user, tr.record)
	}
	code, nowMs, reply := mc.run(t, &settleScript, mc.n.bookKeys(mc.keys), args)
	mc.require(t, mc.model.guard(nowMs, watermark, deadlineMs), code, reply, func() []string {
		s.nowMs = nowMs
		return mc.model.settle(s, batch)
	})
}

func (mc *machine) expire(t *rapid.T) {
	watermark, deadlineMs := mc.head(t)
	maxHolds := rapid.IntRange(1, 5).Draw(t, "maxHolds")
	postponeMs := rapid.SampledFrom([]int64{60_000, 3}).Draw(t, "postponeMs")
	args := []string{mc.model.caller, text(watermark), text(deadlineMs), strconv.Itoa(maxHolds), text(postponeMs)}
	code, nowMs, reply := mc.run(t, &expireScript, mc.n.bookKeys(mc.keys), args)
	mc.require(t, mc.model.guard(nowMs, watermark, deadlineMs), code, reply, func() []string {
		return mc.model.expire(nowMs, postponeMs, maxHolds)
	})
}
