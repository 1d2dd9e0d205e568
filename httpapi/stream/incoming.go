package stream

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"

	"github.com/fasthttp/websocket"
)

// Bits and values of a frame's head (RFC 6455, 5.2).
const (
	reserved     = 0x70 // of extensions, of which none is offered
	kindBits     = 0x0f
	masked       = 0x80 // as clients must
	lengthBits   = 0x7f
	continuation = 0
	firstControl = 8 // kinds from here on stand between the parts of a message, and have none
)

// incoming reads what a client sends. What it must not send is an error of type [violation], whose parting is for the client.
type incoming struct {
	from    *bufio.Reader
	message []byte // the parts that came
	kind    int    // of the message under way; continuation = there is none
	control [maxShortFrame]byte
}

// violation is why a client that does not keep to the protocol, or to our bounds, is not heard any more.
type violation parting

func (v violation) Error() string { return v.text }

func broken(how string) error { return violation{websocket.CloseProtocolError, how} }

var errTooBig = violation{websocket.CloseMessageTooBig, fmt.Sprintf("a message may have %d bytes", maxMessage)}

func newIncoming(conn net.Conn) *incoming {
	return &incoming{from: bufio.NewReaderSize(conn, maxMessage)}
}

// received is a frame that came: one of control, or the next part of a message and, where it is the last, all of it. The
// payload stands until the next one is read.
type received struct {
	kind    int // of the message, where it is a part of one
	whole   bool
	payload []byte
}

// next reads a frame.
func (in *incoming) next() (received, error) {
	h, err := in.head()
	if err != nil {
		return received{}, err
	}
	if h.kind >= firstControl {
		payload := in.control[:h.length]
		return received{h.kind, true, payload}, in.fill(payload)
	}
	if h.kind != continuation {
		in.kind, in.message = h.kind, in.message[:0]
	}
	before := len(in.message)
	in.message = append(in.message, make([]byte, h.length)...)
	got := received{in.kind, h.final, in.message}
	if h.final {
		in.kind = continuation
	}
	return got, in.fill(got.payload[before:])
}

type head struct {
	final  bool
	kind   int
	length uint64
}

// head reads how a frame begins, and says what is wrong with it.
func (in *incoming) head() (h head, err error) {
	var two [2]byte
	if _, err = io.ReadFull(in.from, two[:]); err != nil {
		return h, err //nolint:wrapcheck // as the connection says it
	}
	h = head{two[0]&lastFragment != 0, int(two[0] & kindBits), uint64(two[1] & lengthBits)}
	if two[0]&reserved != 0 || two[1]&masked == 0 {
		return h, broken("a frame must be masked, and of no extension")
	}
	if err := in.misplaced(&h); err != nil {
		return h, err
	}
	if h.length, err = in.length(h.length); err != nil {
		return h, err
	}
	if h.kind < firstControl && h.length+uint64(in.under(h.kind)) > maxMessage {
		return h, errTooBig
	}
	return h, nil
}

// misplaced says why there must not be such a frame here.
func (in *incoming) misplaced(h *head) error {
	switch h.kind {
	case websocket.PingMessage, websocket.PongMessage, websocket.CloseMessage:
		if !h.final || h.length > maxShortFrame {
			return broken("a control frame must be short and in one part")
		}
	case websocket.TextMessage, websocket.BinaryMessage:
		if in.kind != continuation {
			return broken("a message must end before the next one begins")
		}
	case continuation:
		if in.kind == continuation {
			return broken("there is no message to go on with")
		}
	default:
		return broken("there is no such kind of frame")
	}
	return nil
}

// under returns how many bytes of the message under way a frame of that kind adds to.
func (in *incoming) under(kind int) int {
	if kind == continuation {
		return len(in.message)
	}
	return 0
}

// length reads the rest of a length that did not fit its seven bits.
func (in *incoming) length(short uint64) (uint64, error) {
	var b [8]byte
	switch short {
	case length16:
		_, err := io.ReadFull(in.from, b[:2])
		return uint64(binary.BigEndian.Uint16(b[:])), err //nolint:wrapcheck // as the connection says it
	case length64:
		_, err := io.ReadFull(in.from, b[:])
		return min(binary.BigEndian.Uint64(b[:]), math.MaxInt64), err //nolint:wrapcheck // as the connection says it
	}
	return short, nil
}

// fill reads a payload, after its mask.
func (in *incoming) fill(payload []byte) error {
	var mask [4]byte
	if _, err := io.ReadFull(in.from, mask[:]); err != nil {
		return err //nolint:wrapcheck // as the connection says it
	}
	_, err := io.ReadFull(in.from, payload)
	for i := range payload {
		payload[i] ^= mask[i%len(mask)]
	}
	return err //nolint:wrapcheck // as the connection says it
}

// goodbyeOf reads the code of a close frame.
func goodbyeOf(payload []byte) (code int, err error) {
	switch len(payload) {
	case 0:
		return websocket.CloseNoStatusReceived, nil
	case 1:
		return 0, broken("a close frame has a code of two bytes, or none")
	}
	code = int(binary.BigEndian.Uint16(payload))
	if !mayBeSent(code) {
		return 0, broken("there is no such close code")
	}
	return code, nil
}

// mayBeSent tells which close codes may be (RFC 6455, 7.4, and those registered since).
func mayBeSent(code int) bool {
	const (
		lastRegistered = 1014 // bad gateway
		firstFree      = 3000
		lastFree       = 4999
	)
	switch code {
	case 1004, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure:
		return false
	}
	return code >= websocket.CloseNormalClosure && code <= lastRegistered || code >= firstFree && code <= lastFree
}

// skip reads on until the connection ends: one that is closed with something unread may take the goodbye with it.
func (in *incoming) skip() { _, _ = io.Copy(io.Discard, in.from) }
