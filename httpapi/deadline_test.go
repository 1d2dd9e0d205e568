package httpapi

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heldAtMost is how long a test waits for what must happen soon.
const heldAtMost = 10 * time.Second

// recorded is a deadline and the times that it has set.
func recorded(slack time.Duration) (*deadline, *[]time.Time) {
	var applied []time.Time
	return newDeadline(func(t time.Time) error { applied = append(applied, t); return nil }, slack), &applied
}

func wait(t *testing.T, d *deadline) {
	t.Helper()
	require.NoError(t, d.begin())
	d.end()
}

func TestADeadlineIsSetWhenSomebodyWaits(t *testing.T) {
	d, applied := recorded(time.Second)
	now := time.Now()
	wait(t, d)
	require.Empty(t, *applied, "none was asked for")
	for _, after := range []time.Duration{60, 5, 5, 60} {
		require.NoError(t, d.set(now.Add(after*time.Second)))
	}
	require.Empty(t, *applied, "nobody waits")
	wait(t, d)
	wait(t, d)
	require.Equal(t, []time.Duration{time.Minute}, since(now, *applied), "the last one, once")
}

func TestADeadlineThatIsHardlyLaterIsNotSet(t *testing.T) {
	d, applied := recorded(time.Second)
	now := time.Now()
	for _, after := range []time.Duration{5000, 5999, 6000, 5500, 5400} {
		require.NoError(t, d.set(now.Add(after*time.Millisecond)))
		wait(t, d)
	}
	require.Equal(t, []time.Duration{5 * time.Second, 6 * time.Second, 5500 * time.Millisecond, 5400 * time.Millisecond},
		since(now, *applied), "an earlier one always is")
	require.NoError(t, d.set(time.Time{}))
	wait(t, d)
	require.True(t, (*applied)[4].IsZero(), "none")
	require.NoError(t, d.set(time.Unix(1, 0)))
	wait(t, d)
	require.Negative(t, time.Until((*applied)[5]), "long ago")
	require.NoError(t, d.set(time.Time{}))
	wait(t, d)
	require.Len(t, *applied, 7, "none again")
}

// A grace that is renewed again and again is shorter than the slack.
func TestADeadlineThatIsAboutToEndIsSetAgain(t *testing.T) {
	d, applied := recorded(time.Minute)
	now := time.Now()
	for _, after := range []time.Duration{20, 40, 60} {
		require.NoError(t, d.set(now.Add(after*time.Millisecond)))
		wait(t, d)
	}
	require.Len(t, *applied, 3)
}

func since(began time.Time, times []time.Time) []time.Duration {
	var after []time.Duration
	for _, t := range times {
		after = append(after, t.Sub(began))
	}
	return after
}

func TestADeadlineHoldsWhoWaitsAlready(t *testing.T) {
	here, there := net.Pipe()
	defer func() { require.NoError(t, there.Close()) }()
	c := trackConns(nil, 0).track(here)
	reading, writing := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); reading <- err }()
	go func() { _, err := c.Write([]byte("x")); writing <- err }()
	require.Eventually(t, func() bool { return c.reading.waiting.Load() == 1 && c.writing.waiting.Load() == 1 }, heldAtMost, time.Millisecond)
	require.NoError(t, c.SetDeadline(time.Now()))
	for _, ended := range []chan error{reading, writing} {
		select {
		case err := <-ended:
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		case <-time.After(heldAtMost):
			require.Fail(t, "waits beyond the deadline")
		}
	}
}
