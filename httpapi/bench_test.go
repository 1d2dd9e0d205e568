package httpapi

import (
	"log/slog"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

const benchOrder = `{"productId":"phone","userId":"user-0000123456","quantity":1}`

// soldOut refuses every order.
type soldOut struct{ fixedRate }

func (soldOut) Reserve(r *engine.Reservation, _ time.Time) error {
	r.Left = 0
	return engine.ErrSoldOut
}

func benchPostOrder(b *testing.B, reserver Reserver, status int) {
	b.Helper()
	s := New(Deps{Reserver: reserver}, Config{Logger: slog.New(slog.DiscardHandler)})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/orders")
		ctx.Request.Header.SetHost("localhost")
		ctx.Request.Header.SetContentType("application/json")
		ctx.Request.SetBodyString(benchOrder)
		ran := false
		for pb.Next() {
			ran = true
			ctx.Response.Reset()
			s.handle(&ctx)
		}
		if ran && ctx.Response.StatusCode() != status {
			b.Errorf("status %d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
	})
}

func BenchmarkPostOrder(b *testing.B) {
	b.Run("accepted", func(b *testing.B) { benchPostOrder(b, fixedRate(1000), 201) })
	b.Run("sold out", func(b *testing.B) { benchPostOrder(b, soldOut{}, 409) })
}

func BenchmarkDecodeOrder(b *testing.B) {
	var d orderDecoder
	var r engine.Reservation
	body := []byte(benchOrder)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.decodeBody(body, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodePlaced(b *testing.B) {
	r := engine.NewReservation()
	r.Product, r.User, r.Quantity = "phone", "user-0000123456", 1
	_ = fixedRate(0).Reserve(r, time.Time{})
	id := r.ID.Append(nil)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = appendPlaced(out[:0], r, id, 1234)
	}
}

func BenchmarkMeasure(b *testing.B) {
	s := New(Deps{}, Config{})
	measured := s.measured(route{"GET", "/bench", scopePublic, nil}, func(*fasthttp.RequestCtx) {})
	b.RunParallel(func(pb *testing.PB) {
		var ctx fasthttp.RequestCtx
		for pb.Next() {
			measured(&ctx)
		}
	})
}

func BenchmarkTransferEncodingScan(b *testing.B) {
	head := []byte("Host: localhost:3000\r\nUser-Agent: wrk\r\nContent-Type: application/json\r\nContent-Length: 61\r\n\r\n")
	for b.Loop() {
		if namesTransferEncoding(head) {
			b.Fatal("found")
		}
	}
}
