package engine

import (
	"encoding/binary"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

func TestIDsOfABatchShareATokenAndNothingElse(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	tokens := map[string]bool{}
	for _, size := range []int{1, 2, defaultBatchSize, maxBatchSize} {
		batch := make([]*Reservation, size)
		for i := range batch {
			batch[i] = NewReservation()
		}
		mintBatch(batch, 0xabc, now, randomBytes)
		seen := map[OrderID]bool{}
		for _, r := range batch {
			require.Equal(t, batch[0].ID[:tokenSize], r.ID[:tokenSize])
			require.Equal(t, []any{0xabc, now.UnixMilli()}, []any{r.ID.Partition(), r.ID.TimeMs()})
			_, ok := ParseOrderID(r.ID.String())
			require.True(t, ok, "%s is read back", r.ID)
			seen[r.ID] = true
		}
		require.Len(t, seen, size)
		tokens[string(batch[0].ID[:tokenSize])] = true
	}
	require.Greater(t, len(tokens), 1, "batches of one ms differ by their token")
}

// Two buyers of one batch must not be told of the same order, whatever chance has in store.
func TestIDsOfABatchDifferHoweverPoorTheRandomness(t *testing.T) {
	batch := make([]*Reservation, 300)
	for i := range batch {
		batch[i] = NewReservation()
	}
	drawn := uint16(0)
	mintBatch(batch, 1, time.Now(), func(b []byte) { // each value four times, and some of one bucket
		clear(b)
		binary.BigEndian.PutUint16(b[2:], drawn/4%8)
		binary.BigEndian.PutUint16(b[4:], drawn/4)
		drawn++
	})
	seen := map[OrderID]bool{}
	for _, r := range batch {
		require.False(t, seen[r.ID], "%s was given twice", r.ID)
		seen[r.ID] = true
	}
}

// batched is an engine whose batches have the ids that a test gives them.
type batched struct {
	*node
	t      *testing.T
	held   OrderID // is asked for as a hold
	holdMs int64   // and so is every other; 0 = they are sold
}

func newBatched(t *testing.T, prefix string) *batched {
	n := newNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: prefix, LateConfirm: time.Minute})
	n.product(t, "a", 100, onSale)
	return &batched{node: n, t: t}
}

// attempt sells a unit to each of some ids in one call, whose buyers are named by the ids, and returns the orders with what
// became of each.
func (n *batched) attempt(ids ...OrderID) []*Reservation {
	n.t.Helper()
	c := &sameIDs{newReserveCall(n.Engine), ids}
	batch := make([]*Reservation, len(ids))
	for i, id := range ids {
		r := n.order("a", "u-"+id.String(), 1)
		r.shelf, r.buyer = n.shelves.find("a", crc16("a"), n.partitions[0]), BuyerField("a", r.User)
		r.deadline, r.HoldMs = time.Now().Add(patience), n.holdMs
		if id == n.held {
			r.HoldMs = 60_000
		}
		batch[i] = r
	}
	s := newSender[*Reservation](n.Engine, n.partitions[0], c)
	defer s.own.drop()
	s.batch = append(s.batch, batch...)
	s.send()
	for _, r := range batch {
		<-r.done
	}
	return batch
}

// sold is what attempt has to bring: every order sold, by the entry that is told.
func (n *batched) sold(sequence uint64, ids ...OrderID) {
	n.t.Helper()
	for _, r := range n.attempt(ids...) {
		require.NoError(n.t, r.err)
		require.Equal(n.t, []any{r.ID, "u-" + r.ID.String(), sequence}, []any{r.Order.ID, r.Order.User, r.Order.Sequence})
		found := n.find(n.t, r.ID)
		found.Index = 0 // only what was read from the log has it
		require.Equal(n.t, found, r.Order, "what Redis has and what the caller got")
	}
}

// fields are those that Redis keeps of orders: by their ids, and in meta by their tokens.
func (n *batched) fields() map[string]string {
	n.t.Helper()
	return n.fieldsOfOrders(n.t)
}

