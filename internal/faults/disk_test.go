//go:build privileged && linux

package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"flashsale/internal/pause"
)

// disk is a folder that behaves as a disk may: slow, or failing. Where it is neither, a sync takes no time: this is about
// the faults, not about the disk of the machine that the test runs on.
type disk struct {
	path string

	mu  sync.Mutex
	rng *rand.Rand
	ill trouble
}

// trouble is what ails a disk.
type trouble struct {
	least, most           time.Duration // that each write and each sync takes
	failWrites, failSyncs bool          // with EIO
}

func newDisk(t testing.TB, seed uint64) *disk {
	t.Helper()
	require.Zero(t, os.Geteuid(), "mounting a disk needs root: run make test-faults-privileged as root")
	d := &disk{path: t.TempDir(), rng: rand.New(rand.NewPCG(seed, diskStream))}
	behind := t.TempDir()
	for _, dir := range []string{d.path, behind} { // Postgres is not root
		for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			require.NoError(t, os.Chmod(dir, 0o755))
		}
	}
	root := &fs.LoopbackRoot{Path: behind}
	root.RootNode = &diskNode{LoopbackNode: &fs.LoopbackNode{RootData: root}, disk: d}
	server, err := fs.Mount(d.path, root.RootNode, &fs.Options{
		MountOptions: fuse.MountOptions{FsName: "faulty", Name: "faults", AllowOther: true, DirectMountStrict: true},
	})
	require.NoError(t, err, "mount by FUSE: it needs root and /dev/fuse")
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			_ = syscall.Unmount(d.path, syscall.MNT_DETACH)
		}
	})
	return d
}

const diskStream = 2 << 32

// fail has a disk ail until it is mended.
func (d *disk) fail(with trouble) (mend func()) {
	d.set(with)
	return func() { d.set(trouble{}) }
}

func (d *disk) set(ill trouble) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ill = ill
}

// suffer takes the time that one access takes, and tells what ails the disk.
func (d *disk) suffer(ctx context.Context) trouble {
	d.mu.Lock()
	ill := d.ill
	var takes time.Duration
	if ill.most > 0 {
		takes = between(d.rng, ill.least, ill.most)
	}
	d.mu.Unlock()
	if takes > 0 {
		pause.For(ctx, takes)
	}
	return ill
}

// diskNode is a file or folder.
type diskNode struct {
	*fs.LoopbackNode
	disk *disk
}

// WrapChild makes what is in the folder the disk's own.
func (n *diskNode) WrapChild(_ context.Context, of fs.InodeEmbedder) fs.InodeEmbedder {
	if plain, ok := of.(*fs.LoopbackNode); ok {
		return &diskNode{LoopbackNode: plain, disk: n.disk}
	}
	return of
}

// Open opens a file.
func (n *diskNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	file, fuseFlags, errno := n.LoopbackNode.Open(ctx, flags)
	return n.disk.opened(file), fuseFlags, errno
}

// Create makes a file.
func (n *diskNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, file, fuseFlags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, n.disk.opened(file), fuseFlags, errno
}

// Fsync is that of a folder.
func (n *diskNode) Fsync(ctx context.Context, file fs.FileHandle, flags uint32) syscall.Errno {
	if syncer, ok := file.(fs.FileFsyncer); ok {
		return syncer.Fsync(ctx, flags)
	}
	return fs.OK
}

func (d *disk) opened(file fs.FileHandle) fs.FileHandle {
	if plain, ok := file.(*fs.LoopbackFile); ok {
		return &diskFile{LoopbackFile: plain, disk: d}
	}
	return file
}

// diskFile is an open file.
type diskFile struct {
	*fs.LoopbackFile
	disk *disk
}

// PassthroughFd keeps the kernel from going past us.
func (f *diskFile) PassthroughFd() (int, bool) { return 0, false }

// Write writes if the disk can. One that can't has written a half, as real ones do.
func (f *diskFile) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if f.disk.suffer(ctx).failWrites {
		_, _ = f.LoopbackFile.Write(ctx, data[:len(data)/2], off)
		return 0, syscall.EIO
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

// Fsync is done at once if nothing ails the disk.
func (f *diskFile) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	if f.disk.suffer(ctx).failSyncs {
		return syscall.EIO
	}
	return fs.OK
}

// moveWAL puts the write-ahead log of a Postgres on a disk.
func (l *ledger) moveWAL(t testing.TB, to *disk) {
	t.Helper()
	wal := filepath.Join(l.setting(t, "data_directory"), "pg_wal")
	require.NoError(t, l.Stop())
	moved := filepath.Join(to.path, "pg_wal")
	out, err := exec.Command("cp", "-Rp", wal, moved).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, errors.Join(os.RemoveAll(wal), os.Symlink(moved, wal)))
	require.NoError(t, l.Restart(t.Context()))
}

// setting asks Postgres for one of its settings.
func (l *ledger) setting(t testing.TB, name string) (value string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), l.URL())
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value))
	return value
}
