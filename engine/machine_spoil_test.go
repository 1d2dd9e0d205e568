package engine

import (
	"cmp"
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// spoilt names what was damaged and not yet repaired: kind and field.
type spoilt map[[2]string]bool

func (s spoilt) has(kind, field string) bool { return s[[2]string{kind, field}] }

// spoil makes counters, terms, a buyer or an order unreadable or wrong, or puts into the set of holds what is none.
func (mc *machine) spoil(t *rapid.T) {
	garbage := rapid.SampledFrom([]string{"", "x", "1,2,3", "-1,0,0,0,1", "1.5,0,0,1,1", "1,0,0,1,1,", " 1,0,0,1,1", "1,1,0,0\n", "2,1,0,first"}).Draw(t, "garbage")
	product := rapid.SampledFrom(modelProducts[:3]).Draw(t, "product")
	switch rapid.SampledFrom([]string{"stock", "short stock", "terms", "no terms", "buyer", "order", "token", "stray"}).Draw(t, "what") {
	case "stock":
		mc.spoilStock(t, product, garbage)
	case "short stock": // readable, but less than the orders have
		if c, ok := modelCounters(mc.model.stock[product]); ok {
			mc.spoilStock(t, product, commas(c[0], 0, 0, c[0], c[4]))
		}
	case "terms":
		mc.put(t, mc.keys.Terms, mc.model.terms, product, garbage)
	case "no terms":
		mc.n.do(t, "HDEL", mc.keys.Terms, product)
		delete(mc.model.terms, product)
	case "buyer":
		field := product + "|" + rapid.SampledFrom(modelUsers).Draw(t, "user")
		mc.spoilt[[2]string{"buyer", field}] = true
		mc.put(t, mc.keys.Buyers, mc.model.buyers, field, garbage)
	case "order":
		id := mc.known(t)
		if _, kept := mc.model.keeps(id); kept {
			mc.spoilt[[2]string{"order", id}] = true
			mc.put(t, mc.keys.Orders, mc.model.records, id, cmp.Or(garbage, "x"))
		}
	case "token":
		mc.spoilToken(t, mc.known(t)[:10], garbage)
	case "stray":
		mc.stray(t)
	}
}

// spoilToken has a token stand for nothing that can be read, or for an entry that is not there.
func (mc *machine) spoilToken(t *rapid.T, token, garbage string) {
	sequence, there := mc.model.tokens[token]
	if !there || mc.spoilt.has("token", token) {
		return
	}
	mc.spoilt[[2]string{"token", token}] = true
	mc.tokens[token] = sequence
	mc.put(t, mc.keys.Meta, mc.model.tokens, token, rapid.SampledFrom([]string{garbage, "999999"}).Draw(t, "what the token stands for"))
}

// repairToken puts a token back, unless the entry that it stood for is trimmed.
func (mc *machine) repairToken(t *rapid.T, token string) {
	if mc.model.entry(mc.tokens[token]) != nil {
		mc.put(t, mc.keys.Meta, mc.model.tokens, token, mc.tokens[token])
		return
	}
	mc.remove(t, mc.keys.Meta, mc.model.tokens, token)
}

// repairOrder puts an order's record back, or lets its token speak for it again.
func (mc *machine) repairOrder(t *rapid.T, id string) {
	own := mc.model.records[id]
	delete(mc.model.records, id)
	if record, kept := mc.model.keeps(id); kept && record == mc.ledger.records[id] {
		mc.remove(t, mc.keys.Orders, mc.model.records, id)
		return
	}
	mc.model.records[id] = own
	mc.put(t, mc.keys.Orders, mc.model.records, id, mc.ledger.records[id])
}

func (mc *machine) remove(t *rapid.T, key string, hash map[string]string, field string) {
	mc.n.do(t, "HDEL", key, field)
	delete(hash, field)
}

func (mc *machine) spoilStock(t *rapid.T, product, value string) {
	if _, known := mc.model.stock[product]; known {
		mc.spoilt[[2]string{"stock", product}] = true
		mc.put(t, mc.keys.Stock, mc.model.stock, product, value)
	}
}

// stray puts an order that holds nothing into the set of holds, or an id that no order has.
func (mc *machine) stray(t *rapid.T) {
	id := mc.known(t)
	if mc.ledger.orders[id].Status == StatusPending {
		return
	}
	mc.spoilt[[2]string{"stray", id}] = true
	mc.model.expiry[id] = max(mc.now(t), mc.model.time) + rapid.SampledFrom([]int64{0, -1000, 50}).Draw(t, "due - now")
	mc.n.do(t, "ZADD", mc.keys.Expiry, text(mc.model.expiry[id]), id)
}

func (mc *machine) put(t *rapid.T, key string, hash map[string]string, field, value string) {
	mc.n.do(t, "HSET", key, field, value)
	hash[field] = value
}

// repair puts back what spoil took, as the log has it.
func (mc *machine) repair(t *rapid.T) {
	for _, what := range slices.SortedFunc(maps.Keys(mc.spoilt), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		kind, field := what[0], what[1]
		switch kind {
		case "stock":
			s := mc.ledger.products[field]
			mc.put(t, mc.keys.Stock, mc.model.stock, field, commas(s.Current, s.Held, s.Sold, s.Initial, s.Change))
		case "buyer":
			units := mc.ledger.units(func(o *Order) string { return o.Product + "|" + o.User })[field]
			mc.put(t, mc.keys.Buyers, mc.model.buyers, field, commas(units.sold, units.held, 0)+",")
		case "token":
			mc.repairToken(t, field)
		case "order":
			mc.repairOrder(t, field)
			if o := mc.ledger.orders[field]; o.Status == StatusPending {
				mc.model.expiry[field] = o.ExpiresAtMs
				delete(mc.model.postponed, field)
				mc.n.do(t, "ZADD", mc.keys.Expiry, text(o.ExpiresAtMs), field)
			}
		case "stray":
			delete(mc.model.expiry, field)
			mc.n.do(t, "ZREM", mc.keys.Expiry, field)
		}
	}
	clear(mc.spoilt)
	for product := range mc.model.stock {
		if !termsPattern.MatchString(mc.model.terms[product]) {
			mc.put(t, mc.keys.Terms, mc.model.terms, product, "4,1,0,0,0")
		}
	}
}
