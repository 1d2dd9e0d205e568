package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ownership says who runs the server of a service folder: this process, which
// then holds the lock, or another one, whose server answers.
type ownership struct {
	lock *os.File // nil when attached
	by   string
}

func (o ownership) attached() bool { return o.lock == nil }

func (o ownership) release() error { return o.lock.Close() }

// own takes the service folder, or waits until the server of its owner answers.
// An owner that gives up meanwhile leaves the folder to us.
func own(ctx context.Context, dir string, answers func(context.Context) error) (ownership, error) {
	path := filepath.Join(dir, "owner.lock")
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var lock *os.File
	var silent error
	err := poll(ctx, func() (known bool, err error) {
		if lock, err = tryLock(path); lock != nil || err != nil {
			return true, err
		}
		silent = answers(ctx)
		return silent == nil, nil
	})
	switch {
	case err != nil:
		return ownership{}, fmt.Errorf("%s holds %s: %w", recordedOwner(path), path, errors.Join(err, silent))
	case lock == nil:
		return ownership{by: recordedOwner(path)}, nil
	}
	return ownership{lock: lock}, recordOwner(lock)
}
