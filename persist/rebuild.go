package persist

import (
	"context"
	"fmt"

	"flashsale/engine"
)

// rebuild writes what the ledger has into a namespace of its own, and publishes that as the next epoch unless the
// ledger has moved meanwhile. A namespace that is not in force is on the ledger's list of those to be dropped, from
// before its first key until it is gone.
func (l *leader) rebuild(ctx context.Context, at position, replid string) error {
	number := at.epoch.Number + 1
	if at.rebuildReason == operatorRebuild {
		later, err := l.engine.LaterEpoch(ctx, l.partition, at.epoch)
		if err != nil {
			return err
		}
		number = max(number, later) + operatorLeap
	}
	next := engine.Epoch{Number: number, Namespace: engine.NewNamespace(number), Replid: replid}
	keys, err := l.engine.EpochKeys(l.partition, next)
	if err != nil {
		return err
	}
	const list = `UPDATE partitions SET stale = array_append(stale, $2) WHERE partition = $1`
	if _, err := l.exec(ctx, list, l.partition, next.Namespace); err != nil {
		return fmt.Errorf("list the new namespace: %w", err)
	}
	if err := l.fill(ctx, at, keys, next); err != nil {
		return err
	}
	return l.publish(ctx, at, next)
}

func (l *leader) fill(ctx context.Context, at position, keys engine.Keys, next engine.Epoch) error {
	nowMs, err := l.link.TimeMs(ctx)
	if err != nil {
		return err
	}
	loader := &loader{
		engine: l.engine, keys: keys, replid: next.Replid, pairs: make(map[string][]string),
		generation: l.generationOf(nowMs),
	}
	if err := l.snapshot(ctx, loader); err != nil {
		return err
	}
	if err := l.engine.Seal(ctx, keys, loader.chunks, next.Replid, next.Number, at.orders, loader.generation); err != nil {
		return err
	}
	return l.link.EnsureRewrite(ctx)
}

const publishEpoch = `
UPDATE partitions
   SET epoch = $4, namespace = $5, replid = $6, sequence = 0, rebuild_reason = NULL, updated_at = now(),
       stale = array_remove(array_append(array_remove(stale, $5), namespace), '')
 WHERE partition = $1 AND epoch = $2 AND sequence = $3 AND namespace = $7 AND attempt = $8 AND operator_hold IS NULL`

func (l *leader) publish(ctx context.Context, at position, next engine.Epoch) error {
	tag, err := l.exec(ctx, publishEpoch, l.partition, at.epoch.Number, at.sequence, next.Number, next.Namespace,
		next.Replid, at.epoch.Namespace, at.attempt)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return errMoved
	}
	return nil
}

// note has Redis remember the epoch in force, once.
func (l *leader) note(ctx context.Context, at position) error {
	if l.noted == at.epoch.Namespace {
		return nil
	}
	if err := l.engine.NoteEpoch(ctx, l.partition, at.epoch.Namespace); err != nil {
		return err
	}
	l.noted = at.epoch.Namespace
	return nil
}

// dropStale removes the namespaces that are not in force from Redis and from the list.
func (l *leader) dropStale(ctx context.Context, at position) error {
	for _, namespace := range at.stale {
		keys, err := l.engine.EpochKeys(l.partition, engine.Epoch{Namespace: namespace})
		if err != nil {
			return err
		}
		if err := l.engine.Drop(ctx, keys); err != nil {
			return err
		}
		const unlist = `UPDATE partitions SET stale = array_remove(stale, $2) WHERE partition = $1 AND namespace <> $2`
		if _, err := l.exec(ctx, unlist, l.partition, namespace); err != nil {
			return fmt.Errorf("unlist a namespace: %w", err)
		}
	}
	return nil
}
