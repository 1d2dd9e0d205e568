package lua

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// header is what the comment at the head of a file says.
type header struct {
	text     string
	keys     []string // names, in order
	args     int      // numbered ones
	moreArgs bool     // "ARGV .." follow
	statuses []string // in order of precedence
	code     string   // what follows the header, comments left out
}

var (
	keyLine    = regexp.MustCompile(`^-- KEYS (\d+) ([a-z]+) `)
	argLine    = regexp.MustCompile(`^-- ARGV (\d+) ([a-zA-Z]+)( |$)`)
	statusLine = regexp.MustCompile(`^-- {3,5}([A-Z]+)( |$)`)
	inReply    = regexp.MustCompile(`\{([A-Z]+)[,}]`) // as in {OK, nowMs}
	comment    = regexp.MustCompile(`(?m)--.*$`)
)

func readHeader(t *testing.T, name string) header {
	t.Helper()
	var h header
	lines := strings.Split(Raw(name), "\n")
	if !fragments[name] {
		require.Regexp(t, `^#!lua( flags=[a-z,-]+)?$`, lines[0], "%s: its first line: without it Redis runs it while over memory", name)
		lines = lines[1:]
	}
	end := slices.IndexFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "--") || strings.HasPrefix(line, include) })
	require.Positive(t, end, "%s has no header", name)
	require.True(t, strings.HasPrefix(lines[0], "-- "+name+": "), "%s: its header begins with %q", name, lines[0])
	h.text = strings.Join(lines[:end], "\n")
	h.code = comment.ReplaceAllString(strings.Join(lines[end:], "\n"), "")
	for _, line := range lines[:end] {
		if m := keyLine.FindStringSubmatch(line); m != nil {
			h.keys = append(h.keys, m[2])
			require.Equal(t, strconv.Itoa(len(h.keys)), m[1], "%s: keys are numbered from 1: %s", name, line)
		}
		if m := argLine.FindStringSubmatch(line); m != nil {
			h.args++
			require.Equal(t, strconv.Itoa(h.args), m[1], "%s: arguments are numbered from 1: %s", name, line)
		}
		if m := statusLine.FindStringSubmatch(line); m != nil {
			h.statuses = append(h.statuses, m[1])
		}
		h.moreArgs = h.moreArgs || strings.HasPrefix(line, "-- ARGV .. ")
	}
	if len(h.statuses) == 0 { // no code of its own beside the guard's
		for _, m := range inReply.FindAllStringSubmatch(h.text, -1) {
			h.statuses = append(h.statuses, m[1])
		}
	}
	return h
}

// everyFile runs a test for each script and fragment.
func everyFile(t *testing.T, test func(t *testing.T, name string, h header)) {
	for _, name := range append(Names(), slices.Sorted(maps.Keys(fragments))...) {
		t.Run(name, func(t *testing.T) { test(t, name, readHeader(t, name)) })
	}
}

// forms are the fragments that only read and write what is in the keyspace: they decide nothing.
var forms = map[string]bool{"books.lua": true, "counters.lua": true, "entries.lua": true}

func TestHeadersAreComplete(t *testing.T) {
	everyFile(t, func(t *testing.T, name string, h header) {
		require.Equal(t, !forms[name], len(h.statuses) > 0, "its statuses")
		require.Len(t, unique(h.statuses), len(h.statuses), "no status is listed twice")
		if fragments[name] {
			return
		}
		require.NotEmpty(t, h.keys, "its keys")
		require.Contains(t, h.text, "\n-- Returns {code", "what it returns")
		require.Contains(t, h.text, "\n-- Invariant: ", "its invariant")
		if len(h.statuses) > 1 {
			require.Contains(t, h.text, "in order of precedence", "which status wins")
		}
	})
}

// numbersIn finds the literal indexes of KEYS or ARGV.
func numbersIn(code, table string) []int {
	var numbers []int
	for _, m := range regexp.MustCompile(table+`\[(\d+)\]`).FindAllStringSubmatch(code, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			panic(err) // the pattern lets only digits through
		}
		numbers = append(numbers, n)
	}
	return unique(numbers)
}

