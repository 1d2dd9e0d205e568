package engine

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
	"flashsale/lua"
)

// listed returns the first submatch of every line of a script's header that a pattern matches.
func listed(name, pattern string) []string {
	var found []string
	for line := range strings.Lines(lua.Raw(name)) {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(line); m != nil {
			found = append(found, m[1])
		}
	}
	return found
}

func TestGuardCodesAreThoseOfTheScript(t *testing.T) {
	codes := []Guard{GuardMissing, GuardClosed, GuardFenced, GuardBehind, GuardLate, GuardOK}
	var texts []string
	for _, code := range codes {
		texts = append(texts, string(code))
	}
	require.Equal(t, listed("guard.lua", `^-- {5}([A-Z]+)\b`), texts, "codes of guard.lua in order of precedence, and the constants")
	for _, code := range codes {
		told := code != GuardOK && code != GuardLate // neither shuts a partition
		require.Equal(t, told, guardReasons[code] != "", "a reason in words for %s", code)
	}
}

// The letters of reserve.lua, by precedence, with what a caller gets.
var letters = []struct {
	letter byte
	want   error
}{
	{'R', nil},
	{'K', nil},
	{'C', ErrKeyConflict},
	{'U', ErrUnknownProduct},
	{'X', ErrCorrupt},
	{'Q', ErrQuantity},
	{'I', ErrSaleInactive},
	{'N', ErrSaleNotStarted},
	{'E', ErrSaleEnded},
	{'H', ErrHoldTooLong},
	{'D', ErrDuplicateOrder},
	{'L', ErrLimitExceeded},
	{'S', ErrSoldOut},
	{'A', nil},
}

func TestReserveLettersAreThoseOfTheScript(t *testing.T) {
	var order []string
	for _, l := range letters {
		order = append(order, string(l.letter))
		outcome, known := statusErrors[l.letter]
		require.True(t, known, "%c has no outcome", l.letter)
		require.Equal(t, l.want, outcome, "outcome of %c", l.letter)
	}
	require.Equal(t, listed("reserve.lua", `^-- {3}([A-Z]) [a-z]`), order, "letters of reserve.lua in order of precedence, and ours")
	require.Len(t, statusErrors, len(letters), "letters that the script does not know: %q", slices.Sorted(maps.Keys(statusErrors)))
}

// The letters of settle.lua, by precedence, with what a caller gets.
var settleLetters = []struct {
	letter byte
	want   error
}{
	{'M', ErrNoOrder},
	{'X', ErrCorruptOrder},
	{'R', nil},
	{'V', ErrInvalidState},
	{'G', ErrHoldExpired},
	{'Q', ErrMoreThanHeld},
	{'S', ErrHoldExpired},
	{'B', ErrHoldExtended},
	{'H', ErrHoldTooLong},
	{'A', nil},
}

func TestSettleLettersAreThoseOfTheScript(t *testing.T) {
	var order []string
	for _, l := range settleLetters {
		order = append(order, string(l.letter))
		outcome, known := settleErrors[l.letter]
		require.True(t, known, "%c has no outcome", l.letter)
		require.Equal(t, l.want, outcome, "outcome of %c", l.letter)
	}
	require.Equal(t, listed("settle.lua", `^-- {3}([A-Z]) [a-z]`), order, "letters of settle.lua in order of precedence, and ours")
	require.Len(t, settleErrors, len(settleLetters), "letters that the script does not know: %q", slices.Sorted(maps.Keys(settleErrors)))
}

// Each script gets as many keys and arguments as its header lists, each key in its place.
func TestCallsFitTheHeaders(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "headers"})
	taps.scripts()
	driveAllScripts(t, n.Engine, 0)
	seen := map[string]bool{}
	for _, words := range taps.scripts() {
		name := scriptName(t, words)
		seen[name] = true
		count, err := strconv.Atoi(words[2])
		require.NoError(t, err)
		want := listed(name, `^-- KEYS \d+ ([a-z]+) `)
		require.Len(t, words[3:3+count], len(want), "%s: keys, by the header %q", name, want)
		for i, key := range words[3 : 3+count] {
			if want[i] != "target" {
				require.True(t, strings.HasSuffix(key, ":"+want[i]), "%s: key %d is %s, by the header %s", name, i+1, key, want[i])
			}
		}
		args, numbered := len(words)-3-count, len(listed(name, `^-- ARGV (\d+) `))
		if listed(name, `^-- ARGV (\.\.)`) == nil {
			require.Equal(t, numbered, args, "%s: arguments", name)
		}
		require.GreaterOrEqual(t, args, numbered, "%s: arguments", name)
	}
	require.Len(t, seen, len(lua.Names()), "scripts called: %v", seen)
}
