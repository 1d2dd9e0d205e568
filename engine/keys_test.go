package engine

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/internal/devstack/devtest"
)

// From the catalogue of CRC algorithms (CRC-16/XMODEM) and the Redis Cluster specification.
func TestCRC16Vectors(t *testing.T) {
	for text, want := range map[string]uint16{
		"": 0, "123456789": 0x31C3, "A": 0x58E5, "foo": 44950, "user1000": 0x4D73, "\x00": 0, "\xff": 0x1EF0,
	} {
		require.Equal(t, want, crc16(text), "crc16(%q)", text)
	}
}

// slot is the slot of a key on Redis Cluster, by the rule of its specification: what stands between the first { and the
// first } behind it counts, if it is anything.
func slot(key string) uint16 {
	const slots = 16384
	if _, after, open := strings.Cut(key, "{"); open {
		if tag, _, closed := strings.Cut(after, "}"); closed && tag != "" {
			key = tag
		}
	}
	return crc16(key) % slots
}

// Every script that the engine calls gets keys of one slot, by Redis's own reckoning, and runs on a real cluster.
func TestScriptsKeepToOneSlot(t *testing.T) {
	addresses := devtest.Cluster(t, 3)
	taps := &tap{Client: connectTo(t, "redis://"+addresses[0]+"?addr="+strings.Join(addresses[1:], "&addr="))}
	const partitions = 6
	e, err := New(taps, Config{Prefix: "slots", Partitions: partitions, Timeout: patience})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() { stop(); require.NoError(t, <-done) }()

	used := map[string]int{}
	places := map[uint16]bool{}
	for id := range partitions {
		driveAllScripts(t, e, id)
		for _, words := range taps.scripts() {
			name := scriptName(t, words)
			used[name]++
			count, err := strconv.Atoi(words[2])
			require.NoError(t, err)
			for _, key := range words[3 : 3+count] {
				require.Equal(t, slot(words[3]), slot(key), "%s: slots of %s and %s", name, words[3], key)
				asked, err := taps.Client.Do(ctx, taps.B().Arbitrary("CLUSTER", "KEYSLOT", key).Build()).ToInt64()
				require.NoError(t, err)
				require.Equal(t, asked, int64(slot(key)), "%s by Redis and by crc16", key)
				places[slot(key)] = true
			}
		}
	}
	require.Len(t, used, len(allScripts), "scripts seen: %v", used)
	require.Len(t, places, partitions, "partitions must spread over slots")
}

var allScripts = []*script{
	&reserveScript, &settleScript, &expireScript, &changeScript, &trimScript, &checkScript, &auditScript, &closeScript, &openScript, &loadScript, &sealScript,
}

func scriptName(t testing.TB, command []string) string {
	t.Helper()
	for _, s := range allScripts {
		if isScript(command, s) {
			return s.name
		}
	}
	require.FailNow(t, "unknown script", "%q", command)
	return ""
}

