package atonce_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/atonce"
	"flashsale/internal/devstack/devtest"
)

const patience = 30 * time.Second

// pair returns the two ends of a connection.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	here, there = devtest.Connected(t)
	for _, conn := range []net.Conn{here, there} {
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	}
	return here, there
}

func TestWhatTheKernelTakesArrives(t *testing.T) {
	here, there := pair(t)
	w := atonce.New(here)
	for _, word := range []string{"one", "two"} {
		n, err := w.Write([]byte(word))
		require.NoError(t, err)
		require.Equal(t, len(word), n)
	}
	got := make([]byte, 6)
	_, err := io.ReadFull(there, got)
	require.NoError(t, err)
	require.Equal(t, "onetwo", string(got))
}

// Nobody waits for who does not read: what is not taken is said, and all that was taken arrives.
func TestAFullConnectionTakesNothing(t *testing.T) {
	here, there := pair(t)
	w := atonce.New(here)
	taken, chunk := 0, bytes.Repeat([]byte{'x'}, 1<<20)
	for {
		n, err := w.Write(chunk)
		require.NoError(t, err)
		if n == 0 {
			break
		}
		taken += n
	}
	require.NoError(t, here.Close())
	got, err := io.Copy(io.Discard, there)
	require.NoError(t, err)
	require.EqualValues(t, taken, got)
	_, err = w.Write(chunk)
	require.ErrorIs(t, err, net.ErrClosed)
}

// Another writer that waits, and a deadline that has passed, are no reason to wait or to fail.
func TestWhoElseWritesDoesNotMatter(t *testing.T) {
	here, there := pair(t)
	require.NoError(t, here.SetWriteDeadline(time.Unix(1, 0)))
	n, err := atonce.New(here).Write([]byte("on"))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	got := make([]byte, 2)
	_, err = io.ReadFull(there, got)
	require.NoError(t, err)
	require.Equal(t, "on", string(got))
}

func TestAnEndedConnectionIsAnError(t *testing.T) {
	here, there := pair(t)
	require.NoError(t, there.Close())
	w := atonce.New(here)
	var err error
	for began := time.Now(); err == nil && time.Since(began) < patience; {
		_, err = w.Write([]byte("anybody?")) // the other host must have said that there is nobody
	}
	require.Error(t, err)
}

func TestWhatIsNoSocketTakesNothing(t *testing.T) {
	here, _ := net.Pipe()
	w := atonce.New(here)
	require.Nil(t, w)
	n, err := w.Write([]byte("x"))
	require.NoError(t, err)
	require.Zero(t, n)
}

// Who is to be answered reads the answer at once: it is there, or the time for it is over.
func TestWhoIsToBeAnsweredWaits(t *testing.T) {
	here, there := pair(t)
	w := atonce.New(here)
	request := make([]byte, 4)
	for _, answer := range []string{"yes", "no"} {
		answered := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(there, request)
			if err == nil {
				_, err = there.Write([]byte(answer))
			}
			answered <- err
		}()
		n, err := w.WriteAndWait([]byte("who?"))
		require.NoError(t, err)
		require.Equal(t, 4, n)
		require.NoError(t, <-answered)
		require.NoError(t, here.SetReadDeadline(time.Now().Add(patience)))
		got := make([]byte, len(answer))
		_, err = io.ReadFull(here, got)
		require.NoError(t, err)
		require.Equal(t, "who?"+answer, string(request)+string(got))
	}
	require.NoError(t, here.SetReadDeadline(time.Unix(1, 0)))
	_, err := w.WriteAndWait([]byte("who?"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A request that is not taken as a whole is to be sent by other means: nobody answers half of it.
func TestNobodyWaitsForAnAnswerToHalfARequest(t *testing.T) {
	here, _ := pair(t)
	w := atonce.New(here)
	large := bytes.Repeat([]byte{'x'}, 64<<20)
	n, err := w.WriteAndWait(large)
	require.NoError(t, err)
	require.Less(t, n, len(large))
}
