package stream

import (
	"encoding/binary"
	"encoding/json"
	"math"

	"github.com/fasthttp/websocket"
)

// frame is a whole message as it goes over the wire (RFC 6455, 5.2), not masked, as servers send it. It is made once for all who
// get it and never changed.
type frame []byte

const (
	lastFragment  = 0x80 // and only
	length16      = 126  // the length follows, in 16 bits
	length64      = 127  // in 64
	maxFrameHead  = 10   // bytes
	maxShortFrame = 125  // bytes of payload
)

// newFrame returns a message of a kind, such as [websocket.TextMessage].
func newFrame(kind int, payload []byte) frame {
	f := append(make(frame, 0, maxFrameHead+len(payload)), lastFragment|byte(kind))
	switch n := len(payload); {
	case n <= maxShortFrame:
		f = append(f, byte(n))
	case n <= math.MaxUint16:
		f = binary.BigEndian.AppendUint16(append(f, length16), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, length64), uint64(n))
	}
	return append(f, payload...)
}

// encode returns a message in the form in which it is sent to any number of clients.
func encode(event string, data any) frame {
	raw, err := json.Marshal(data)
	if err == nil {
		raw, err = json.Marshal(envelope{event, raw})
	}
	if err != nil {
		panic(err) // a value of ours that is no JSON
	}
	return newFrame(websocket.TextMessage, raw)
}
