package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// floorShutdown is how long the floor waits for requests under way when it is told to stop.
const floorShutdown = time.Second

// floorBody is what an accepted order is answered with, frozen: about 300 bytes, as the engine's.
const floorBody = `{"orderId":"0197f3a2-5c1e-7001-9a4b-3f6d2c8e1b70","jobId":"0197f3a2-5c1e-7001-9a4b-3f6d2c8e1b70",` +
	`"status":"confirmed","productId":"demo","userId":"u-0000000000000000001","quantity":1,"durability":"fast",` +
	`"queuePosition":128,"estimatedWaitTime":0.125,"createdAt":"2025-07-10T12:00:00.000Z"}`

// Floor serves POST /orders on ln and does nothing for it: 201 and always the same body, the request unread. It is the
// fastest that a fasthttp server on this machine can be, and so what ratios are measured against. Anything but POST
// /orders is answered 404, so that a wrong URL is not measured.
//
// It closes ln and returns nil when ctx ends; what is under way has a second to end. An error says why it can't serve.
func Floor(ctx context.Context, ln net.Listener) error {
	server := &fasthttp.Server{Handler: answerFloor, NoDefaultServerHeader: true, CloseOnShutdown: true}
	once := &onceListener{Listener: ln, closing: sync.OnceValue(ln.Close)}
	var failure error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failure = server.Serve(once)
	}()
	select {
	case <-ended:
		return fmt.Errorf("serve floor: %w", errors.Join(failure, once.Close()))
	case <-ctx.Done():
	}
	_ = once.Close() // Shutdown does not know of it where Serve has not begun
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), floorShutdown)
	defer cancel()
	_ = server.ShutdownWithContext(stopping) // a measurement that is cut off sees that itself
	<-ended
	return nil
}

// onceListener can be closed twice.
type onceListener struct {
	net.Listener
	closing func() error
}

// Close closes the listener, if it is open.
func (l *onceListener) Close() error { return l.closing() }

func answerFloor(ctx *fasthttp.RequestCtx) {
	if !ctx.IsPost() || string(ctx.RequestURI()) != "/orders" {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	ctx.SetStatusCode(fasthttp.StatusCreated)
	ctx.SetContentType("application/json")
	ctx.SetBodyString(floorBody)
}