func (n *node) fieldsOfOrders(t testing.TB) map[string]string {
	t.Helper()
	k, kept := n.keys(0), map[string]string{}
	if orders, there := dumpKeys(t, n.client, k.Orders)[k.Orders].(map[string]string); there {
		maps.Copy(kept, orders)
	}
	meta := dumpKeys(t, n.client, k.Meta)[k.Meta].(map[string]string) //nolint:forcetypeassert // a hash
	for field, value := range meta {
		if len(field) == tokenSize {
			kept[field] = value
		}
	}
	return kept
}

func (n *batched) trim(entries int64) {
	n.t.Helper()
	end := n.partitions[0].logEnd()
	n.Advance(0, Watermark{Epoch: 1, Sequence: end.sequence, Orders: end.orders})
	gone, err := n.Trim(n.t.Context(), 0, 0, int(entries))
	require.NoError(n.t, err)
	require.Equal(n.t, entries, gone)
}

func tokenIn(id OrderID) string { return string(id[:tokenSize]) }

// What a batch sells at once has one field, whoever asks for it, and none is left behind it.
func TestABatchHasOneField(t *testing.T) {
	n := newBatched(t, "onefield")
	ids := mates(NewOrderID(0, time.Now()), 4)
	n.sold(2, ids[:3]...)
	require.Equal(t, map[string]string{tokenIn(ids[0]): "2"}, n.fields())
	_, found, err := n.Find(t.Context(), ids[3])
	require.NoError(t, err)
	require.False(t, found, "an order that nobody has, by a token that there is")
	_, err = n.settleAlone(&Transition{ID: ids[3], Action: ActionCancel})
	require.Equal(t, ErrNoOrder, err)

	audit, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: ids})
	require.NoError(t, err)
	for i := range ids[:3] {
		require.True(t, audit.Orders[i].InLog, "order %d", i)
		require.Equal(t, Order{ID: ids[i], Status: StatusConfirmed, Version: 1, Sequence: 2}, audit.Orders[i].Record.Value)
	}
	require.False(t, audit.Orders[3].Record.Found)

	cancelled, err := n.settleAlone(&Transition{ID: ids[1], Action: ActionCancel})
	require.NoError(t, err)
	require.Equal(t, map[string]string{tokenIn(ids[0]): "2", string(ids[1][:]): cancelled.Order.Record()}, n.fields())
	require.Equal(t, cancelled.Order, n.find(t, ids[1]), "its own record goes first")
	n.trim(2)
	require.Equal(t, map[string]string{string(ids[1][:]): cancelled.Order.Record()}, n.fields())
	n.trim(1)
	require.Empty(t, n.fields())
}

// settleAlone settles without a lane.
func (n *batched) settleAlone(x *Transition) (*Transition, error) {
	n.t.Helper()
	x.waiting = newWaiting()
	x.deadline = time.Now().Add(patience)
	s := newSender[*Transition](n.Engine, n.partitions[0], &settleCall{engine: n.Engine})
	defer s.own.drop()
	s.batch = append(s.batch, x)
	s.send()
	<-x.done
	return x, x.err
}

// A token speaks for what was sold at once: a hold that has lost its record is none for it, and yet it was decided.
func TestATokenSpeaksForNoHold(t *testing.T) {
	n := newBatched(t, "nohold")
	ids := mates(NewOrderID(0, time.Now()), 2)
	n.holdMs = 60_000
	require.NoError(t, n.attempt(ids[0])[0].err)
	n.holdMs = 0
	mixed := mates(NewOrderID(0, time.Now()), 2)
	n.held = mixed[0]
	for _, r := range n.attempt(mixed...) {
		require.NoError(t, r.err)
	}
	alone, beside := n.find(t, ids[0]), n.find(t, mixed[0])
	require.Equal(t, map[string]string{string(ids[0][:]): alone.Record(), string(mixed[0][:]): beside.Record(), tokenIn(mixed[1]): "3"}, n.fields(),
		"a batch that sells nothing at once has no token")
	n.do(t, "HDEL", n.keys(0).Orders, string(mixed[0][:]))
	_, found, err := n.Find(t.Context(), mixed[0])
	require.NoError(t, err)
	require.False(t, found)
	_, err = n.settleAlone(&Transition{ID: mixed[0], Action: ActionConfirm})
	require.Equal(t, ErrNoOrder, err)
	audit, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: mixed})
	require.NoError(t, err)
	require.False(t, audit.Orders[0].Record.Found)
	require.True(t, audit.Orders[1].InLog)
	again := n.attempt(mixed...)
	require.Equal(t, []error{nil, nil}, []error{again[0].err, again[1].err})
	require.Equal(t, []Status{StatusPending, StatusConfirmed}, []Status{again[0].Order.Status, again[1].Order.Status})
	require.Equal(t, Stock{Current: 97, Held: 2, Sold: 1, Initial: 100, Change: 1}, n.stock(t, "a"))
}