// driveAllScripts has the engine call each script once in a partition, through its exported methods.
func driveAllScripts(t testing.TB, e *Engine, partition int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	link, err := e.Connect(ctx, partition)
	require.NoError(t, err)
	defer link.Close()
	replid, err := link.Replid(ctx)
	require.NoError(t, err)
	epoch := Epoch{Number: 1, Namespace: NewNamespace(1), Replid: replid}
	keys, err := e.EpochKeys(partition, epoch)
	require.NoError(t, err)
	require.NoError(t, e.Load(ctx, keys, keys.Stock, 1, replid, nil))
	require.NoError(t, e.Seal(ctx, keys, 1, replid, 1, 0, 0))
	require.NoError(t, e.Install(partition, epoch))
	_, _, err = e.Shut(ctx, keys, 1)
	require.NoError(t, err)
	require.NoError(t, e.Open(ctx, keys, 0, replid, 1))
	guard, err := e.Check(ctx, partition)
	require.NoError(t, err)
	require.Equal(t, GuardOK, guard)
	product := productIn(partition, e.Partitions())
	_, err = e.Apply(ctx, Change{Product: product, Number: 1, Amount: 5, Terms: onSale})
	require.NoError(t, err)
	r := NewReservation()
	r.Product, r.User, r.Quantity = product, "u", 2
	require.NoError(t, e.Reserve(r, time.Now()))
	require.Equal(t, partition, r.ID.Partition())
	hold := NewReservation()
	hold.Product, hold.User, hold.Quantity, hold.HoldMs = product, "v", 1, 60_000
	require.NoError(t, e.Reserve(hold, time.Now()))
	audit, err := e.Audit(ctx, partition, epoch, 0, &AuditQuery{Products: []string{product}})
	require.NoError(t, err)
	require.Equal(t, Audited[Stock]{Found: true, Text: "2,1,2,5,1", Value: Stock{Current: 2, Held: 1, Sold: 2, Initial: 5, Change: 1}}, audit.Stocks[0])
	require.Equal(t, Audited[string]{Found: true, Text: onSale.String(), Value: onSale.String()}, audit.Terms[0])
	cancel2 := NewTransition()
	cancel2.ID, cancel2.Action = hold.ID, ActionCancel
	require.NoError(t, e.Settle(cancel2, time.Now()))
	_, err = e.expire(ctx, e.partitions[partition], e.partitions[partition].view.Load())
	require.NoError(t, err)
	e.Advance(partition, Watermark{Epoch: 1, Sequence: 4, Orders: 3})
	trimmed, err := e.Trim(ctx, partition, 0, 10)
	require.NoError(t, err)
	require.Equal(t, int64(4), trimmed, "log entries trimmed")
	require.NoError(t, e.Drop(ctx, keys))
}

// productIn finds the name of a product that lives in a partition.
func productIn(partition, partitions int) string {
	for i := 0; ; i++ {
		if name := "product-" + strconv.Itoa(i); PartitionOf(name, partitions) == partition {
			return name
		}
	}
}

func TestPartitionOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		product := rapid.StringMatching(`[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}`).Draw(t, "product")
		n := rapid.IntRange(1, MaxPartitions).Draw(t, "partitions")
		p := PartitionOf(product, n)
		require.GreaterOrEqual(t, p, 0)
		require.Less(t, p, n)
		require.Equal(t, p, PartitionOf(product, n), "the same every time")
	})
	var counts [8]int
	for i := range 8000 {
		counts[PartitionOf("sku-"+strconv.Itoa(i), len(counts))]++
	}
	for p, n := range counts {
		require.InDelta(t, 1000, n, 250, "products in partition %d of 8", p)
	}
}

// The hash tag is the partition's alone, so that its keys stay where the partition is in every epoch.
func FuzzKeys(f *testing.F) {
	f.Add("fs", 0, "1-0123456789abcdef", "fs", 1, "1-0123456789abcdef")
	f.Add("a", 10, "1-0123456789abcdef", "a-", 1, "10-0123456789abcdef")
	f.Add("fs:{p01}", 1, "1-0123456789abcdef", "fs", 4095, "1-0123456789abcdeF")
	f.Add("fs", -1, "x", "fs", 4096, "")
	f.Add("fs\n", 1, "1-0123456789abcdef\n", "", 100, "9999999999999999-ffffffffffffffff")
	f.Fuzz(func(t *testing.T, prefix1 string, partition1 int, namespace1, prefix2 string, partition2 int, namespace2 string) {
		first, err := NewKeys(prefix1, partition1, namespace1)
		if err != nil {
			require.Zero(t, first)
			return
		}
		all := first.All()
		tag := fmt.Sprintf("{p%02d}", partition1)
		for _, key := range all {
			require.Equal(t, 1, strings.Count(key, "{"), "braces of %q", key)
			require.Equal(t, 1, strings.Count(key, "}"), "braces of %q", key)
			require.Contains(t, key, tag)
			require.Equal(t, crc16(tag[1:len(tag)-1])%16384, slot(key), "slot of %q", key)
			require.NotContains(t, []string{keyspaceKey(prefix1), fenceKey(prefix1, partition1), anchorKey(prefix1, partition1)}, key)
		}
		require.Equal(t, slot(all[0]), slot(fenceKey(prefix1, partition1)), "what is marked must be on the partition's server")
		second, err := NewKeys(prefix2, partition2, namespace2)
		if err != nil {
			return
		}
		same := prefix1 == prefix2 && partition1 == partition2 && namespace1 == namespace2
		for i, key := range all {
			for j, other := range second.All() {
				require.Equal(t, same && i == j, key == other, "%q of (%q, %d, %q) and %q of (%q, %d, %q)",
					key, prefix1, partition1, namespace1, other, prefix2, partition2, namespace2)
			}
		}
	})
}

