package httpapi

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// benchLimit is never reached.
var benchLimit = Limit{Requests: maxLimit, Per: time.Second, Burst: maxLimit}

func BenchmarkLimiter(b *testing.B) {
	b.Run("known key", func(b *testing.B) {
		l := newLimiter(benchLimit, time.Now)
		key := l.textKey("user-0000123456")
		b.ReportAllocs()
		for b.Loop() {
			l.take(key)
		}
	})
	b.Run("known key, all cores", func(b *testing.B) {
		l := newLimiter(benchLimit, time.Now)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l.take(l.textKey("user-0000123456"))
			}
		})
	})
	b.Run("new key", func(b *testing.B) {
		l := newLimiter(benchLimit, time.Now)
		key := uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			l.take(spread(&key))
		}
	})
	b.Run("new key, full table", func(b *testing.B) {
		l := newLimiter(Limit{Requests: 1, Per: time.Hour, Burst: maxLimit}, time.Now)
		key := uint64(0)
		for range 4 * maxTracked {
			l.take(spread(&key))
		}
		b.ReportAllocs()
		for b.Loop() {
			l.take(spread(&key))
		}
	})
}

// spread returns the next of many keys that lie everywhere.
func spread(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	x := (*state ^ *state>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// BenchmarkLimitedOrder is BenchmarkPostOrder with limits: none, both, behind a proxy, and a storm of refusals.
func BenchmarkLimitedOrder(b *testing.B) {
	both := Config{AddressLimit: benchLimit, UserLimit: benchLimit}
	proxied := both
	proxied.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")} // the peer of a request without a connection
	for _, c := range []*struct {
		name   string
		config Config
		status int
	}{
		{"off", Config{}, 201},
		{"on", both, 201},
		{"on, behind a proxy", proxied, 201},
		{"refused by address", Config{AddressLimit: Limit{Requests: 1, Per: time.Hour}}, 429},
		{"refused by user", Config{UserLimit: Limit{Requests: 1, Per: time.Hour}}, 429},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.config.Logger = slog.New(slog.DiscardHandler)
			s := New(Deps{Reserver: fixedRate(1000)}, c.config)
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("POST")
			ctx.Request.SetRequestURI("/orders")
			ctx.Request.Header.SetHost("localhost")
			ctx.Request.Header.Set("X-Forwarded-For", "192.0.2.7")
			ctx.Request.Header.SetContentType("application/json")
			ctx.Request.SetBodyString(benchOrder)
			s.handle(&ctx)
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				s.handle(&ctx)
			}
			if got := ctx.Response.StatusCode(); got != c.status {
				b.Errorf("status %d: %s", got, ctx.Response.Body())
			}
		})
	}
}