// Attempts of a batch come in any order, each with some of its orders, and others that were refused before: what was sold is
// recognised, and what is sold besides is known by its own id.
func TestAttemptsOfABatchAreRecognised(t *testing.T) {
	n := newBatched(t, "attempts")
	ids := mates(NewOrderID(0, time.Now()), 5)
	n.sold(2, ids[1:3]...)
	first := map[string]string{tokenIn(ids[0]): "2"}
	n.sold(2, ids[1:3]...)
	n.sold(2, ids[2])
	require.Equal(t, first, n.fields())
	n.sold(3, ids[0])
	late := n.attempt(ids...) // the first attempt, executed last
	for i, sequence := range []uint64{3, 2, 2, 4, 4} {
		require.NoError(t, late[i].err)
		require.Equal(t, sequence, late[i].Order.Sequence, "order %d", i)
	}
	require.Equal(t, map[string]string{tokenIn(ids[0]): "2", string(ids[0][:]): "3", string(ids[3][:]): "4", string(ids[4][:]): "4"}, n.fields())
	require.Equal(t, int64(5), n.stock(t, "a").Sold, "each once")
	n.trim(2)
	require.Len(t, n.fields(), 3, "the token went with its entry")
	n.trim(2)
	require.Empty(t, n.fields())
}

// An id that comes twice in one call is one order, whoever asks for it the second time.
func TestAnIDIsDecidedOnceACall(t *testing.T) {
	n := newBatched(t, "twice")
	far := text(time.Now().Add(time.Hour).UnixMilli())
	fields, err := invocation{&reserveScript, n.reserveKeys(n.keys(0)), []string{
		n.replid, "0", far, "0", "10", "1", "1", strings.Repeat("t", tokenSize) + "111111" + "222222" + "111111" + "333333" + "333333" + "222222",
		runsText(testRun{1, 1, 3}, testRun{1, 2, 3}), "a",
		"4", "60000", "", "", "", // a hold
		"a|u", "a|v", "a|w", "a|x", "a|y", "a|z",
	}}.run(n.node)
	require.NoError(t, err)
	reply := flatten(t, fields)
	require.Equal(t, "AARARR", reply[5])
	ms := reply[1]
	require.Equal(t, []string{
		"c,1,1," + ms + "," + ms + ",0,2,1,a|u", "p,1,2," + ms + "," + ms + "," + text(number(ms)+60_000) + ",2,3,a|x", "c,1,1," + ms + "," + ms + ",0,2,2,a|v",
	}, reply[7:], "their records")
	require.Equal(t, Stock{Current: 96, Held: 2, Sold: 2, Initial: 100, Change: 1}, n.stock(t, "a"))
}

// So it is with two batches that have the same token by chance.
func TestBatchesOfOneTokenDoNotMeet(t *testing.T) {
	n := newBatched(t, "collision")
	ids := mates(NewOrderID(0, time.Now()), 4)
	n.sold(2, ids[:2]...)
	n.sold(3, ids[2:]...)
	n.sold(3, ids[2:]...)
	n.sold(2, ids[:2]...)
	require.Equal(t, int64(4), n.stock(t, "a").Sold)
	n.trim(2)
	require.Equal(t, map[string]string{string(ids[2][:]): "3", string(ids[3][:]): "3"}, n.fields())
	n.trim(1)
	require.Empty(t, n.fields())
}

