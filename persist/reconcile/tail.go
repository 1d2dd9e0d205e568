package reconcile

import (
	"context"
	"errors"
	"fmt"

	"flashsale/engine"
)

// errRestless says that a look is to be taken again: the partition is being brought in line, or the log was trimmed between
// two questions.
var errRestless = errors.New("no moment to compare")

const (
	// tailRead is how many log entries are read at once.
	tailRead = 256
	// maxTail bounds the orders that a partition's tail may name: about 30 MB. Behind that the ledger is waited for.
	maxTail = 100_000
)

// tail is the part of a partition's log that Redis has and the ledger had not at its last snapshot. It is read once, entry
// by entry, however many looks are taken.
type tail struct {
	partition int
	epoch     engine.Epoch
	after     uint64 // it begins behind this sequence
	entries   []engine.Entry
	orders    int
	link      *engine.Link
}

func (t *tail) end() uint64 { return t.after + uint64(len(t.entries)) }

// reach has the tail begin behind from, the ledger's watermark, and go on at least to the sequence to.
func (t *tail) reach(ctx context.Context, e *engine.Engine, epoch engine.Epoch, from, to uint64) error {
	t.begin(epoch, from)
	if t.end() >= to {
		return nil
	}
	if err := t.read(ctx, e, to); err != nil {
		t.close()                    // the server may be no more, or no longer the partition's
		t.entries, t.orders = nil, 0 // nobody knows of which history they are
		return err
	}
	return nil
}

// begin drops what the ledger has by now.
func (t *tail) begin(epoch engine.Epoch, from uint64) {
	if t.epoch != epoch || from < t.after || from > t.end() {
		t.epoch, t.after, t.entries, t.orders = epoch, from, nil, 0
		return
	}
	gone := from - t.after
	for i := range t.entries[:gone] {
		t.orders -= len(t.entries[i].Orders)
	}
	t.after, t.entries = from, append([]engine.Entry(nil), t.entries[gone:]...)
}

func (t *tail) read(ctx context.Context, e *engine.Engine, to uint64) error {
	if err := t.connect(ctx, e); err != nil {
		return err
	}
	keys, err := e.EpochKeys(t.partition, t.epoch)
	if err != nil {
		return err
	}
	for t.end() < to {
		entries, err := t.link.ReadLog(ctx, keys, t.end(), tailRead, 0)
		if err != nil {
			return err
		}
		if err := t.add(entries); err != nil {
			return err
		}
	}
	return t.checkHistory(ctx, t.epoch)
}

// checkHistory fails unless the link leads to the server history that the ledger names. It is asked after entries came, so
// they are of this history.
func (t *tail) checkHistory(ctx context.Context, epoch engine.Epoch) error {
	replid, err := t.link.Replid(ctx)
	if err == nil && replid != epoch.Replid {
		err = fmt.Errorf("%w: the server of partition %d has another history than the ledger names", errRestless, t.partition)
	}
	return err
}

func (t *tail) add(entries []engine.Entry) error {
	if len(entries) == 0 {
		return fmt.Errorf("%w: the log of partition %d ends before its last entry", errRestless, t.partition)
	}
	for i := range entries {
		if entries[i].Sequence != t.end()+1 {
			return fmt.Errorf("%w: the log of partition %d was trimmed meanwhile", errRestless, t.partition)
		}
		t.entries = append(t.entries, entries[i])
		t.orders += len(entries[i].Orders)
	}
	if t.orders > maxTail {
		return fmt.Errorf("%w: the ledger is more than %d orders behind in partition %d", errRestless, maxTail, t.partition)
	}
	return nil
}

// until returns the entries up to a sequence.
func (t *tail) until(sequence uint64) []engine.Entry {
	if sequence <= t.after {
		return nil
	}
	return t.entries[:min(sequence-t.after, uint64(len(t.entries)))]
}

func (t *tail) close() {
	if t.link != nil {
		t.link.Close()
		t.link = nil
	}
}

// peek reads entries of the log from a sequence on, whoever's history they are of: what it leads to is looked at closely.
func (t *tail) peek(ctx context.Context, e *engine.Engine, keys engine.Keys, sequence uint64) (entries []engine.Entry, err error) {
	if err := t.connect(ctx, e); err != nil {
		return nil, err
	}
	if entries, err = t.link.ReadLog(ctx, keys, sequence-1, tailRead, 0); err != nil {
		t.close()
	}
	return entries, err
}

// connect has the tail lead to the partition's server.
func (t *tail) connect(ctx context.Context, e *engine.Engine) (err error) {
	if t.link == nil {
		t.link, err = e.Connect(ctx, t.partition)
	}
	return err
}

// find looks an order up in the entry of a sequence; kept tells whether the log still has that entry, and logged is the order
// as it says, nil where it does not name it.
func (t *tail) find(ctx context.Context, e *engine.Engine, epoch engine.Epoch, sequence uint64, id engine.OrderID) (kept bool, logged *engine.Order, err error) {
	if sequence == 0 {
		return false, nil, nil
	}
	entries, err := t.entry(ctx, e, epoch, sequence)
	if err != nil || len(entries) == 0 || entries[0].Sequence != sequence {
		return false, nil, err
	}
	for i := range entries[0].Orders {
		if o := &entries[0].Orders[i]; o.Err == nil && o.Order.ID == id {
			logged = &o.Order
		}
	}
	return true, logged, nil
}

// entry reads the first entry from a sequence on, if there is one.
func (t *tail) entry(ctx context.Context, e *engine.Engine, epoch engine.Epoch, sequence uint64) (entries []engine.Entry, err error) {
	keys, err := e.EpochKeys(t.partition, epoch)
	if err != nil {
		return nil, err
	}
	if err := t.connect(ctx, e); err != nil {
		return nil, err
	}
	if entries, err = t.link.ReadLog(ctx, keys, sequence-1, 1, 0); err == nil {
		err = t.checkHistory(ctx, epoch)
	}
	if err != nil {
		t.close()
	}
	return entries, err
}
