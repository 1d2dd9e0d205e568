package load

import (
	"bufio"
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// FuzzPlainAnswers holds what is read of a plain answer against what fasthttp reads, which does without our shortcut.
func FuzzPlainAnswers(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 201 Created\r\ncontent-length:2\r\nX-A: b\r\n\r\n{}HTTP",
		"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n", "HTTP/1.1 201 \r\nContent-Length: 1\r\n\r\n1",
		"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\n{}", "HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n{}",
		"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.0 201 Created\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\n{}", "HTTP/1.1 201 Created\nContent-Length: 2\n\n{}",
		"HTTP/1.1 200 \n\r\nContent-Length:0\r\n\r\n0", "HTTP/1.1 20\r\n\r\n\r\n", "HTTP/1.1 200 0\r\nContent-Length:0\r\n000 00000:000000\r\n\r\n00",
		"HTTP/1.1 +20 x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 201 Created\r\nX-A: b\r\n Content-Length: 2\r\n\r\n{}", "HTTP/1.1 201 Created\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		plain, size := plainAnswer(text)
		if size == 0 {
			return
		}
		reader := bufio.NewReaderSize(bytes.NewReader(text), readBuffer)
		var answer fasthttp.Response
		if answer.ReadLimitBody(reader, maxAnswer) != nil {
			return // it is stricter about headers that are not looked at here
		}
		require.Equal(t, answer.StatusCode(), plain.Status)
		require.Equal(t, string(answer.Body()), string(plain.Body))
		require.False(t, answer.ConnectionClose())
		rest := reader.Buffered()
		require.Equal(t, len(text)-size, rest)
		for _, name := range []string{"X-A", "retry-after", "Location"} {
			require.Equal(t, string((&Answer{header: &answer.Header}).Header(name)), string(plain.Header(name)), name)
		}
	})
}

// TestAnswersThatAreNotPlain are left to fasthttp, which waits for the rest or says what is wrong.
func TestAnswersThatAreNotPlain(t *testing.T) {
	for _, text := range []string{
		"", "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{", "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n",
		"HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 201 Created\r\n\r\n",
		"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
	} {
		_, size := plainAnswer([]byte(text))
		require.Zero(t, size, "%q", text)
	}
}

// TestMostAnswersArePlain: those of the service are, whatever they say.
func TestMostAnswersArePlain(t *testing.T) {
	asked := 0
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		asked++
		ctx.Response.Header.Set("Idempotent-Replayed", "true")
		ctx.SetStatusCode(201)
		ctx.SetBodyString(strconv.Itoa(asked))
	})
	request, _ := maker(t, &target, Orders{}).AppendOrder(nil, nil, Order{Buyer: 1})
	var epoch clock
	c := newConn(&target, time.Minute, &epoch)
	defer c.close()
	for n := 1; n <= 3; n++ {
		answer, err := c.ask(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, 201, answer.Status)
		require.Equal(t, "true", string(answer.Header("idempotent-replayed")))
		require.Empty(t, answer.Header("X-Absent"))
		require.Positive(t, c.held, "it was not read the short way")
		require.Equal(t, strconv.Itoa(n), string(answer.Body))
	}
}
