package engine

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// OrderID is a UUIDv7 (RFC 9562) whose 12 bits `rand_a` carry the partition of the order's product; the 62 bits behind
// it come from crypto/rand. An id alone finds its partition and can't be guessed. The orders of one batch share the first 14
// of the 62, with all before them: who has the id of one knows all but 48 random bits of the others.
type OrderID [16]byte

// tokenSize is how many bytes the ids of a batch have in common: time, partition and 14 random bits. Redis knows those that
// are sold at once by them. Batches of one partition that are minted in the same ms have the same token once in 16,384 times,
// which reserve.lua sees.
const tokenSize = 10

// MaxPartitions is how many partitions the 12 bits of an order id can tell apart.
const MaxPartitions = 1 << 12

// orderIDLen is the length of an order id in its text form.
const orderIDLen = 36

// NewOrderID mints an id for an order of a partition at the time now, read from this process's clock: it orders ids in
// an index and decides nothing.
func NewOrderID(partition int, now time.Time) OrderID {
	id := newToken(partition, now)
	randomBytes(id[tokenSize:])
	return id
}

// newToken returns an id of which only the token is filled in.
func newToken(partition int, now time.Time) (id OrderID) {
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = 0x70 | byte(partition>>8)&0x0f
	id[7] = byte(partition)
	randomBytes(id[8:tokenSize])
	id[8] = id[8]&0x3f | 0x80
	return id
}

// mintBatch mints an id for each order of a batch: they share a token, and no two are alike, which 48 random bits alone would
// not promise for years. random is randomBytes.
func mintBatch(batch []*Reservation, partition int, now time.Time, random func([]byte)) {
	token := newToken(partition, now)
	var seen [mintBuckets / 64]uint64 // the buckets that ids are in, by their last bits; only who meets somebody there is compared
	for i, r := range batch {
		r.ID = token
		for {
			random(r.ID[tokenSize:])
			bucket := binary.BigEndian.Uint16(r.ID[len(r.ID)-2:]) % mintBuckets
			bit := uint64(1) << (bucket % 64)
			met := seen[bucket/64]&bit != 0
			seen[bucket/64] |= bit
			if !met || !slices.ContainsFunc(batch[:i], func(other *Reservation) bool { return other.ID == r.ID }) {
				break
			}
		}
	}
}

// mintBuckets is well above the orders of a batch, so that hardly any two of them meet.
const mintBuckets = 4096

// entropy is a stock of random bytes, so that a system call is shared by many ids.
type entropy struct {
	bytes [512]byte
	used  int
}

var entropies = sync.Pool{New: func() any { return &entropy{used: len(entropy{}.bytes)} }}

func randomBytes(dst []byte) {
	e := entropies.Get().(*entropy) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	if e.used+len(dst) > len(e.bytes) {
		_, _ = rand.Read(e.bytes[:]) // never fails: it ends the process instead (crypto/rand)
		e.used = 0
	}
	copy(dst, e.bytes[e.used:])
	clear(e.bytes[e.used : e.used+len(dst)])
	e.used += len(dst)
	entropies.Put(e)
}

// Partition returns the partition that the id names.
func (id OrderID) Partition() int { return int(id[6]&0x0f)<<8 | int(id[7]) }

// String returns the text form, 36 characters, lower case.
func (id OrderID) String() string { return string(id.Append(nil)) }

// Append appends the text form.
func (id OrderID) Append(dst []byte) []byte {
	for i, group := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, id[group[0]:group[1]])
	}
	return dst
}

// ParseOrderID reads the text form of an id that [NewOrderID] could have minted; ok is false for anything else.
func ParseOrderID(text string) (id OrderID, ok bool) {
	if len(text) != orderIDLen || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return OrderID{}, false
	}
	if id[6]>>4 != 7 || id[8]>>6 != 2 {
		return OrderID{}, false
	}
	return id, true
}

// TimeMs returns when the id was minted, in ms since 1970, by the clock of the process that did.
func (id OrderID) TimeMs() (ms int64) {
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}