func unique[T int | string](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func upTo(n int) []int {
	var numbers []int
	for i := range n {
		numbers = append(numbers, i+1)
	}
	return numbers
}

func TestKeysAndArgumentsAreDocumented(t *testing.T) {
	everyFile(t, func(t *testing.T, _ string, h header) {
		require.Equal(t, upTo(len(h.keys)), numbersIn(h.code, "KEYS"), "KEYS used, as the header lists %q", h.keys)
		require.Equal(t, upTo(h.args), numbersIn(h.code, "ARGV"), "ARGV used, as the header lists them")
		computed := regexp.MustCompile(`ARGV\[[^\]0-9]|ARGV\[\d+ |\(ARGV, `).MatchString(h.code)
		require.Equal(t, computed, h.moreArgs, "arguments behind the numbered ones are used, as the header has it")
		require.Equal(t, computed, strings.Contains(h.code, "#ARGV"), "and then counted")
	})
}

var (
	compared = regexp.MustCompile(`[=~]= '[A-Z]+'`)
	literal  = regexp.MustCompile(`'([A-Z]+)'`)
	anyCall  = regexp.MustCompile(`\b(?:redis\.)?call\(`)
)

// withoutCalls leaves the calls of Redis out, for their commands look like statuses.
func withoutCalls(code string) string {
	for {
		at := anyCall.FindStringIndex(code)
		if at == nil {
			return code
		}
		depth, end := 1, at[1]
		for ; depth > 0; end++ {
			switch code[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		code = code[:at[0]] + code[end:]
	}
}

func literals(code string) []string {
	var found []string
	for _, m := range literal.FindAllStringSubmatch(code, -1) {
		found = append(found, m[1])
	}
	return unique(found)
}

func TestStatusesAreDocumented(t *testing.T) {
	everyFile(t, func(t *testing.T, _ string, h header) {
		listed := slices.Clone(h.statuses)
		for _, m := range inReply.FindAllStringSubmatch(h.text, -1) {
			listed = append(listed, m[1])
		}
		code := withoutCalls(h.code)
		require.Equal(t, unique(listed), literals(compared.ReplaceAllString(code, "")), "statuses that the code returns, as the header lists them")
		require.Subset(t, listed, literals(code), "a status that is only compared with")
	})
}

// What scripts may ask of Redis. A command that is not here is a decision: does it write?
var (
	reads  = []string{"HEXISTS", "HGET", "HMGET", "INFO", "TIME", "XRANGE", "ZCARD", "ZMSCORE", "ZRANGE"}
	writes = []string{"HDEL", "HSET", "UNLINK", "XADD", "XTRIM", "ZADD", "ZREM"}
	called = regexp.MustCompile(`\b(?:redis\.)?call\('([A-Z]+)'(?:, ([^,)]+))?`)
)

// Redis does not roll back: whatever can fail comes before the first write. Of the writes the append comes first, for
// it is the one that Redis may refuse.
func TestReadsComeBeforeWrites(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			code := comment.ReplaceAllString(Source(name), "")
			calls := called.FindAllStringSubmatch(code, -1)
			require.Len(t, calls, len(anyCall.FindAllString(code, -1)), "every call names its command in place")
			written := ""
			for _, c := range calls {
				switch {
				case slices.Contains(reads, c[1]):
					require.Empty(t, written, "%s reads after a write", c[1])
				case slices.Contains(writes, c[1]):
					require.False(t, c[1] == "XADD" && written != "", "XADD after %s", written)
					written = c[1]
				default:
					require.Fail(t, "unknown command", "%s: say in this test whether it writes", c[1])
				}
			}
			readOnly := strings.HasPrefix(code, "#!lua flags=no-writes\n")
			require.Equal(t, readOnly, written == "", "no-writes is claimed by who writes nothing")
		})
	}
}

func TestKeysAreDeclared(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			code := comment.ReplaceAllString(Source(name), "")
			for _, c := range called.FindAllStringSubmatch(code, -1) {
				if c[1] != "INFO" && c[1] != "TIME" {
					require.Regexp(t, `^(KEYS\[\d+\]|metaKey|stockKey|termsKey|buyersKey)$`, c[2], "the key of %s is one handed over", c[1])
				}
			}
			require.NotRegexp(t, `KEYS\[\d+\] *\.\.|\.\. *KEYS`, code, "no key is built from another")
			for _, call := range regexp.MustCompile(`\bguard\([^,]*,`).FindAllString(code, -1) {
				require.Contains(t, []string{"guard(KEYS[1],", "guard(metaKey,"}, call)
			}
			for _, call := range regexp.MustCompile(`\breadBooks\(.*`).FindAllString(code, -1) {
				require.Regexp(t, `^readBooks\((stockKey, termsKey, buyersKey|KEYS\[\d+\], KEYS\[\d+\], KEYS\[\d+\]), names, keys\)$`, call)
			}
		})
	}
}

func TestNothingForbidden(t *testing.T) {
	everyFile(t, func(t *testing.T, name string, _ header) {
		code := comment.ReplaceAllString(Source(name), "")
		for word, why := range map[string]string{
			"pcall": "a failure is not to be hidden", "xpcall": "a failure is not to be hidden",
			"math.random": "it repeats after every restart: randomness comes from the caller",
			"loadstring":  "no code from data", "MAXLEN": "only what is in the ledger is trimmed",
			"_G": "no globals", "os.": "only Redis's clock counts",
		} {
			require.NotContains(t, code, word, why)
		}
	})
}

func TestSourceIncludesTheGuard(t *testing.T) {
	body := Raw("guard.lua")
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			source := Source(name)
			require.NotContains(t, source, "\n"+include, "every include is carried out")
			asked := strings.Contains(Raw(name), include+"guard.lua\n")
			require.Equal(t, asked, strings.Contains(source, body), "the guard's whole text")
			require.Equal(t, asked, strings.Contains(Raw(name), "see guard.lua"), "its codes in the header")
			require.Equal(t, asked, regexp.MustCompile(`= guard\(`).MatchString(Raw(name)), "and a call of it")
		})
	}
	require.NotContains(t, Names(), "guard.lua", "a fragment is no script")
	require.Panics(t, func() { Source("nobody.lua") })
}

// TestReadme holds README.md against the headers: every script with its statuses in the same order, every key.
func TestReadme(t *testing.T) {
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(content)
	everyFile(t, func(t *testing.T, name string, h header) {
		if forms[name] {
			return
		}
		_, section, found := strings.Cut(readme, "\n### "+name+"\n")
		require.True(t, found, "a section ### %s", name)
		section, _, _ = strings.Cut(section, "\n### ")
		var listed []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+)`").FindAllStringSubmatch(section, -1) {
			listed = append(listed, m[1])
		}
		require.Equal(t, h.statuses, listed, "statuses in the section, in order of precedence")
		for _, key := range h.keys {
			if key != "target" { // of a chunk: any hash
				require.Contains(t, readme, "\n| `…:"+key+"` |", "the key in the table of the keyspace")
			}
		}
	})
}
