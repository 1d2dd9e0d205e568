package stream

import (
	"bytes"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/require"
)

// The length stands in the head in as few bytes as the protocol asks for.
func TestFramesHaveTheHeadOfTheirLength(t *testing.T) {
	for _, test := range []struct {
		payload int
		head    []byte
	}{
		{0, []byte{0x81, 0}},
		{125, []byte{0x81, 125}},
		{126, []byte{0x81, 126, 0, 126}},
		{65535, []byte{0x81, 126, 0xff, 0xff}},
		{65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		payload := bytes.Repeat([]byte{'x'}, test.payload)
		require.Equal(t, frame(append(test.head, payload...)), newFrame(websocket.TextMessage, payload))
	}
	require.Equal(t, frame{0x89, 0}, newFrame(websocket.PingMessage, nil))
}
