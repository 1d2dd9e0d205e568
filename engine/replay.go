package engine

import (
	"context"
	"log/slog"

	"github.com/redis/rueidis"
)

// checkReplay tells of servers that would leave out of their append-only file what scripts did. Redis reads it as the user
// `default` and skips each transaction that this user may not do; every script is written down as one (Redis issue 14541). It
// tells nothing where this service's own user may not ask, which it needs +acl|dryrun for.
func checkReplay(ctx context.Context, client rueidis.Client, unread func(address, said string)) {
	for address, node := range client.Nodes() {
		said, err := doWithin(ctx, node, node.B().Arbitrary("ACL", "DRYRUN", "default", "HSET", "replay", "field", "value").Build()).ToString()
		if err == nil && said != "OK" {
			unread(address, said)
		}
	}
}

// warnUnread is no refusal, for later versions of Redis do not ask that user.
func warnUnread(address, said string) {
	slog.Warn("redis reads its append-only file as its user default, which lacks rights: a restart may forget every order that is "+
		"not in the ledger yet; set user default off ~* &* +@all", "address", address, "said", said)
}
