package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"flashsale/internal/devstack/devtest"
)

// filed is a server with its append-only file, as four partitions see it.
type filed struct {
	*devtest.RedisServer
	client rueidis.Client
	engine *Engine
}

func newFiled(t *testing.T) *filed {
	t.Helper()
	f := &filed{RedisServer: devtest.Redis(t)}
	f.connect(t)
	return f
}

// connect is for a server that was started anew, too: an old connection would find that out by an error.
func (f *filed) connect(t *testing.T) {
	t.Helper()
	f.client = connectTo(t, f.URL())
	var err error
	f.engine, err = New(f.client, Config{Partitions: 4})
	require.NoError(t, err)
}

func (f *filed) restart(t *testing.T) {
	t.Helper()
	require.NoError(t, f.Restart(t.Context()))
	f.connect(t)
}

func (f *filed) ensure(ctx context.Context, partition int) error {
	link, err := f.engine.Connect(ctx, partition)
	if err != nil {
		return err
	}
	defer link.Close()
	return link.EnsureRewrite(ctx)
}

// ensureAll does so for all partitions at once.
func (f *filed) ensureAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for partition := range f.engine.Partitions() {
		group.Go(func() error { return f.ensure(ctx, partition) })
	}
	return group.Wait()
}

func (f *filed) do(t *testing.T, command ...string) rueidis.RedisResult {
	t.Helper()
	return f.client.Do(t.Context(), f.client.B().Arbitrary(command...).Build())
}

func (f *filed) info(t *testing.T) string {
	t.Helper()
	info, err := f.do(t, "INFO", "persistence").ToString()
	require.NoError(t, err)
	require.Equal(t, "1", infoField(info, "aof_enabled"))
	return info
}

func (f *filed) requireRewrites(t *testing.T, number string) {
	t.Helper()
	info := f.info(t)
	require.False(t, rewriting(info))
	require.Equal(t, number, infoField(info, "aof_rewrites"))
}

// Each rewrite copies all that Redis holds, and no partition sells while it waits for one.
func TestOneRewriteDoesForAllPartitionsUntilTheServerIsStartedAnew(t *testing.T) {
	f := newFiled(t)
	for range 2 {
		f.requireRewrites(t, "0")
		for range 2 {
			require.NoError(t, f.ensureAll(t.Context()))
			f.requireRewrites(t, "1")
		}
		require.NoError(t, f.do(t, "CONFIG", "RESETSTAT").Error())
		require.NoError(t, f.ensureAll(t.Context()))
		f.requireRewrites(t, "0")
		f.restart(t)
	}
}

// A folder is where a rewrite wants to put a file: in the way of its end, and of its beginning.
func TestARewriteThatFailedDoesForNobody(t *testing.T) {
	for _, wanted := range []string{".2.base.rdb", ".2.incr.aof"} {
		t.Run(wanted, func(t *testing.T) {
			f := newFiled(t)
			file, err := f.AppendOnlyFile()
			require.NoError(t, err)
			inTheWay := strings.Replace(file, ".1.incr.aof", wanted, 1)
			require.NotEqual(t, file, inTheWay)
			require.NoError(t, os.MkdirAll(filepath.Join(inTheWay, "full"), 0o755))
			for range 2 {
				require.ErrorIs(t, f.ensure(t.Context(), 0), errNotRewritten)
				require.Equal(t, unwrittenReason, f.engine.State(0).Reason)
			}
			require.NoError(t, os.RemoveAll(inTheWay))
			require.NoError(t, f.ensure(t.Context(), 0))
			require.Equal(t, "ok", infoField(f.info(t), "aof_last_bgrewrite_status"))
			require.Equal(t, guardReasons[GuardMissing], f.engine.State(0).Reason)
		})
	}
}

// What kept one process from opening a partition is of no interest once another has opened it.
func TestARewriteThatFailedIsForgottenWhereThePartitionSells(t *testing.T) {
	p := newPartition(0)
	p.unwritten.Store(true)
	p.hear(p.view.Load(), GuardClosed)
	require.True(t, p.unwritten.Load())
	p.hear(p.view.Load(), GuardOK)
	require.False(t, p.unwritten.Load())
}

// A server that starts its file at run time, as a replica does at the end of each full sync, writes none until a rewrite has
// ended, whatever it has rewritten before: what it sold until then a crash would take back.
func TestAFileThatIsStartedAnewIsWaitedFor(t *testing.T) {
	f := newFiled(t)
	require.NoError(t, f.ensure(t.Context(), 0))
	require.NoError(t, f.do(t, "SET", "key", "value").Error())
	require.NoError(t, f.do(t, "CONFIG", "SET", "rdb-key-save-delay", "60000000").Error()) // µs a key: a rewrite waits for a save
	require.NoError(t, f.do(t, "BGSAVE").Error())
	require.NoError(t, f.do(t, "CONFIG", "SET", "appendonly", "no").Error())
	require.NoError(t, f.ensure(t.Context(), 0), "there is no file")
	require.NoError(t, f.do(t, "CONFIG", "SET", "appendonly", "yes").Error())
	require.Equal(t, "1", infoField(f.info(t), "aof_rewrite_scheduled"))
	short, cancel := context.WithTimeout(t.Context(), 20*rewritePoll)
	defer cancel()
	require.ErrorIs(t, f.ensure(short, 0), context.DeadlineExceeded)

	require.NoError(t, f.do(t, "CONFIG", "SET", "rdb-key-save-delay", "0").Error())
	require.NoError(t, f.do(t, "FLUSHALL").Error()) // ends the save
	require.NoError(t, f.ensure(t.Context(), 0))
	f.requireRewrites(t, "2")
}

// Promise 6: a script counts twice, and the end of the file is torn before the second is whole.
func TestATornFileIsMendedByARewrite(t *testing.T) {
	f := newFiled(t)
	count := func() {
		require.NoError(t, f.do(t, "EVAL", "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])", "2", "left", "right").Error())
	}
	count()
	count()
	require.NoError(t, f.Kill())
	file, err := f.AppendOnlyFile()
	require.NoError(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, info.Size()-int64(len("right\r\n*1\r\n$4\r\nEXEC\r\n"))))

	f.restart(t)
	require.NoError(t, f.ensure(t.Context(), 0))
	count()
	count()
	f.restart(t)
	counted, err := f.do(t, "MGET", "left", "right").AsStrSlice()
	require.NoError(t, err)
	require.Equal(t, []string{"3", "3"}, counted)
}
