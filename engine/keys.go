package engine

import (
	"fmt"
	"regexp"
	"strings"
)

// joint joins a product and a user into one field. It is in neither alphabet, so no two pairs make the same field.
const joint = '|'

// Keys are the names of all keys of one partition in one epoch. Every name carries the partition's hash tag, so the
// keys of a script share a slot on Redis Cluster. Nothing in them comes from a request.
type Keys struct {
	Meta   string // hash: state, replid, sequence, time, orders
	Stock  string // hash: product -> counters
	Terms  string // hash: product -> limit, active, window
	Buyers string // hash: product|user -> what the buyer has
	Orders string // hash: order id -> record, or sequence of its entry
	Log    string // stream: one entry a change of state
	Expiry string // sorted set: order id of a hold -> expiresMs
	Even   string // hash: idempotency field -> what came of it, of even generations
	Odd    string // hash: the same of odd generations
}

var (
	prefixPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	namespacePattern = regexp.MustCompile(`^[0-9]{1,16}-[0-9a-f]{16}$`)
)

// NewKeys names the keys of a partition in a namespace. It refuses a prefix or a namespace that could leave its place
// in the name.
func NewKeys(prefix string, partition int, namespace string) (Keys, error) {
	if !prefixPattern.MatchString(prefix) {
		return Keys{}, fmt.Errorf("key prefix %q: must match %s", prefix, prefixPattern)
	}
	if partition < 0 || partition >= MaxPartitions {
		return Keys{}, fmt.Errorf("partition %d: must be from 0 to %d", partition, MaxPartitions-1)
	}
	if !namespacePattern.MatchString(namespace) {
		return Keys{}, fmt.Errorf("namespace %q: must match %s", namespace, namespacePattern)
	}
	base := fmt.Sprintf("%s:{p%02d}:%s:", prefix, partition, namespace)
	return Keys{
		Meta:   base + "meta",
		Stock:  base + "stock",
		Terms:  base + "terms",
		Buyers: base + "buyers",
		Orders: base + "orders",
		Log:    base + "log",
		Expiry: base + "expiry",
		Even:   base + "even",
		Odd:    base + "odd",
	}, nil
}

// All returns every key, for what concerns a namespace as a whole.
func (k Keys) All() []string {
	return []string{k.Meta, k.Stock, k.Terms, k.Buyers, k.Orders, k.Log, k.Expiry, k.Even, k.Odd}
}

// keyspaceKey names the record of how many partitions a Redis was first used with.
func keyspaceKey(prefix string) string { return prefix + ":keyspace" }

// anchorKey names nothing: whoever asks for it is led to the server of a partition.
func anchorKey(prefix string, partition int) string {
	return fmt.Sprintf("%s:{p%02d}", prefix, partition)
}

// fenceKey names what a partition has beside its namespaces: the one that the ledger named last, and what is written where
// replicas are waited for and nothing else was written on the connection.
func fenceKey(prefix string, partition int) string {
	return fmt.Sprintf("%s:{p%02d}:fence", prefix, partition)
}

// BuyerField joins product and user into the field of a buyer.
func BuyerField(product, user string) string { return product + string(joint) + user }

// SplitBuyerField is the inverse of BuyerField.
func SplitBuyerField(field string) (product, user string, ok bool) {
	return strings.Cut(field, string(joint))
}

// PartitionOf returns the partition that a product lives in, of n.
func PartitionOf(product string, n int) int { return int(crc16(product)) % n }
