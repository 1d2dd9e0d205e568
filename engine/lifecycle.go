package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// EpochKeys names the keys of a partition in an epoch.
func (e *Engine) EpochKeys(partition int, epoch Epoch) (Keys, error) {
	return NewKeys(e.config.Prefix, partition, epoch.Namespace)
}

// Shut stops every writing script in a namespace, so that its log can be drained to its end. The attempt is the
// ledger's number of this try to bring the partition in line: only the latest one can open again. It returns the
// sequence of the last entry; found is false where the namespace is not there.
func (e *Engine) Shut(ctx context.Context, keys Keys, attempt uint64) (sequence uint64, found bool, err error) {
	fields, err := closeScript.run(ctx, e.client, []string{keys.Meta}, []string{formatUint(attempt)})
	if err != nil {
		return 0, false, err
	}
	r := replyReader{fields: fields}
	code, n := r.text(), r.number()
	if r.err != nil {
		return 0, false, fmt.Errorf("close.lua: %w", r.err)
	}
	if code == "STALE" {
		return 0, false, fmt.Errorf("close.lua: attempt %d: a later one is under way: %w", attempt, errScriptRefused)
	}
	return uint64(n), code == "CLOSED", nil
}

// Open lets sales go on in a namespace that the same attempt has shut, whose sequence is the ledger's, on the history
// that the ledger names.
func (e *Engine) Open(ctx context.Context, keys Keys, sequence uint64, replid string, attempt uint64) error {
	return e.runForOK(ctx, &openScript, []string{keys.Meta}, []string{formatUint(sequence), replid, formatUint(attempt)})
}

// Load writes one chunk, numbered from 1, into a key of a namespace that is being rebuilt. Pairs are field, value; for
// [Keys.Expiry], a sorted set, they are score, member.
func (e *Engine) Load(ctx context.Context, keys Keys, target string, chunk int, replid string, pairs []string) error {
	kind := "hash"
	if target == keys.Expiry {
		kind = "zset"
	}
	args := append([]string{strconv.Itoa(chunk), replid, kind}, pairs...)
	return e.runForOK(ctx, &loadScript, []string{keys.Meta, target}, args)
}

// Seal finishes a rebuild of chunks chunks: the namespace may be published as an epoch. idem is the generation of
// idempotency keys that was loaded last: floor(ms / KeyTTL).
func (e *Engine) Seal(ctx context.Context, keys Keys, chunks int, replid string, epoch uint64, orders, idem int64) error {
	return e.runForOK(ctx, &sealScript, []string{keys.Meta},
		[]string{strconv.Itoa(chunks), replid, formatUint(epoch), strconv.FormatInt(orders, 10), strconv.FormatInt(idem, 10), strconv.FormatInt(e.config.KeyTTL.Milliseconds(), 10)})
}

func (e *Engine) runForOK(ctx context.Context, s *script, keys, args []string) error {
	fields, err := s.run(ctx, e.client, keys, args)
	if err != nil {
		return err
	}
	r := replyReader{fields: fields}
	if code := r.text(); r.err != nil || code != string(GuardOK) {
		return fmt.Errorf("%s: answered %q: %w", s.name, code, orRefused(r.err))
	}
	return nil
}

var errScriptRefused = errors.New("refused before any write")

func orRefused(err error) error {
	if err != nil {
		return err
	}
	return errScriptRefused
}

// Drop removes a namespace that no ledger names any more.
func (e *Engine) Drop(ctx context.Context, keys Keys) error {
	if err := e.client.Do(ctx, e.client.B().Unlink().Key(keys.All()...).Build()).Error(); err != nil {
		return fmt.Errorf("drop namespace: %w", err)
	}
	return nil
}

// Change is a numbered change of a product on its way from the ledger to Redis.
type Change struct {
	Product string
	Number  int64
	Lower   bool  // bring the units left down to Amount, rather than adding Amount
	Amount  int64 // units
	Terms   Terms
}

// Changed is what Redis made of a change.
type Changed struct {
	Epoch    uint64
	Sequence uint64 // that the ledger must reach for the change to be in it
	Repeated bool   // it was taken before
	Refused  bool   // too little was left
	Applied  int64
}

// Apply hands a change to Redis, which takes each number once and in order. An error may mean that it was taken all the
// same; handing it over again tells.
func (e *Engine) Apply(ctx context.Context, c Change) (Changed, error) {
	p := e.partitions[e.PartitionOf(c.Product)]
	v := p.view.Load()
	if v.Namespace == "" || v.guard != GuardOK {
		p.raise()
		return Changed{}, ErrPartitionClosed
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return Changed{}, fmt.Errorf("change.lua: a deadline is needed")
	}
	kind := "add"
	if c.Lower {
		kind = "lower"
	}
	fields, err := changeScript.run(ctx, e.client, []string{v.keys.Meta, v.keys.Stock, v.keys.Terms, v.keys.Log}, []string{
		v.Replid, formatUint(p.watermarkIn(v.Number)), strconv.FormatInt(p.clock.at(deadline), 10),
		c.Product, strconv.FormatInt(c.Number, 10), kind, strconv.FormatInt(c.Amount, 10), c.Terms.String(),
	})
	if err != nil {
		return Changed{}, err
	}
	return e.decodeChange(p, v, c, fields)
}

func (e *Engine) decodeChange(p *partition, v *view, c Change, fields []rueidis.RedisMessage) (Changed, error) {
	r := replyReader{fields: fields}
	guard := Guard(r.text())
	r.number()
	if r.err == nil && guard == GuardLate {
		return Changed{}, ErrTooLate
	}
	if r.err == nil && guard != GuardOK {
		p.hear(v, guard)
		return Changed{}, ErrPartitionClosed
	}
	done := Changed{Epoch: v.Number, Sequence: uint64(r.number())}
	status := r.text()
	done.Applied = r.number()
	if r.err != nil {
		return Changed{}, fmt.Errorf("change.lua: %w", r.err)
	}
	switch status {
	case "APPLIED":
	case "REPEATED":
		done.Repeated = true
	case "REFUSED":
		done.Refused = true
	default:
		return Changed{}, fmt.Errorf("change.lua: %s number %d of %s: %w", status, c.Number, c.Product, errScriptRefused)
	}
	e.shelves.forget(c.Product)
	return done, nil
}