// Where an entry has not as many ids as orders nobody knows which are whose: no order of its token was sold or not.
func TestAnEntryWhoseIDsDoNotAddUpIsNoRefusal(t *testing.T) {
	n := newBatched(t, "idsdonot")
	k := n.keys(0)
	ids := mates(NewOrderID(0, time.Now()), 3)
	said := string(ids[0][:]) + string(ids[1][tokenSize:])
	for i, entry := range [][]string{
		{said, "1", "a|u"},
		{said, "1", "a|u a|v a|w"},
		{said[:tokenSize+3], "1", "a|u"},
		{said, "1", "a|u", "record", "c,1,1,1,1,0,2,2,a|v", "record", "c,1,1,1,1,0,2,2,a|w"},
	} {
		sequence := strconv.Itoa(i + 2)
		n.do(t, append([]string{"XADD", k.Log, sequence + "-0", "accepted", "1000", "0"}, entry...)...)
		n.do(t, "HSET", k.Meta, "sequence", sequence)
		n.do(t, "HSET", k.Meta, tokenIn(ids[0]), sequence)
		for _, r := range n.attempt(ids...) {
			require.Equal(t, ErrOutcomeUnknown, r.err, "entry %q", entry)
		}
		_, err := n.settleAlone(&Transition{ID: ids[0], Action: ActionCancel})
		require.Equal(t, ErrCorruptOrder, err, "entry %q", entry)
		_, found, _ := n.Find(t.Context(), ids[0])
		require.False(t, found, "entry %q", entry)
		audit, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: ids})
		require.NoError(t, err)
		for k := range ids {
			require.False(t, audit.Orders[k].Record.Found, "order %d of entry %q", k, entry)
		}
	}
	require.Equal(t, int64(0), n.stock(t, "a").Sold, "nothing was sold")
}

// What Redis keeps of such an entry's orders goes with it, by the ids that it has and the records; a hold stays.
func TestADamagedEntryLeavesNothingBehind(t *testing.T) {
	n := newBatched(t, "damagegoes")
	k := n.keys(0)
	record := func(letter, number string) string { return letter + ",1,1,1,1,0,2," + number + ",a|u" }
	for i, c := range []struct {
		before string
		more   []string // pairs
	}{
		{"0", []string{"1", "a|u"}},
		{"none", []string{"1", "a|u a|v a|w a|x"}},
		{"0", []string{"record", record("c", "1"), "record", record("p", "2")}},
	} {
		ids := mates(NewOrderID(0, time.Now()), 4)
		token, sequence := tokenIn(ids[0]), strconv.Itoa(i+2)
		said := token
		for _, id := range ids {
			said += string(id[tokenSize:])
		}
		n.do(t, append([]string{"XADD", k.Log, sequence + "-0", "accepted", "1000", c.before, said + "???"}, c.more...)...)
		n.do(t, "HSET", k.Meta, "sequence", sequence)
		n.do(t, "HSET", k.Meta, token, sequence)
		n.do(t, "HSET", k.Orders, string(ids[0][:]), record("c", "1"))
		n.do(t, "HSET", k.Orders, string(ids[1][:]), record("p", "2"))
		if i < 2 { // the entry of another attempt has the token
			n.do(t, "HSET", k.Meta, token, "1000")
			n.do(t, "HSET", k.Orders, string(ids[0][:]), sequence)
			n.do(t, "HSET", k.Orders, string(ids[1][:]), record("c", "9"))
		}
		n.Advance(0, Watermark{Epoch: 1, Sequence: uint64(i + 2)})
		gone, err := n.Trim(t.Context(), 0, 0, 100)
		require.NoError(t, err)
		require.Positive(t, gone)
		left := n.fields()
		require.NotContains(t, left, string(ids[0][:]), "entry %s", sequence)
		require.Contains(t, left, string(ids[1][:]), "entry %s", sequence)
		if i < 2 {
			require.Equal(t, "1000", left[token])
		} else {
			require.NotContains(t, left, token)
		}
	}
}

