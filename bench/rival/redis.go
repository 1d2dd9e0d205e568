package rival

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// Connect opens a client as most would: rueidis with its defaults, which send what many ask at once together.
func Connect(url string) (rueidis.Client, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis address can't be read") // without the parser's words: they repeat the address, and with it a password
	}
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	return client, nil
}

// keys are what both strategies on Redis keep of a product. The braces put them into one slot of a cluster.
type keys struct {
	stock  string // units left
	buyers string // hash: user -> units
	log    string // stream of orders
	order  string // first part of a hash for each order
}

func keysOf(prefix, product string) keys {
	base := prefix + ":{" + product + "}:"
	return keys{stock: base + "stock", buyers: base + "buyers", log: base + "log", order: base + "order:"}
}

func stockProduct(ctx context.Context, client rueidis.Client, k *keys, units int64) error {
	set := client.B().Set().Key(k.stock).Value(strconv.FormatInt(units, 10)).Build()
	if err := client.Do(ctx, set).Error(); err != nil {
		return fmt.Errorf("put on sale: %w", err)
	}
	return nil
}

// booksOf reads what both strategies on Redis keep.
func booksOf(ctx context.Context, client rueidis.Client, k *keys) (books Books, err error) {
	if books.Left, err = client.Do(ctx, client.B().Get().Key(k.stock).Build()).AsInt64(); err != nil {
		return books, fmt.Errorf("units left: %w", err)
	}
	if books.Orders, err = client.Do(ctx, client.B().Xlen().Key(k.log).Build()).AsInt64(); err != nil {
		return books, fmt.Errorf("orders: %w", err)
	}
	for cursor := uint64(0); ; {
		scan := client.B().Hscan().Key(k.buyers).Cursor(cursor).Count(scanCount).Build()
		page, err := client.Do(ctx, scan).AsScanEntry()
		if err != nil {
			return books, fmt.Errorf("buyers: %w", err)
		}
		for i := 1; i < len(page.Elements); i += 2 {
			units, err := strconv.ParseInt(page.Elements[i], 10, 64)
			if err != nil {
				return books, fmt.Errorf("buyers: %w", err)
			}
			books.Units += units
		}
		if cursor = page.Cursor; cursor == 0 {
			return books, nil
		}
	}
}

// scanCount is how much one step of a scan looks at.
const scanCount = 1000

// Clean removes every key that begins with a prefix, on every server, a page at a time.
func Clean(ctx context.Context, client rueidis.Client, prefix string) error {
	for _, node := range client.Nodes() {
		for cursor := uint64(0); ; {
			page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(prefix+":*").Count(scanCount).Build()).AsScanEntry()
			if err != nil {
				return fmt.Errorf("clean: %w", err)
			}
			removals := make(rueidis.Commands, len(page.Elements)) // one by one: they need not be in one slot
			for i, key := range page.Elements {
				removals[i] = node.B().Unlink().Key(key).Build()
			}
			for _, reply := range node.DoMulti(ctx, removals...) {
				if err := reply.Error(); err != nil {
					return fmt.Errorf("clean: %w", err)
				}
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}