// The table of the keyspace has every key that is ever written, and no other.
func TestTheReadmeHasEveryKey(t *testing.T) {
	readme, err := os.ReadFile("../lua/README.md")
	require.NoError(t, err)
	namespace := NewNamespace(1)
	keys, err := NewKeys("p", 0, namespace)
	require.NoError(t, err)
	var want, listed []string
	for _, key := range keys.All() {
		_, name, _ := strings.Cut(key, namespace)
		want = append(want, "…"+name)
	}
	want = append(want, strings.Replace(fenceKey("<prefix>", 0), "p00", "pNN", 1), keyspaceKey("<prefix>"))
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`|]+:[^`|]+)` \\|").FindAllStringSubmatch(string(readme), -1) {
		listed = append(listed, m[1])
	}
	require.Equal(t, want, listed)
}

func TestNewNamespaceIsAccepted(t *testing.T) {
	seen := map[string]bool{}
	for _, number := range []uint64{0, 1, 42, 9_999_999_999_999_999} {
		for range 100 {
			namespace := NewNamespace(number)
			_, err := NewKeys("fs", 0, namespace)
			require.NoError(t, err)
			require.False(t, seen[namespace], "%s came twice", namespace)
			seen[namespace] = true
		}
	}
}

func FuzzBuyerField(f *testing.F) {
	f.Add("a", "b", "a", "c")
	f.Add("a|b", "c", "a", "b|c")
	f.Add("7", "user@example.org", "7", "+49:170")
	f.Fuzz(func(t *testing.T, product1, user1, product2, user2 string) {
		for _, pair := range [][2]string{{product1, user1}, {product2, user2}} {
			if !ValidProductID(pair[0]) || !ValidUserID(pair[1]) {
				return
			}
			product, user, ok := SplitBuyerField(BuyerField(pair[0], pair[1]))
			require.True(t, ok)
			require.Equal(t, pair, [2]string{product, user}, "what BuyerField joined must be split again")
		}
		same := product1 == product2 && user1 == user2
		require.Equal(t, same, BuyerField(product1, user1) == BuyerField(product2, user2), "(%q, %q) and (%q, %q)", product1, user1, product2, user2)
	})
}

var (
	productIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)
	userIDPattern    = regexp.MustCompile(`^[A-Za-z0-9._@:+-]{1,128}$`)
)

func FuzzValidIDs(f *testing.F) {
	for _, id := range []string{
		"", "a", ".a", "a.", "-", "metrics", "Metrics", "a b", "a|b", "{p00}", "ü", "a\n", "a\x00", "x@y.z:1+2",
		strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 128), strings.Repeat("x", 129),
	} {
		f.Add(id)
	}
	for letter := range 256 { // each alone: one letter too many in an alphabet must show
		f.Add("a" + string([]byte{byte(letter)}))
	}
	f.Fuzz(func(t *testing.T, id string) {
		product := productIDPattern.MatchString(id) && id != reservedProductID
		require.Equal(t, product, ValidProductID(id), "product id %q", id)
		require.Equal(t, product, ValidProductID([]byte(id)), "product id %q as bytes", id)
		user := userIDPattern.MatchString(id)
		require.Equal(t, user, ValidUserID(id), "user id %q", id)
		require.Equal(t, user, ValidUserID([]byte(id)), "user id %q as bytes", id)
		if product || user {
			require.NotContains(t, id, string(joint), "the joint is in neither alphabet")
		}
	})
}