// An entry that is shorter than any is trimmed like another, and none of its text is taken for a token.
func TestAnEntryWithoutIDsIsTrimmed(t *testing.T) {
	n := newBatched(t, "noids")
	k := n.keys(0)
	n.do(t, "XADD", k.Log, "2-0", "accepted", "1000")
	n.do(t, "XADD", k.Log, "3-0", "accepted", "1000", "0", "sequence")
	n.do(t, "XADD", k.Log, "4-0", "reserved", "1000", "0", "sequence")
	n.do(t, "XADD", k.Log, "5-0", "reserved", "1000")
	n.do(t, "HSET", k.Meta, "sequence", "3")
	id := NewOrderID(0, time.Now())
	for _, sequence := range []string{"2", "5"} {
		n.do(t, "HSET", k.Meta, tokenIn(id), sequence)
		_, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: []OrderID{id}})
		require.NoError(t, err, "entry %s", sequence)
		require.Equal(t, ErrOutcomeUnknown, n.attempt(id)[0].err, "entry %s", sequence)
	}
	n.Advance(0, Watermark{Epoch: 1, Sequence: 3})
	gone, err := n.Trim(t.Context(), 0, 0, 100)
	require.NoError(t, err)
	require.Equal(t, int64(3), gone, "with that of the product")
	require.Equal(t, "3", dumpKeys(t, n.client, k.Meta)[k.Meta].(map[string]string)["sequence"]) //nolint:forcetypeassert // a hash
}

// A token whose entry can't be read to its end says of no order that it was not sold; one that is read before the damage is
// as it is.
func TestADamagedEntryIsNoRefusal(t *testing.T) {
	n := newBatched(t, "damaged")
	k := n.keys(0)
	ids := mates(NewOrderID(0, time.Now()), 3)
	n.do(t, "HSET", k.Buyers, "a|u-"+ids[0].String(), "1,0,0,")
	n.do(t, "HSET", k.Stock, "a", "99,0,1,100,1")
	said := func(id OrderID) string {
		sale := "1,a|u-" + id.String()
		return string(id[:]) + string([]byte{0, byte(len(sale))}) + sale
	}
	for sequence, value := range []string{said(ids[0]) + said(ids[1])[:30], said(ids[0]) + "short", "nothing of the kind"} {
		sequence += 2
		n.do(t, "XADD", k.Log, strconv.Itoa(sequence)+"-0", "reserved", "1000", "0", value)
		n.do(t, "HSET", k.Meta, "sequence", strconv.Itoa(sequence))
		n.do(t, "HSET", k.Meta, tokenIn(ids[0]), strconv.Itoa(sequence))
		outcomes := n.attempt(ids...)
		for i, r := range outcomes {
			if i == 0 && sequence < 4 {
				require.NoError(t, r.err)
				require.Equal(t, uint64(sequence), r.Order.Sequence)
				continue
			}
			require.Equal(t, ErrOutcomeUnknown, r.err, "order %d of entry %d", i, sequence)
		}
		_, err := n.settleAlone(&Transition{ID: ids[2], Action: ActionCancel})
		require.Equal(t, ErrCorruptOrder, err, "entry %d", sequence)
	}
	require.Equal(t, int64(1), n.stock(t, "a").Sold, "nothing was sold again")
	n.do(t, "HSET", k.Meta, tokenIn(ids[0]), "2")
	done, err := n.settleAlone(&Transition{ID: ids[0], Action: ActionCancel})
	require.NoError(t, err)
	require.Equal(t, int64(2), done.Order.Version)
}

// A token that the version before has left behind says nothing: what its entry had is in the ledger.
func TestATokenWithoutItsEntryLeavesAnOrderToTheLedger(t *testing.T) {
	n := newBatched(t, "leftover")
	id := NewOrderID(0, time.Now())
	n.sold(2, id)
	known := n.find(t, id)
	n.do(t, "XTRIM", n.keys(0).Log, "MINID", "3-0")
	_, found, err := n.Find(t.Context(), id)
	require.NoError(t, err)
	require.False(t, found)
	_, err = n.settleAlone(&Transition{ID: id, Action: ActionCancel})
	require.Equal(t, ErrNoOrder, err)
	audit, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: []OrderID{id}})
	require.NoError(t, err)
	require.False(t, audit.Orders[0].Record.Found)
	require.Equal(t, ErrOutcomeUnknown, n.attempt(id)[0].err, "to whoever asks for it anew it is no news")
	done, err := n.settleAlone(&Transition{ID: id, Action: ActionCancel, Known: &known, KnownEpoch: 1})
	require.NoError(t, err)
	require.Equal(t, StatusCancelled, done.Order.Status)
}

