package stream_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/require"

	"flashsale/httpapi/stream"
)

// masked returns a frame as a client sends it, by a mask of zeros; length is what its head says.
func masked(first byte, length int, payload string) []byte {
	f := []byte{first}
	switch {
	case length < 126:
		f = append(f, 0x80|byte(length))
	case length < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(length))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(length))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

// requireFrames reads to the end what must be whole frames of whole messages, the last of which is a goodbye of that code, and
// returns how many came before it.
func requireFrames(t *testing.T, conn *net.TCPConn, code int) (count int) {
	t.Helper()
	from := bufio.NewReader(conn)
	for said := false; ; {
		var head [2]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			require.ErrorIs(t, err, io.EOF)
			require.True(t, said, "no goodbye")
			return count
		}
		require.False(t, said, "something follows the goodbye")
		length := uint64(head[1])
		switch length {
		case 126:
			length = uint64(binary.BigEndian.Uint16(read(t, from, 2)))
		case 127:
			length = binary.BigEndian.Uint64(read(t, from, 8))
		}
		payload := read(t, from, length)
		switch head[0] {
		case 0x81:
			require.True(t, json.Valid(payload), "%.100q", payload)
			count++
		case 0x88:
			require.Equal(t, code, int(binary.BigEndian.Uint16(payload)), "%s", payload)
			require.NoError(t, conn.CloseWrite())
			said = true
		default:
			require.Contains(t, []byte{0x89, 0x8a}, head[0], "no frame begins so")
		}
	}
}

func read(t *testing.T, from io.Reader, n uint64) []byte {
	t.Helper()
	require.LessOrEqual(t, n, uint64(64<<20))
	b := make([]byte, n)
	_, err := io.ReadFull(from, b)
	require.NoError(t, err)
	return b
}

// A client that breaks the rules while it has not read what it was sent: it is told so behind the message that has begun, and
// nothing follows.
func TestWhoBreaksTheRulesIsToldLast(t *testing.T) {
	const protocol, tooBig = websocket.CloseProtocolError, websocket.CloseMessageTooBig
	for name, rude := range map[string]struct {
		bytes []byte
		code  int
	}{
		"no mask":                  {[]byte{0x81, 2, '{', '}'}, protocol},
		"an extension":             {masked(0xc1, 2, "{}"), protocol},
		"no such kind":             {masked(0x83, 2, "{}"), protocol},
		"no such control frame":    {masked(0x8b, 0, ""), protocol},
		"a ping in parts":          {masked(0x09, 0, ""), protocol},
		"a long ping":              {masked(0x89, 126, strings.Repeat("x", 126)), protocol},
		"nothing to go on with":    {masked(0x80, 2, "{}"), protocol},
		"a message in a message":   {append(masked(0x01, 1, "{"), masked(0x81, 2, "{}")...), protocol},
		"a goodbye of one byte":    {masked(0x88, 1, "x"), protocol},
		"a goodbye without sense":  {masked(0x88, 2, "\x03\xed"), protocol},
		"too much":                 {masked(0x81, 1025, ""), tooBig},
		"too much in parts":        {append(masked(0x01, 1024, strings.Repeat("x", 1024)), masked(0x80, 1, "x")...), tooBig},
		"more than there is":       {masked(0x81, 1<<62, ""), tooBig},
		"more than there are ints": {[]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, tooBig},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, stream.Config{CloseWait: patience, WriteWait: patience, Answers: map[string]stream.Answer{
				"fetch-much": func() (json.RawMessage, *stream.Refusal) {
					return fmt.Appendf(nil, "%q", strings.Repeat("x", 512<<10)), nil
				},
			}})
			socket := s.dial()
			for range 3 {
				s.send(socket, `{"event":"fetch-much"}`)
			}
			_, err := socket.NetConn().Write(rude.bytes)
			require.NoError(t, err)
			require.Positive(t, requireFrames(t, socket.NetConn().(*net.TCPConn), rude.code))
		})
	}
}

// Nor does one get by that sends a message in parts without an end.
func TestAFloodOfPartsEndsTheConnection(t *testing.T) {
	s := open(t, stream.Config{})
	socket := s.dial()
	go func() {
		for _, err := socket.NetConn().Write(masked(0x01, 0, "")); err == nil; {
			_, err = socket.NetConn().Write(masked(0x00, 0, ""))
		}
	}()
	s.requireClosed(socket, websocket.ClosePolicyViolation)
	s.eventually("it to be counted", func() bool { return s.dropped("flood") == 1 })
}

// A message may come in parts, with other things between them, and a byte at a time.
func TestAMessageMayComeInParts(t *testing.T) {
	s := open(t, stream.Config{Answers: map[string]stream.Answer{
		"fetch-it": func() (json.RawMessage, *stream.Refusal) { return json.RawMessage(`{"it":1}`), nil },
	}})
	socket := s.dial()
	sent := masked(0x01, 5, `{"eve`)
	sent = append(sent, masked(0x89, 2, "hi")...)
	sent = append(sent, masked(0x00, 0, "")...)
	sent = append(sent, masked(0x80, 14, `nt":"fetch-it"`)...)
	for i := range sent {
		_, err := socket.NetConn().Write(sent[i : i+1])
		require.NoError(t, err)
	}
	var pong string
	socket.SetPongHandler(func(data string) error {
		pong = data
		return nil
	})
	require.Equal(t, "error", s.receive(socket).Event, "a brace is missing")
	require.Equal(t, "hi", pong)
	_, err := socket.NetConn().Write(append(masked(0x01, 10, `{"event":"`), masked(0x80, 10, `fetch-it"}`)...))
	require.NoError(t, err)
	require.Equal(t, message{"fetch-it", map[string]any{"it": 1.0}}, s.receive(socket))
}
