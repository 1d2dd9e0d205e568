package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// notedField of a partition's fence has the namespace that the ledger named last.
const notedField = "epoch"

// NoteEpoch writes down in Redis which namespace the ledger names for a partition. It outlives the namespaces before it: a
// ledger that is restored from a backup has forgotten, with everybody stopped meanwhile, that it was once further.
func (e *Engine) NoteEpoch(ctx context.Context, partition int, namespace string) error {
	key := fenceKey(e.config.Prefix, partition)
	note := e.client.B().Hset().Key(key).FieldValue().FieldValue(notedField, namespace).Build()
	if err := e.client.Do(ctx, note).Error(); err != nil {
		return fmt.Errorf("note the epoch: %w", err)
	}
	return nil
}

// LaterEpoch returns the number of the epoch that was noted last, if that is later than the ledger's and Redis still has what
// was sold in it; else 0.
func (e *Engine) LaterEpoch(ctx context.Context, partition int, ledger Epoch) (uint64, error) {
	note := e.client.B().Hget().Key(fenceKey(e.config.Prefix, partition)).Field(notedField).Build()
	namespace, err := e.client.Do(ctx, note).ToString()
	if errors.Is(err, rueidis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("the epoch noted last: %w", err)
	}
	keys, err := e.EpochKeys(partition, Epoch{Namespace: namespace})
	number := numberOf(namespace)
	if err != nil || number < ledger.Number || namespace == ledger.Namespace {
		return 0, nil //nolint:nilerr // what is no namespace was written by hand and tells nothing
	}
	there, err := e.client.Do(ctx, e.client.B().Exists().Key(keys.Meta).Build()).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("the epoch noted last: %w", err)
	}
	if there == 0 {
		return 0, nil
	}
	return number, nil
}

// numberOf returns the number of the epoch that a namespace was made for; 0 = it names none.
func numberOf(namespace string) uint64 {
	text, _, _ := strings.Cut(namespace, "-")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return number
}