// The version before wrote entries of another kind, with a token or without.
func TestEntriesOfTheVersionBeforeAreRead(t *testing.T) {
	n := newBatched(t, "beforetoken")
	n.sold(2, mates(NewOrderID(0, time.Now()), 1)...)
	k := n.keys(0)
	ids := mates(NewOrderID(0, time.Now()), 3)
	dueMs := time.Now().Add(time.Hour).UnixMilli()
	hold := Order{ID: ids[2], Status: StatusPending, Version: 1, Quantity: 1, CreatedAtMs: 1000, UpdatedAtMs: 1000, ExpiresAtMs: dueMs, Sequence: 3, Number: 4, Product: "a", User: "u"}
	value := string(ids[0][:]) + "\x00\x05" + "1,a|u" + string(ids[1][:]) + "\x00\x05" + "1,a|u" + string(ids[2][:]) + string([]byte{0, byte(len(hold.Record()))}) + hold.Record()
	n.do(t, "XADD", k.Log, "3-0", "reserved", "1000", "1", value)
	n.do(t, "HSET", k.Meta, "sequence", "3", "orders", "4")
	n.do(t, "HSET", k.Orders, tokenIn(ids[0]), "3", string(ids[2][:]), hold.Record())
	n.do(t, "ZADD", k.Expiry, text(dueMs), string(ids[2][:]))
	n.do(t, "HSET", k.Buyers, "a|u", "2,1,0,")
	n.do(t, "HSET", k.Stock, "a", "96,1,3,100,1")
	require.Equal(t, []any{uint64(3), int64(3), 1}, []any{n.find(t, ids[1]).Sequence, n.find(t, ids[1]).Number, n.find(t, ids[1]).Index})
	audit, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: ids})
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, false}, []bool{audit.Orders[0].InLog, audit.Orders[1].InLog, audit.Orders[2].InLog})
	done, err := n.settleAlone(&Transition{ID: ids[0], Action: ActionCancel})
	require.NoError(t, err)
	require.Equal(t, int64(2), done.Order.Version)
	freed, err := n.settleAlone(&Transition{ID: ids[2], Action: ActionCancel})
	require.NoError(t, err)
	n.trim(3)
	require.Equal(t, map[string]string{string(ids[0][:]): done.Order.Record(), string(ids[2][:]): freed.Order.Record()}, n.fields(), "the token is gone")
	n.trim(2)
	require.Empty(t, n.fields())
}

// The one before that kept a field for each order: they are read, settled and trimmed as they were.
func TestFieldsOfTheVersionBeforeAreRead(t *testing.T) {
	n := newBatched(t, "before")
	n.sold(2, mates(NewOrderID(0, time.Now()), 1)...)
	k := n.keys(0)
	ids := []OrderID{NewOrderID(0, time.Now()), NewOrderID(0, time.Now()), NewOrderID(0, time.Now())}
	value := ""
	for _, id := range ids {
		value += string(id[:]) + "\x00\x05" + "1,a|u"
		n.do(t, "HSET", k.Orders, string(id[:]), "3")
	}
	n.do(t, "XADD", k.Log, "3-0", "reserved", "1000", "1", value)
	n.do(t, "HSET", k.Meta, "sequence", "3", "orders", "4")
	n.do(t, "HSET", k.Buyers, "a|u", "3,0,0,")
	n.do(t, "HSET", k.Stock, "a", "96,0,4,100,1")
	for i, id := range ids {
		require.Equal(t, []any{uint64(3), int64(2 + i)}, []any{n.find(t, id).Sequence, n.find(t, id).Number})
	}
	audit, err := n.Audit(t.Context(), 0, n.partitions[0].view.Load().Epoch, 0, &AuditQuery{Orders: ids[:1]})
	require.NoError(t, err)
	require.True(t, audit.Orders[0].InLog)
	whole := n.find(t, ids[2])
	n.do(t, "HSET", k.Orders, string(ids[2][:]), whole.Record()) // as somebody might who repairs
	done, err := n.settleAlone(&Transition{ID: ids[0], Action: ActionCancel})
	require.NoError(t, err)
	n.trim(3)
	require.Equal(t, map[string]string{string(ids[0][:]): done.Order.Record()}, n.fields())
}
